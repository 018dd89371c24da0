/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The flusher: a thread that brings what is in the journal into config.db, off the writer's way. */
#ifndef PMXCFS_STORE_FLUSHER_H
#define PMXCFS_STORE_FLUSHER_H

#include "store/store.h"

struct flusher;

/* Starts the thread and listens to `store`, which must outlive it. The caller is the writer or
 * alone. NULL if there can be no thread, with errno set. */
struct flusher *flusher_start(struct store *store);

/* Ends the thread, after the flush that it may be at; what is left is store_close()'s. The caller
 * is the writer or alone. NULL is allowed. */
void flusher_stop(struct flusher *flusher);

#endif
