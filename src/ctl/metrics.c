/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl metrics: the daemon's metrics, printed, in a file for a collector, or over HTTP. */
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "ctl/commands.h"
#include "ctl/metrics_server.h"
#include "ctl/metrics_text.h"

/* In one step, so that who collects it sees the old file or the new one. */
static int write_file(const struct context *context, const char *path)
{
    g_autofree char *text = metrics_text_ask(context);
    g_autofree char *plain = metrics_text_plain(text);
    g_autoptr(GError) problem = NULL;

    if (g_file_set_contents_full(path, plain, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, &problem))
        return EXIT_DONE;
    fprintf(stderr, "error: %s\n", problem->message);
    return EXIT_FAILED;
}

static int print(const struct context *context)
{
    g_autofree char *text = metrics_text_ask(context);

    fputs(text, stdout);
    return strstr(text, "\npmxcfs_up 1\n") ? EXIT_DONE : EXIT_NO_DAEMON;
}

int command_metrics(const struct context *context, int argc, char **argv)
{
    g_autofree char *listen = NULL;
    g_autofree char *file = NULL;
    const GOptionEntry entries[] = {
        {"listen", 'l', 0, G_OPTION_ARG_STRING, &listen,
         "serve them over HTTP as /metrics; without an address on loopback", "[ADDRESS]:PORT"},
        {"textfile", 't', 0, G_OPTION_ARG_FILENAME, &file,
         "write them once for the node exporter's textfile collector", "FILE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};

    if (!command_parse(&argc, &argv, entries, NULL,
                       "Show the daemon's metrics, and with pmxcfs_up whether it answers.", 0, 0))
        return EXIT_WRONG_USE;
    if (listen && file) {
        fputs("error: --listen and --textfile do not go together\n", stderr);
        return EXIT_WRONG_USE;
    }
    if (listen)
        return metrics_serve(context, listen);
    return file ? write_file(context, file) : print(context);
}
