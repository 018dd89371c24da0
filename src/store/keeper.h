/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The keeper: a thread that brings what is in the journal, and in the log, into config.db, off the
 * writer's way. */
#ifndef PMXCFS_STORE_KEEPER_H
#define PMXCFS_STORE_KEEPER_H

#include <stdint.h>

#include "store/store.h"

/* Zero in any of them: the value in brackets. */
struct keeper_options {
    unsigned int pages;     /* pages in the log that make a checkpoint worth its syncs (1000) */
    unsigned int pages_max; /* from here on commits wait for the checkpoint (8 × pages) */
    unsigned int age;       /* milliseconds after which a lone commit is checkpointed (300 000) */
};

struct keeper;

/* Starts the thread and listens to `store`, which must outlive it. The caller is the writer or
 * alone. NULL if there can be no thread, with errno set. */
struct keeper *keeper_start(struct store *store, const struct keeper_options *options);

/* Ends the thread, after the checkpoint that it may be at; what is left is store_close()'s. The
 * caller is the writer or alone. NULL is allowed. */
void keeper_stop(struct keeper *keeper);

/* Checkpoints done so far; any thread. For tests and statistics. */
uint64_t keeper_checkpoints(const struct keeper *keeper);

#endif
