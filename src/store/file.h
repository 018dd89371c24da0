/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How config.db is opened: to look at it without a trace, to write, and for the first time. Inside
 * store and ctl/tools only. */
#ifndef PMXCFS_STORE_FILE_H
#define PMXCFS_STORE_FILE_H

#include <sqlite3.h>
#include <stdbool.h>

/* The table, as every implementation makes it (doc/database.md). */
extern const char file_schema[];

/* The name of row 0, which holds the global version. */
#define ROOT_NAME "__version__"

/* The path without symbolic links, since a WAL lies beside the file itself; g_free() it. */
char *file_resolve(const char *path, const char *vfs);

/* 0 if there is a file at `path` that is worth opening; -ENOENT: none; else a negative errno and
 * *message, which g_free() frees. A file that is empty, or nearly, is refused: it
 * was something else before. */
int file_probe(const char *path, const char *vfs, char **message);

/* The same, and no file is an error with *message too. */
int file_require_present(const char *path, const char *vfs, char **message);

/* For whoever makes a new database where none is: a WAL and journals without their database are
 * put into quarantine, and logged. 0, or a negative errno with *message. */
int file_quarantine_orphans(const char *path, char **message);

/* Opens `path` for reading, in a way that leaves its bytes as they are and no files beside it: also
 * if it is in WAL mode, and also if a WAL of a crashed daemon lies beside it, which is read but not
 * checkpointed. Another process may have it open; `busy_timeout` (milliseconds) is how long the
 * first read waits if that one keeps it locked. (The one exception: a hot rollback journal is
 * played back, as no reader can do without that.) 0 or a negative errno with *message. */
int file_open_untouched(const char *path, const char *vfs, unsigned int busy_timeout, sqlite3 **db,
                        char **message);

/* The same for a file that is damaged: of a truncated one, too, what is there can be read. */
int file_open_damaged(const char *path, sqlite3 **db, char **message);

/* Opens `path` for writing, with WAL journal, without automatic checkpoints. `full`: synced at each
 * commit. Makes the table if there is none. 0 or a negative errno with *message. */
int file_open_writable(const char *path, const char *vfs, unsigned int busy_timeout, bool full,
                       sqlite3 **db, char **message);

/* The one text that a query answers with; NULL: none. g_free() it. */
char *file_ask(sqlite3 *db, const char *sql);

/* Makes an empty database at `path`, mode 0600, in one step: after a crash it is there as a whole
 * or not at all. 0 or a negative errno with *message. */
int file_create(const char *path, const char *vfs, char **message);

/* For whoever gives a new database the name `path`, whether one has it or not: -EEXIST with
 * *message if a WAL or journal lies there that would be played into it, else 0. */
int file_require_alone(const char *path, char **message);

/* The same, and -EEXIST if anything has that name itself. */
int file_require_absent(const char *path, char **message);

/* An empty file of mode 0600, in place of what was there by that name. */
int file_make_private(const char *path, char **message);

/* Gives a finished file its name, replacing what has it, so that it survives a power loss. */
int file_rename(const char *from, const char *to, char **message);

/* Removes a database that is in nobody's use, with what lies beside it. */
void file_remove(const char *path);

/* The negative errno for what SQLite said last on `db` (an extended result code): -ENOSPC if no
 * room is what it lacked, -EBADMSG for a damaged file, -EBUSY, -ENOMEM, -EROFS, else -EIO. */
int file_errno(sqlite3 *db, int result);

#endif
