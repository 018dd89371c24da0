/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Journals that could not be brought in are kept beside the database. Inside store only. */
#ifndef PMXCFS_STORE_ASIDE_H
#define PMXCFS_STORE_ASIDE_H

/* Renames the file at `path` to PATH.WORD-DATE-TIME and deletes older ones, of whatever word, but
 * for the ten newest. 0 and *name (g_free() it), or a negative errno. */
int aside_move(const char *path, const char *word, char **name);

#endif
