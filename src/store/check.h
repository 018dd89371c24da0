/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The door for database rows: reads them, finds all that is wrong, and makes a tree of them. */
#ifndef PMXCFS_STORE_CHECK_H
#define PMXCFS_STORE_CHECK_H

#include <sqlite3.h>
#include <stdint.h>

#include "core/tree.h"

enum store_severity {
    STORE_WARNING, /* loads, but somebody should know */
    STORE_REFUSED, /* a load refuses the database */
};

/* One thing that is wrong. The strings are lent for the time of the call; none is longer than 1 KiB
 * and what is printed of names has no control characters. */
struct store_finding {
    enum store_severity severity;
    uint64_t inode;   /* the row; 0: row 0, or the file as a whole */
    uint64_t other;   /* a second row that has to do with it, or 0 */
    const char *path; /* where the row is in the tree, "?" for what cannot be told; NULL: no row */
    const char *text; /* what is wrong: a sentence without a full stop that names the inodes */
    const char
        *remedy; /* what to do: SQL for this file, or a short sentence; NULL: nothing to do */
};

/* Embed it; `found` is called once a finding, in the checking thread. */
struct store_checker {
    void (*found)(struct store_checker *checker, const struct store_finding *finding);
};

/* Reads the table `tree` of an open connection in one pass (doc/database.md, "What a load refuses")
 * and reports all that is wrong with schema, rows and structure. The connection is only read from.
 * Nothing is trusted: it may be a database from anywhere. A database without any table is an empty
 * one.
 *
 * 0: loads; then *tree is the tree, which the caller owns (`tree` may be NULL: only check).
 * -EBADMSG: a load refuses it. -EBUSY, -ENOMEM, -EIO: it could not be read. Every error has at
 * least one finding of severity STORE_REFUSED. */
int store_check_connection(sqlite3 *db, struct store_checker *checker, struct tree **tree);

/* Checks the database at `path` with SQLite's own integrity check on top, and alters nothing: no
 * bytes, and no files beside it. May be used while a daemon has the database open. `vfs`: SQLite's
 * name of it, NULL: the usual one. Result as above; -ENOENT if there is none. */
int store_check(const char *path, const char *vfs, struct store_checker *checker);

#endif
