/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The bytes of a journal's file as they are now. */
#ifndef PMXCFS_JOURNAL_READ_H
#define PMXCFS_JOURNAL_READ_H

#include <glib.h>

/* Reads the journal at `path`; a daemon may be writing to it. 0 and *bytes (g_byte_array_unref()
 * it; empty if there is no such file), or a negative errno with *message. */
int journal_read(const char *path, GByteArray **bytes, char **message);

#endif
