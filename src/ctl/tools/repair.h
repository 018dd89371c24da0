/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Makes a database that loads of one that does not. */
#ifndef PMXCFS_CTL_TOOLS_REPAIR_H
#define PMXCFS_CTL_TOOLS_REPAIR_H

#include <sqlite3.h>

#include "core/tree.h"
#include "store/finding.h"

/* Where entries go that cannot stay where they were: nobody but root can read there. */
#define REPAIR_DIRECTORY "priv/lost+found"

/* Reads what can be read of the table `tree` and puts right all that a load refuses. The checker is
 * told of each thing that was done, with the path where the entry is now (STORE_REPAIRED), and of
 * what was lost (STORE_LOST). The connection is only read from; nothing is trusted. *moved_on: the
 * repair has made changes of its own, which have versions.
 *
 * 0, and *tree is the caller's. Else a negative errno with *message (g_free() it): -EBADMSG:
 * nothing can be saved. */
int tools_repair_connection(sqlite3 *db, struct store_checker *checker, struct tree **tree,
                            bool *moved_on, char **message);

/* The same with the database at `path`, which is not altered, and its journal; the tree is written
 * to `copy` (mode 0600), which must not exist, nor a log or journal of that name. On an error there
 * is no `copy`. */
int tools_repair(const char *path, const char *copy, struct store_checker *checker, char **message);

#endif
