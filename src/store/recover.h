/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A journal that a killed daemon left behind: brought into config.db, or set aside. Inside store
 * only. */
#ifndef PMXCFS_STORE_RECOVER_H
#define PMXCFS_STORE_RECOVER_H

#include "core/tree.h"
#include "store/journal.h"
#include "store/store.h"
#include "store/transaction.h"

/* Reads the journal at `path` as it is now. 0 and *bytes (g_byte_array_unref() it; empty if there
 * is no such file), or a negative errno with *message. */
int recover_read(const char *path, GByteArray **bytes, char **message);

/* Brings the journal at `path` into config.db and into *tree, which is what was loaded from there
 * (the pointer may change). What cannot be brought in is set aside and logged. The file may stay:
 * if *left is not NULL, it holds what config.db did not take yet, which *left has and *tree too;
 * else it holds nothing that counts. *report says what was done. 0, or a negative errno with
 * *message. */
int recover_journal(const char *path, struct transaction *transaction, struct tree **tree,
                    struct journal_waiting **left, struct store_fold_report *report,
                    char **message);

#endif
