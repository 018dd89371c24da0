/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Second step of a load: rows of config.db, one by one, and what each must be to become an entry.
 * Inside store and ctl/tools only. */
#ifndef PMXCFS_STORE_ROWS_H
#define PMXCFS_STORE_ROWS_H

#include "store/load.h"

/* Reads all rows, and notes what is wrong with each. True if all could be read. */
bool rows_read(struct load *load);

/* Reads the rows from inode `from` on, as far as that goes. True if it went to the end; else what
 * could be read last is *last, below `from` if nothing was. */
bool rows_read_from(struct load *load, int64_t from, int64_t *last);

/* The SELECT that gives rows from inode ?1 on; as load_prepare(). */
sqlite3_stmt *rows_select(struct load *load);

#endif
