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

/* A small, proper database; inode 30 is free. */
#define BASE                                                                                       \
    TREE_TABLE ";"                                                                                 \
               "INSERT INTO tree VALUES (0, 0, 40, 1, 1700, 8, '__version__', NULL),"              \
               "(2, 0, 3, 0, 1600, 8, 'storage.cfg', x'6162'),"                                    \
               "(4, 0, 4, 1, 1601, 4, 'nodes', NULL),"                                             \
               "(5, 4, 5, 1, 1602, 4, 'a', NULL),"                                                 \
               "(6, 5, 6, 1, 1603, 4, 'qemu-server', x''),"                                        \
               "(7, 4, 7, 1, 1604, 4, 'b', NULL),"                                                 \
               "(8, 7, 8, 1, 1605, 4, 'lxc', NULL),"                                               \
               "(9, 6, 10, 2, 1606, 8, '100.conf', x'636f7265733a2031'),"                          \
               "(11, 8, 12, 2, 1607, 8, '200.conf', x'00'),"                                       \
               "(13, 0, 13, 1, 1608, 4, 'priv', NULL);"
#define WITHOUT_CHECKS "PRAGMA ignore_check_constraints=ON; "

uint32_t next_random(uint32_t *seed);

/* Writes a file anew. */
void place_write(const char *path, const void *bytes, size_t size);

#endif
