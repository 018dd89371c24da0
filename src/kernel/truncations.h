/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The truncations of opens that wait for a write: which of them are sent, and when. */
#ifndef PMXCFS_KERNEL_TRUNCATIONS_H
#define PMXCFS_KERNEL_TRUNCATIONS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/lock.h"
#include "kernel/node.h"

/* Who sends them. */
struct truncations_owner {
    /* A truncation, begun (node_meet()); with no lock held. */
    void (*send)(struct truncations_owner *owner, struct node *node);
};

struct truncations {
    struct truncations_owner *owner;
    struct node_table *table;
    struct lock lock; /* guards what follows */
    GPtrArray *nodes; /* struct node, pinned: with a truncation that waits, or waited */
};

void truncations_init(struct truncations *truncations, struct truncations_owner *owner,
                      struct node_table *table);
void truncations_destroy(struct truncations *truncations);

/* --- Any thread --- */

/* A node that node_truncate() listed. */
void truncations_add(struct truncations *truncations, struct node *node);

/* True if any may have to be sent later. */
bool truncations_wait(struct truncations *truncations);

/* Sends those that are due at `now` (milliseconds), but for those whose writer is on its way. It
 * asks /proc, which may wait for the threads that it is asked about. */
void truncations_send_due(struct truncations *truncations, uint64_t now);

/* `thread` is about to ask for another change: truncations that it, or who has ended, asked for
 * before are sent first, so that nobody sees the two in another order. */
void truncations_flush_caller(struct truncations *truncations, pid_t thread);

/* Sends all. */
void truncations_flush(struct truncations *truncations);

#endif
