/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Telling the kernel to drop names and listings. It takes the directory's lock and those of its
 * pages for that, which any process may hold for as long as it likes (a listing into memory that is
 * slow to come): so each directory has a thread for itself while something is to be dropped there.
 */
#ifndef PMXCFS_KERNEL_NAMES_H
#define PMXCFS_KERNEL_NAMES_H

#include "kernel/node.h"

struct fuse_session;
struct replica;

/* Who is told that a batch may be done; any thread, no lock held. */
struct names_listener {
    void (*dropped)(struct names_listener *listener);
};

/* Names that one publication drops. */
struct names_batch {
    unsigned int pending; /* those that are waited for */
};

struct names {
    struct names_listener *listener;
    struct replica *replica; /* for paths in messages */
    const char *mountpoint;
    struct fuse_session *session;
    struct node_table *table;

    struct lock lock; /* guards what follows, and all batches and directories */
    pthread_cond_t changed;
    GHashTable *directories; /* struct node → struct directory: where something is to be dropped */
    GQueue ready;            /* struct directory that no thread has yet */
    unsigned int threads;
    unsigned int idle; /* of these, waiting for a directory */
    bool end;
};

void names_init(struct names *names, struct names_listener *listener, struct replica *replica,
                const char *mountpoint, struct fuse_session *session, struct node_table *table);

/* Drops a name of `directory`, soon. `batch` may be NULL. Any thread; waits for nothing. */
void names_drop(struct names *names, struct node *directory, const char *name,
                struct names_batch *batch);

/* True if the names of the batch are dropped. A directory that has held that up for a second is
 * left to itself, and the log says who holds it: so it is to be asked now and then. */
bool names_are_dropped(struct names *names, const struct names_batch *batch);

/* Waits for the threads, a second at most. False: one is stuck, and nothing that it knows may be
 * freed. */
bool names_stop(struct names *names);
void names_destroy(struct names *names);

#endif
