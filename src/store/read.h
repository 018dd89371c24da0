/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The door for database rows: reads them, finds all that is wrong, and makes a tree of them. */
#ifndef PMXCFS_STORE_READ_H
#define PMXCFS_STORE_READ_H

#include <sqlite3.h>

#include "core/tree.h"
#include "store/finding.h"

/* Reads the table `tree` of an open connection in one pass (doc/database.md, "What a load refuses")
 * and reports all that is wrong with schema, rows and structure. The connection is only read from.
 * Nothing is trusted: it may be a database from anywhere. A database without any table is an empty
 * one.
 *
 * 0: loads; then *tree is the tree, which the caller owns (`tree` may be NULL: only check).
 * -EBADMSG: a load refuses it. -EBUSY, -ENOMEM, -EIO: it could not be read. Every error has at
 * least one finding of severity STORE_REFUSED. */
int store_read_connection(sqlite3 *db, struct store_checker *checker, struct tree **tree);

#endif
