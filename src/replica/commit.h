/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Commit: changes are applied to a draft, which is stored, published, and answered for. */
#ifndef PMXCFS_REPLICA_COMMIT_H
#define PMXCFS_REPLICA_COMMIT_H

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/lock.h"
#include "cluster/transport.h"
#include "core/change.h"
#include "core/draft.h"
#include "core/state.h"
#include "replica/counters.h"
#include "replica/listener.h"
#include "replica/refusals.h"
#include "replica/waiters.h"

struct store;

/* A delivered change, and what its sender will be told once the draft is stored. */
struct outcome {
    struct buffer *message; /* owned once it is in a committer */
    struct change change;   /* points into the message */
    struct member sender;
    uint64_t count;
    bool own;
    bool shared; /* other members apply it too, whatever becomes of it here */
    int result;
};

/* What a committer works with; all borrowed. */
struct commit_parts {
    struct store *store;
    struct waiters *waiters;
    struct refusals *refusals;
    struct replica_metrics *metrics;
    struct replica_listener *listener;
    struct clock_source *clock;
    bool local;           /* a change that is not stored is undone; else the node has to leave */
    bool acknowledge_all; /* answer when all members have confirmed a change */
};

/* Embedded in the replica. All is the writer's, but for what is said to be otherwise. */
struct committer {
    struct commit_parts parts;
    struct shared_lock state_lock; /* any thread; exclusively only to install a draft */
    struct state *state;           /* what readers see; owned */
    struct draft *draft;           /* over the state; owned */
    GArray *outcomes;              /* struct outcome: what is in the draft, or failed */
    atomic_bool broken;            /* any thread: the database failed, changes are refused */
    atomic_bool writable;          /* any thread: while broken, it takes writes again */
    uint64_t warn_at;              /* the version at which the log warns of its end next */
};

/* Takes over `tree`. */
void committer_init(struct committer *committer, const struct commit_parts *parts,
                    struct tree *tree);
void committer_destroy(struct committer *committer);

/* Applies a change to the draft; its caller is answered by the next commit_flush(). */
void commit_apply(struct committer *committer, const struct outcome *outcome);

/* Stores the draft, publishes it, and answers all callers. 0; or a negative errno, in a cluster
 * only: the database did not take it, nothing was changed here, the node has to leave the group,
 * and the callers have the error: -EBUSY instead of it where other members have the change. */
int commit_flush(struct committer *committer);

/* Stores a draft that replaces what differed from the leader's state; nothing else may be in it. 0,
 * or the negative errno of a database that did not take it: the draft is dropped. */
int commit_store_rebuilt(struct committer *committer);

/* Publishes it then. What waits to be safe with all may be among what was taken away: it is
 * answered EBUSY. */
void commit_publish_rebuilt(struct committer *committer);

/* Forgets what is in the draft. */
void commit_drop_draft(struct committer *committer);

/* Writes nothing new, to see whether the database takes it, unless it is not `worth_it` to try;
 * sets `writable`. Only while `broken`. */
void commit_probe(struct committer *committer, bool worth_it);

#endif
