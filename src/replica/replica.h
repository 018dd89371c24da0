/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The one owner of the replicated state: events in, changes applied, stored, published, callers
 * answered. */
#ifndef PMXCFS_REPLICA_REPLICA_H
#define PMXCFS_REPLICA_REPLICA_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "cluster/machine.h"
#include "cluster/transport.h"
#include "core/admit.h"
#include "core/change.h"
#include "core/draft.h"
#include "core/state.h"
#include "replica/refusals.h"

struct replica;
struct store;

/* Who asked for a change, embedded in a request of the asker's. */
struct caller {
    /* Called exactly once, from whichever thread is the writer (perhaps before replica_change()
     * returns), unless replica_cancel() gave the caller back. 0 or a negative errno. Must not
     * block. */
    void (*answer)(struct caller *caller, int result);
    const void *origin; /* goes into the effect: whose kernel caches know the change already; NULL:
                           nobody's */

    /* The replica's own; zero at first. */
    GList link; /* among those without an answer */
    uint64_t count;
    uint64_t since; /* milliseconds */
    struct admit_reserve reserve;
};

/* Who is told what happened. */
struct replica_listener {
    /* The draft is being published: the state's lock is held exclusively, `effects` are what
     * readers will see when it is released. Memory only. */
    void (*publishing)(struct replica_listener *listener, const GPtrArray *effects, bool rebuilt);

    /* It has been published and no lock is held, callers are not yet answered. Takes over `effects`
     * (struct effect). `rebuilt`: a synchronisation replaced what differed; the effects have
     * operation 0 then, one for each entry that changed. */
    void (*published)(struct replica_listener *listener, GPtrArray *effects, bool rebuilt);

    /* Quorum was won or lost: what was writable is not, or the other way round. */
    void (*quorum_changed)(struct replica_listener *listener, bool quorate);
};

struct replica_options {
    struct member self;     /* local mode: node 0 */
    bool local;             /* no cluster: expired locks are judged by the asker */
    bool acknowledge_all;   /* answer after a second round through the group */
    uint32_t lock_lifetime; /* milliseconds */
    const char
        *safety_directory; /* where what a synchronisation takes away is kept; NULL: nowhere */
    struct clock_source *clock;
    struct replica_listener *listener;
};

/* Takes over `tree` (just loaded from `store`). The store must outlive the replica, as must what
 * the options point to. */
struct replica *replica_new(const struct replica_options *options, struct store *store,
                            struct tree *tree);

/* Where messages go; set once, before the first event. */
void replica_set_transport(struct replica *replica, struct transport *transport);

/* All callers are answered (EBUSY) first. No thread may be inside the replica any more. */
void replica_free(struct replica *replica);

/* Reading. Any thread; hold it for microseconds, over memory only. */
const struct state *replica_read_lock(struct replica *replica);
void replica_read_unlock(struct replica *replica);
bool replica_is_quorate(const struct replica *replica);

/* What state the replica is in, for status and metrics. Any thread. */
struct replica_status {
    enum machine_mode mode;
    bool joined;
    bool quorate;
    bool broken;           /* database error: changes are refused */
    bool lowest;           /* of the group's members: the one that asks for verifications */
    uint32_t mode_since;   /* seconds, as is ... */
    uint32_t quorum_since; /* ... when `quorate` last changed */
    size_t waiting;        /* callers without an answer */
    size_t queued;         /* messages kept back by the machine */
    size_t held;           /* own messages kept back until this node is in sync */
    struct machine_verifications verifications;
};
void replica_get_status(struct replica *replica, struct replica_status *status);

/* A member of the group as this node knows it. */
struct replica_member {
    struct member member;
    bool synced;
    uint32_t since; /* seconds: when it was first seen in the group */
};

/* The members, in order of their node ids; g_array_unref() it. Any thread. */
GArray *replica_members(struct replica *replica);

/* The last checksum of the whole state that was computed here; all zero: none yet. */
struct replica_checksum {
    uint8_t digest[DIGEST_SIZE];
    uint64_t version;
    uint32_t time; /* seconds */
};
void replica_get_checksum(struct replica *replica, struct replica_checksum *checksum);

/* What was counted since the replica was made. */
struct replica_metrics {
    struct counter changes[CHANGE_UNLOCK + 1]; /* applied, by operation */
    struct counter own_changes;                /* of these, asked for here */
    struct counter change_bytes;               /* of their messages */
    struct histogram batches;                  /* changes in a commit */
    struct histogram commits;                  /* duration */
    struct counter commit_failures;
    struct histogram synchronisations; /* with others: from the change of membership on */
    struct counter entries_sent;       /* in synchronisations, to nodes that lacked them */
    struct counter entries_taken;
    struct counter safety_copies;
    struct counter departures; /* the group was left because of an error */
};
const struct replica_metrics *replica_metrics(const struct replica *replica);
const struct refusals *replica_refusals(const struct replica *replica);

/* A lock in the tree, by this node's clock. */
struct replica_lock {
    char *path; /* owned */
    uint32_t writer;
    uint64_t age; /* milliseconds */
    bool expired;
};

/* All locks in no order; g_ptr_array_unref() frees them. Any thread. */
GPtrArray *replica_locks(struct replica *replica);

/* Why a change cannot be asked for at all now: -EACCES (no quorum), -EIO (database error), -EBUSY
 * (not joined); 0: it can. */
int replica_refusal(struct replica *replica, const char *path);

/* Logs that a file would pass its largest size, for a caller that refuses that by itself since the
 * size does not fit a change. Any thread. */
void replica_note_too_large(struct replica *replica, const char *path);

/* Asks for a change. Any thread; never waits for the group or (unless this thread becomes the
 * writer) the disk. */
void replica_change(struct replica *replica, const struct change *change, struct caller *caller);

/* Asks for the lock at `path`: utimens with mtime 0. An expired lock is unlocked. */
void replica_request_unlock(struct replica *replica, const char *path, struct caller *caller);

/* Takes a caller back that nobody has answered yet: true, and the caller is the asker's again. The
 * change may still be made. */
bool replica_cancel(struct replica *replica, struct caller *caller);

/* Answers -EBUSY to callers that have waited longer than `milliseconds`. */
void replica_expire(struct replica *replica, uint64_t milliseconds);

/* Events. The post functions queue one; any thread. replica_run() takes the writer role if it is
 * free and works off everything that is queued; whoever posts calls it once after a bunch of posts.
 */
void replica_post_configuration(struct replica *replica, const struct member *members,
                                size_t member_count, const struct member *joined,
                                size_t joined_count);
void replica_post_message(struct replica *replica, struct member sender, struct buffer *message);
void replica_post_quorum(struct replica *replica, bool quorate);
void replica_post_send_failed(struct replica *replica, enum send_kind kind, uint64_t count);
void replica_post_connected(struct replica *replica, struct member self); /* (again): mode START */
void replica_post_disconnected(struct replica *replica);
void replica_post_verify(struct replica *replica);

/* Whether it makes sense to join the group: not while the database takes no writes, since each join
 * makes the whole cluster synchronise. Tries to write if need be. Any thread that may be the
 * writer.
 */
bool replica_is_ready(struct replica *replica);
void replica_run(struct replica *replica);

/* Waits until nobody has the writer role and nothing is queued; for the stop and for tests. */
void replica_settle(struct replica *replica);

#endif
