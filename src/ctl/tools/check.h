/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Looks at a database without altering it: what is in it, and what is wrong with it. */
#ifndef PMXCFS_CTL_TOOLS_CHECK_H
#define PMXCFS_CTL_TOOLS_CHECK_H

#include "core/tree.h"
#include "store/finding.h"

/* The word for a problem that programs get: "same-name". */
const char *tools_problem_name(enum store_problem problem);

/* Reads the tree of the database at `path`, with what is in the journal beside it, and alters
 * nothing: no bytes, and no files beside it. While a daemon has it open: as it is between two
 * changes. `vfs`: SQLite's name of it, NULL: the usual one; there is no journal with another.
 * As store_read_connection(); -ENOENT if there is none. */
int tools_read(const char *path, const char *vfs, struct store_checker *checker,
               struct tree **tree);

/* Checks the database at `path` with SQLite's own integrity check on top, and alters nothing: no
 * bytes, and no files beside it. As tools_read() for all else. */
int tools_check(const char *path, const char *vfs, struct store_checker *checker);

#endif
