/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Makes a database that loads of one that does not. */
#ifndef PMXCFS_STORE_REPAIR_H
#define PMXCFS_STORE_REPAIR_H

#include "store/check.h"

/* Where entries go that cannot stay where they were: nobody but root can read there. */
#define REPAIR_DIRECTORY "priv/lost+found"

/* Reads what can be read of the database at `path`, which is not altered, puts right all that a
 * load refuses, and writes `copy` (mode 0600), which must not exist. The checker is told of each
 * thing that was done, with the path where the entry is now (STORE_REPAIRED), and of what was lost
 * (STORE_LOST).
 *
 * 0: `copy` is there and loads. Else a negative errno with *message (g_free() it), and no `copy`:
 * -EBADMSG: too little can be read of it. */
int store_repair(const char *path, const char *copy, struct store_checker *checker, char **message);

#endif
