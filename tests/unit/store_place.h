/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A directory of its own for a test of the store, and looks at what is in it that need no store. */
#ifndef PMXCFS_TESTS_STORE_PLACE_H
#define PMXCFS_TESTS_STORE_PLACE_H

#include <glib.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

struct place {
    char *directory; /* exists, empty at first */
    char *path;      /* directory/config.db, not there at first */
};

/* Before all else: from now on places are in memory, mounted in a namespace of this process's own,
 * so that tests do not wait for disks and leave nothing behind. False, and places are where
 * temporary files are, if that is not allowed. The process must be single-threaded. */
bool place_use_memory(void);
void place_leave_memory(void);

void place_start(struct place *place);
void place_stop(struct place *place); /* removes all */

/* All files of the directory with their bytes' checksums, one a line, by name: two are equal only
 * if nothing was touched. g_free() it. */
char *place_snapshot(const struct place *place);

/* The names of all files, with a space between them, by name. g_free() it. */
char *place_names(const struct place *place);

/* A connection with SQLite's own settings, but without syncs; the test fails if it cannot be had.
 */
sqlite3 *place_connect(const char *path);

/* Runs SQL, as an administrator would, with a connection of its own. */
void place_run(const struct place *place, const char *sql);

/* All rows that the query gives, as inode|parent|version..., one a line; blobs as x'..'. g_free()
 * it.
 */
char *place_rows(sqlite3 *db, const char *sql);

/* Copies a file. */
void place_copy(const char *from, const char *to);

/* All *.db below VECTORS, by path: g_ptr_array_unref() it. */
GPtrArray *place_vectors(void);

/* The whole tree table, and the tree table as every implementation makes it. */
#define ALL_ROWS                                                                                   \
    "SELECT inode, parent, version, writer, mtime, type, name, data FROM tree ORDER BY inode"
#define TREE_TABLE                                                                                 \
    "CREATE TABLE tree (  inode INTEGER PRIMARY KEY NOT NULL,  parent INTEGER NOT NULL "           \
    "CHECK(typeof(parent)=='integer'),  version INTEGER NOT NULL "                                 \
    "CHECK(typeof(version)=='integer'),  writer INTEGER NOT NULL "                                 \
    "CHECK(typeof(writer)=='integer'),  mtime INTEGER NOT NULL CHECK(typeof(mtime)=='integer'),  " \
    "type INTEGER NOT NULL CHECK(typeof(type)=='integer'),  name TEXT NOT NULL,  data BLOB)"

#endif
