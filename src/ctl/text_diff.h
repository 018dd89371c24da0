/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The difference of two texts, line by line, as diff -u shows it. Pure. */
#ifndef PMXCFS_CTL_TEXT_DIFF_H
#define PMXCFS_CTL_TEXT_DIFF_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

enum text_diff_style {
    TEXT_DIFF_PLAIN,  /* the bytes as they are: what patch(1) takes */
    TEXT_DIFF_SHOWN,  /* what cannot be printed as \xNN: a terminal would obey it */
    TEXT_DIFF_MASKED, /* "********" in place of each line */
};

/* Is it UTF-8 without NULs? Others have no lines. */
bool text_diff_is_text(const char *bytes, size_t size);

/* Appends a line as TEXT_DIFF_SHOWN has it. */
void text_diff_append_shown(GString *out, const char *bytes, size_t size);

/* Which line of `a` (from 0) each line of `b` is; -1: it is in none. int; g_array_unref() it. */
GArray *text_diff_origins(const char *a, size_t a_size, const char *b, size_t b_size);

/* Appends the hunks, with three lines around what differs, none if nothing does. Texts that have
 * thousands of lines in other places are shown as replaced as a whole: it costs at most some 16 MiB
 * and 100 ms a MiB. */
void text_diff(GString *out, const char *a, size_t a_size, const char *b, size_t b_size,
               enum text_diff_style style);

#endif
