/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: command lines, one word a line. */
#include <string.h>

#include "fuzz.h"
#include "host/options.h"

static void check(const struct options *options)
{
    const char *const paths[] = {options->mountpoint, options->state_dir, options->run_dir,
                                 options->pid_file,   options->rrd_dir,   options->corosync_conf};

    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
        MUST(paths[i] && paths[i][0] == '/' && strlen(paths[i]) < 4096);
    MUST(options->socket_name && *options->socket_name && !strchr(options->socket_name, '/'));
    MUST(!options->nodename || *options->nodename);
    MUST(options->rejoin_delay <= 31536000000ull && options->lock_lifetime <= 31536000000ull);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) words = g_strsplit(text, "\n", -1);
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    struct options options;
    g_autoptr(GError) error = NULL;

    g_ptr_array_add(argv, (char *)"pmxcfs");
    for (char **word = words; *word; word++)
        g_ptr_array_add(argv, *word);
    int argc = (int)argv->len;
    g_ptr_array_add(argv, NULL);
    if (options_parse(argc, (const char *const *)argv->pdata, &options, &error)) {
        check(&options);
        options_clear(&options);
    } else {
        MUST(error && *error->message);
    }
    return 0;
}
