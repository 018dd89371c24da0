/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two states of a file as diff -u shows them, with secrets masked, in colours at a terminal. */
#include "ctl/diff_text.h"

#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/path.h"
#include "ctl/db.h"
#include "ctl/terminal.h"
#include "ctl/text_diff.h"
#include "store/text.h"

bool diff_text_is_secret(const char *path, const char *bytes, size_t size)
{
    static const char mark[] = "PRIVATE KEY-----";

    return path_is_private(path) || (size > 0 && memmem(bytes, size, mark, strlen(mark)) != NULL);
}

/* The header of one side. */
static void append_name(GString *out, const char *sign, const char *name,
                        const struct diff_side *side)
{
    g_autofree char *shown = store_text_shown(side->path, strlen(side->path));

    if (!side->exists) {
        g_string_append_printf(out, "%s /dev/null\n", sign);
        return;
    }
    g_autofree char *time = db_time_shown(side->mtime);
    g_string_append_printf(out, "%s %s/%s\t%s", sign, name, shown, time);
    if (side->version > 0)
        g_string_append_printf(out, " (version %" PRIu64 ")", side->version);
    g_string_append_c(out, '\n');
}

char *diff_text(const struct diff_side *a, const struct diff_side *b, bool show_secrets,
                bool printed)
{
    GString *out = g_string_new(NULL);
    size_t a_size = a->exists ? a->size : 0;
    size_t b_size = b->exists ? b->size : 0;
    bool masked = !show_secrets && (diff_text_is_secret(a->path, a->bytes, a_size) ||
                                    diff_text_is_secret(b->path, b->bytes, b_size));
    bool shown = printed && isatty(STDOUT_FILENO);

    append_name(out, "---", "a", a);
    append_name(out, "+++", "b", b);
    if (!text_diff_is_text(a->bytes, a_size) || !text_diff_is_text(b->bytes, b_size))
        g_string_append(out, "Binary files differ\n");
    else
        text_diff(out, a->bytes, a_size, b->bytes, b_size,
                  masked  ? TEXT_DIFF_MASKED
                  : shown ? TEXT_DIFF_SHOWN
                          : TEXT_DIFF_PLAIN);
    return g_string_free(out, FALSE);
}

static enum colour colour_of(const char *line)
{
    if (*line == '-' || *line == '+')
        return line[1] == *line ? COLOUR_BOLD : *line == '-' ? COLOUR_RED : COLOUR_GREEN;
    return COLOUR_YELLOW;
}

void diff_text_print(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    for (char **line = lines; *line && (**line || line[1]); line++) {
        bool plain = **line == ' ' || !**line;
        printf("%s%s%s\n", plain ? "" : colour_begin(stdout, colour_of(*line)), *line,
               plain ? "" : colour_end(stdout));
    }
}
