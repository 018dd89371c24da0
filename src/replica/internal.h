/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The replica as a whole, for its two files: replica.c (the outside, the loop) and execute.c (what
 * the writer does). */
#ifndef PMXCFS_REPLICA_INTERNAL_H
#define PMXCFS_REPLICA_INTERNAL_H

#include <pthread.h>

#include "base/lock.h"
#include "cluster/executor.h"
#include "replica/commit.h"
#include "replica/confirm.h"
#include "replica/counters.h"
#include "replica/options.h"
#include "replica/outbox.h"
#include "replica/refusals.h"
#include "replica/synchronise.h"
#include "replica/view.h"
#include "replica/waiters.h"

struct replica {
    struct replica_options options;
    struct replica_metrics metrics;
    struct refusals refusals;
    struct waiters waiters;
    struct outbox outbox;
    struct view view;
    struct group_consumer consumer;

    /* Of whoever has the writer role, but for what replica/commit.h says. */
    struct member self;
    struct executor executor;
    struct committer committer;
    struct synchronisation synchronisation;
    struct confirm confirm;
    atomic_bool put_off; /* any thread: synchronisations came to nothing, it is too soon for more */

    /* The writer role. */
    struct lock events_lock;
    pthread_cond_t idle;  /* nobody has it */
    pthread_cond_t taken; /* the writer has taken what waited */
    GQueue events;        /* struct event: waiting for the writer */
    uint64_t event_bytes; /* of them, about */
    bool busy;            /* somebody has it */
};

/* Makes the parts that the writer works with. Takes over `tree`. */
void replica_init_writer(struct replica *replica, struct store *store, struct tree *tree);
void replica_destroy_writer(struct replica *replica);

/* The writer: works on one event; ends a batch of them: what was applied is stored, published and
 * answered. */
void replica_handle(struct replica *replica, const struct event *event);
void replica_end_batch(struct replica *replica);

#endif
