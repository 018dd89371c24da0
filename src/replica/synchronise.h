/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Synchronisation with the state in hand: a node's index, the leader's entries, the follower's
 * commit. */
#ifndef PMXCFS_REPLICA_SYNCHRONISE_H
#define PMXCFS_REPLICA_SYNCHRONISE_H

#include "cluster/executor.h"
#include "replica/commit.h"
#include "store/safety.h"

struct outgoing_updates;

/* Embedded in the replica; the writer's. */
struct synchronisation {
    struct executor *executor;        /* borrowed: sends, and leaves when that cannot be done */
    struct committer *committer;      /* borrowed */
    const char *safety_directory;     /* borrowed; NULL: nothing is kept */
    struct outgoing_updates *updates; /* leader: what is still to be sent; NULL: nothing */
    uint64_t begun;                   /* metrics_now(); 0: none is under way */
    struct safety_copy copy;          /* of the last attempt, which was not stored */
    uint64_t rejoin_delay;            /* milliseconds; see synchronise_is_due() */
    unsigned failures;                /* attempts in a row that came to nothing */
    uint64_t pause;                   /* milliseconds: after the last of them */
    uint64_t retry_at;                /* milliseconds: no other attempt before */
};

/* Leader: takes hold of the entries that others lack, as they are now, and sends them in a bounded
 * window; goes on when some were delivered (or given up); forgets the rest. */
void synchronise_send_updates(struct synchronisation *synchronisation, const struct action *action);
void synchronise_delivered(struct synchronisation *synchronisation, size_t bytes);
void synchronise_stop(struct synchronisation *synchronisation);

/* Follower: takes over the leader's state. `node`: this one's id. 0; -EBADMSG: what came is not the
 * leader's state; or a negative errno of the database. The old state is kept then. */
int synchronise_commit(struct synchronisation *synchronisation, const struct action *action,
                       uint32_t node);

/* Whether it is time for another attempt after those that came to nothing: each makes the whole
 * cluster synchronise and send this node what it lacks, so the pauses double. After one that the
 * database did not take: from twice `rejoin_delay` to SYNCHRONISE_PAUSE_MAX; after others (what
 * came is not sound, something could not be sent), which may be over sooner: none after the first,
 * then the same up to SYNCHRONISE_PAUSE_SHORT_MAX. `now`: milliseconds. */
#define SYNCHRONISE_PAUSE_MAX 300000u
#define SYNCHRONISE_PAUSE_SHORT_MAX 60000u
bool synchronise_is_due(const struct synchronisation *synchronisation, uint64_t now);

/* The group is left, maybe before a synchronisation has come to its end. */
void synchronise_left(struct synchronisation *synchronisation);

/* This node has what the group has: attempts that failed are forgotten. */
void synchronise_succeeded(struct synchronisation *synchronisation);

void synchronise_destroy(struct synchronisation *synchronisation);

#endif
