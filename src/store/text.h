/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Bytes from anywhere as texts that can be printed. */
#ifndef PMXCFS_STORE_TEXT_H
#define PMXCFS_STORE_TEXT_H

#include <glib.h>
#include <stddef.h>

/* Appends bytes: what is no printable UTF-8 becomes \xNN. Of more than `limit` bytes only so many,
 * and "...". */
void text_append_shown(GString *text, const char *bytes, size_t length, size_t limit);

/* The same as a copy; g_free() it. text_name_shown() cuts what is too long for a name in a
 * sentence. */
char *store_text_shown(const char *bytes, size_t length);
char *text_name_shown(const char *bytes, size_t length);

#endif
