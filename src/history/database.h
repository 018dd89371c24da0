/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The file history.db: opened to be written, made anew, set aside. Inside history only. */
#ifndef PMXCFS_HISTORY_DATABASE_H
#define PMXCFS_HISTORY_DATABASE_H

#include <sqlite3.h>
#include <stdint.h>

/* Opens `path` to write to it, or makes it (mode 0600). 0, or a negative errno with *message
 * (g_free() it): -EBADMSG: it is damaged, or none of ours: database_set_aside() it. */
int database_open_history(const char *path, sqlite3 **db, char **message);

/* Brings the log into the file, and empties it: whoever opens the file next would take all of it
 * for new. While somebody reads it stays. */
void database_fold_log(sqlite3 *db);

/* Renames the file, and what lies beside it, to PATH.damaged, in place of an earlier one. 0 or a
 * negative errno. Nobody has it open. */
int database_set_aside(const char *path);

/* The file's bytes that are in use. */
uint64_t database_bytes(sqlite3 *db);

/* Numbers of the table `meta`; one that is not there is 0. A result of SQLite. */
int64_t database_get_number(sqlite3 *db, const char *key);
int database_set_number(sqlite3 *db, const char *key, int64_t value);

#endif
