/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Quarantine: journals and WALs that could not be brought in are kept beside the database. */
#ifndef PMXCFS_JOURNAL_QUARANTINE_H
#define PMXCFS_JOURNAL_QUARANTINE_H

/* Renames the file at `path` to PATH.WORD-DATE-TIME and deletes older ones, of whatever word, but
 * for the ten newest. 0 and *name (g_free() it), or a negative errno. */
int quarantine_move(const char *path, const char *word, char **name);

/* Deletes the files PATH + one of `words` (with an end, NULL; each has one hyphen, at its end) +
 * DATE but for so many: `made`, which was made just now, whatever its date is (the clock may be
 * behind), and the newest of the others by their date. */
void quarantine_keep_newest(const char *made, const char *path, const char *const *words,
                            unsigned int count);

#endif
