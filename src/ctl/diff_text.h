/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two states of a file as diff -u shows them, with secrets masked, in colours at a terminal. */
#ifndef PMXCFS_CTL_DIFF_TEXT_H
#define PMXCFS_CTL_DIFF_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct diff_side {
    const char *path; /* in the tree */
    bool exists;      /* as a file; else nothing below counts */
    const char *bytes;
    size_t size;
    uint32_t mtime;   /* seconds */
    uint64_t version; /* 0: not known */
};

/* Nobody is to find passwords in his terminal, or in what he sends to others: private paths, and
 * keys wherever they are (the one of the web server is in the root). */
bool diff_text_is_secret(const char *path, const char *bytes, size_t size);

/* The header and the hunks; g_free() it. Lines of secrets are masked unless `show_secrets`.
 * `printed`: diff_text_print() gets it, which if stdout is a terminal must get no control
 * characters. */
char *diff_text(const struct diff_side *a, const struct diff_side *b, bool show_secrets,
                bool printed);

/* Prints what diff_text() gave. */
void diff_text_print(const char *text);

#endif
