/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A journal that a killed daemon left behind: brought into config.db, or put into quarantine.
 * Inside store only. */
#ifndef PMXCFS_STORE_RECOVER_H
#define PMXCFS_STORE_RECOVER_H

#include "core/tree.h"
#include "journal/journal.h"
#include "journal/replay.h"
#include "store/transaction.h"
#include "store/witness.h"

/* Brings the journal at `path` into config.db and into *tree, which is what was loaded from there
 * (the pointer may change). What cannot be brought in is put into quarantine and logged. The file
 * may stay: if *left is not NULL, it holds what config.db did not take yet, which *left has and
 * *tree too; else it holds nothing that counts. *report says what was done. `witness` NULL: nobody.
 * 0, or a negative errno with *message. */
int recover_journal(const char *path, struct transaction *transaction,
                    struct store_witness *witness, struct tree **tree,
                    struct journal_waiting **left, struct replay_report *report, char **message);

#endif
