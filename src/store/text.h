/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Bytes from anywhere as texts that can be printed. */
#ifndef PMXCFS_STORE_TEXT_H
#define PMXCFS_STORE_TEXT_H

#include <stddef.h>

/* A copy of the bytes, in which what is no printable UTF-8 is \xNN; g_free() it. */
char *store_text_shown(const char *bytes, size_t length);

/* The same, cut where it is too long for a name in a sentence, or for a sentence of SQLite's, which
 * may quote what it found in the file. What is cut ends with "...". */
char *text_name_shown(const char *bytes, size_t length);
char *text_sentence_shown(const char *sentence);

#endif
