/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The daemon's metrics in the forms that collectors read. */
#include "ctl/metrics_text.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

#include "ctl/ask.h"

/* Collectors wait for 10 s. */
#define PATIENCE_MILLISECONDS 5000
#define END "# EOF\n"

char *metrics_text_ask(const struct context *context)
{
    struct client *client = client_open(context->socket, PATIENCE_MILLISECONDS);
    g_autofree char *data = NULL;
    size_t size = 0;

    bool up = client && client_ask(client, ASK_METRICS, NULL, 0, &data, &size) == 0;
    client_close(client);
    if (up && g_str_has_suffix(data, END))
        data[size - strlen(END)] = '\0';
    return g_strdup_printf("%s# TYPE pmxcfs_up gauge\n# HELP pmxcfs_up 1 if the daemon answers.\n"
                           "pmxcfs_up %d\n" END,
                           up ? data : "", up);
}

/* What the samples of such a family are called behind its name, and the type's older name. */
static const char *suffix_of(const char *type, const char **old)
{
    *old = type;
    if (strcmp(type, "counter") == 0)
        return "_total";
    if (strcmp(type, "info") != 0)
        return "";
    *old = "gauge";
    return "_info";
}

/* "# TYPE name type" or "# HELP name text"; *suffix is that of the family, which its type tells. */
static void append_comment(GString *plain, const char *line, const char **suffix)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 4);
    const char *rest;

    if (g_strv_length(words) < 4 || strcmp(words[1], "UNIT") == 0)
        return;
    rest = words[3];
    if (strcmp(words[1], "TYPE") == 0)
        *suffix = suffix_of(words[3], &rest);
    g_string_append_printf(plain, "# %s %s%s %s\n", words[1], words[2], *suffix, rest);
}

char *metrics_text_plain(const char *open_metrics)
{
    g_auto(GStrv) lines = g_strsplit(open_metrics, "\n", -1);
    GString *plain = g_string_sized_new(strlen(open_metrics));
    const char *suffix = "";

    for (int i = 0; lines[i]; i++) {
        if (*lines[i] == '#')
            append_comment(plain, lines[i], &suffix);
        else if (*lines[i])
            g_string_append_printf(plain, "%s\n", lines[i]);
    }
    return g_string_free(plain, FALSE);
}
