/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Entries and row 0 into config.db, in one transaction. Inside store only. */
#ifndef PMXCFS_STORE_TRANSACTION_H
#define PMXCFS_STORE_TRANSACTION_H

#include <glib.h>
#include <sqlite3.h>
#include <stdbool.h>

#include "core/tree.h"

/* One thread at a time. */
struct transaction {
    sqlite3 *db; /* borrowed */
    bool full;   /* how it syncs at present: at each commit, or not */
    sqlite3_stmt *begin;
    sqlite3_stmt *put;
    sqlite3_stmt *remove;
    sqlite3_stmt *commit;
    sqlite3_stmt *rollback;
    char error[256]; /* what SQLite said at the last failure */
};

/* Prepares the statements; `full`: as the connection was opened. A result of SQLite. */
int transaction_prepare(struct transaction *transaction, sqlite3 *db, bool full);
void transaction_finalize(struct transaction *transaction);

/* Stores all entries (inode → struct entry or NULL: deleted) and row 0. `full`: synced when it
 * returns. 0; or a negative errno, and nothing of it is there. */
int transaction_store(struct transaction *transaction, GHashTable *entries, const struct root *root,
                      bool full);

/* Moves the pages in the WAL into the database itself and syncs both, but for those that another
 * program's old view needs; if that is *all of them, the next transaction begins the WAL anew.
 * Waits for nobody. 0, or a negative errno: -EBUSY: another program is at it. */
int transaction_checkpoint(struct transaction *transaction, bool *all);

#endif
