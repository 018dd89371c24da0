/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where pmxcfsctl doctor looks: what was given, what the running daemon was started with, or what
 * is usual. */
#include "ctl/doctor_options.h"

#include <glib.h>
#include <string.h>

#include "ctl/ask.h"
#include "host/options.h"

/* The words of a process's command line; NULL: there is no such process. g_ptr_array_unref() it. */
static GPtrArray *read_command_line(json_int_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%lld/cmdline", (long long)pid);
    g_autofree char *text = NULL;
    gsize size;

    if (!g_file_get_contents(path, &text, &size, NULL) || size == 0)
        return NULL;
    GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
    for (gsize at = 0; at < size; at += strlen(text + at) + 1)
        g_ptr_array_add(words, g_strdup(text + at));
    g_ptr_array_add(words, NULL);
    return words;
}

static void take(char **value, char **from)
{
    if (!*value)
        *value = g_steal_pointer(from);
}

void doctor_options_complete(struct doctor_options *options, json_t *overview)
{
    static const char *const defaults[] = {"pmxcfs", NULL};
    g_autoptr(GPtrArray) words = overview ? read_command_line(field_number(overview, "pid")) : NULL;
    struct options started;

    /* In a container its pid may be another's here: what that was started with does not parse. */
    if (!words ||
        !options_parse((int)words->len - 1, (const char *const *)words->pdata, &started, NULL))
        options_parse(1, defaults, &started, NULL);
    if (overview) {
        g_free(started.state_dir);
        started.state_dir = g_strdup(field_text(overview, "state_dir"));
        g_free(started.mountpoint);
        started.mountpoint = g_strdup(field_text(overview, "mountpoint"));
    }
    take(&options->state_dir, &started.state_dir);
    take(&options->corosync_conf, &started.corosync_conf);
    take(&options->mountpoint, &started.mountpoint);
    take(&options->node_name, &started.nodename);
    take(&options->group, &started.group);
    options_clear(&started);
}

void doctor_options_clear(struct doctor_options *options)
{
    g_free(options->state_dir);
    g_free(options->corosync_conf);
    g_free(options->mountpoint);
    g_free(options->node_name);
    g_free(options->group);
}
