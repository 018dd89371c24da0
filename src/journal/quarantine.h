/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Quarantine: journals that could not be brought in are kept beside the database. */
#ifndef PMXCFS_JOURNAL_QUARANTINE_H
#define PMXCFS_JOURNAL_QUARANTINE_H

/* Renames the file at `path` to PATH.WORD-DATE-TIME and deletes older ones, of whatever word, but
 * for the ten newest. 0 and *name (g_free() it), or a negative errno. */
int quarantine_move(const char *path, const char *word, char **name);

#endif
