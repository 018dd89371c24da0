/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Telling the kernel to drop names and listings. It takes the directory's lock and those of its
 * pages for that, which any process may hold for as long as it likes (a listing into memory that is
 * slow to come): so threads of their own do it, and a directory that holds one up keeps that thread
 * for itself. */
#ifndef PMXCFS_MOUNT_NAMES_H
#define PMXCFS_MOUNT_NAMES_H

#include <glib.h>
#include <stdbool.h>

#include "base/lock.h"
#include "mount/node.h"

struct fuse_session;
struct names_dropper;
struct replica;

/* Somebody to be told when a name was dropped; embedded in a struct of theirs. */
struct name_waiter {
    void (*dropped)(struct name_waiter *waiter); /* from one of the threads here, no lock held */
};

/* Names that one publication drops. */
struct names_batch {
    unsigned int pending; /* those that are waited for */
};

struct names {
    struct fuse_session *session;
    struct node_table *table;
    struct replica *replica; /* for paths in messages */
    const char *mountpoint;
    struct counter *dropped; /* counted here */

    struct lock lock;              /* guards what follows, and all batches and droppers */
    pthread_cond_t changed;        /* something was queued or dropped, or the end has come */
    GQueue queue;                  /* struct name_item, in order */
    struct names_dropper *current; /* works off the queue */
    GPtrArray *stuck;              /* struct names_dropper: each waits for one directory */
    unsigned int threads;          /* that have not ended */
    bool end;
};

void names_init(struct names *names, struct fuse_session *session, struct node_table *table,
                struct replica *replica, const char *mountpoint, struct counter *dropped);

/* 0 or a negative errno. */
int names_start(struct names *names);

/* Queues a name of `directory`, which is pinned until then. `batch` and `waiter` may be NULL. Any
 * thread; waits for nothing. */
void names_drop(struct names *names, struct node *directory, const char *name,
                struct names_batch *batch, struct name_waiter *waiter);

/* Waits until the names of the batch are dropped. A directory that holds that up for a second is
 * left to itself, and the log says who holds it. */
void names_wait(struct names *names, struct names_batch *batch);

/* Ends the threads. False: some are still stuck, and nothing that they know may be freed. */
bool names_stop(struct names *names);
void names_destroy(struct names *names);

#endif
