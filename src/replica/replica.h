/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The one owner of the replicated state: events in, changes applied, stored, published, callers
 * answered. */
#ifndef PMXCFS_REPLICA_REPLICA_H
#define PMXCFS_REPLICA_REPLICA_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "cluster/event.h"
#include "cluster/transport.h"
#include "core/change.h"
#include "core/draft.h"
#include "core/state.h"
#include "replica/caller.h"
#include "replica/counters.h"
#include "replica/options.h"
#include "replica/refusals.h"
#include "replica/view.h"

struct replica;
struct store;

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
void replica_get_status(struct replica *replica, struct replica_status *status);

/* The name that a host without a cluster had, as far as its guests tell: all are under that one.
 * g_free() it; NULL: nothing tells of another name than `name`. */
char *replica_old_name(struct replica *replica, const char *name);

/* The members, in order of their node ids; g_array_unref() it. Any thread. */
GArray *replica_members(struct replica *replica);

/* The last checksum of the whole state. Any thread. */
void replica_get_checksum(struct replica *replica, struct replica_checksum *checksum);

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
 * (not joined, or too much waits already); 0: it can. It is counted as a refusal of a change of
 * `path`. Any thread. */
int replica_refusal(struct replica *replica, const char *path);

/* True if that would be 0. Any thread. */
bool replica_takes_changes(struct replica *replica);

/* Logs that a file would pass its largest size, for a caller that refuses that by itself since the
 * size does not fit a change. Any thread. */
void replica_note_too_large(struct replica *replica, const char *path);

/* Asks for a change. Any thread; never waits for the group or (unless this thread becomes the
 * writer) the disk. */
void replica_change(struct replica *replica, const struct change *change, struct caller *caller);

/* Asks for the lock at `path`: utimens with mtime 0. An expired lock is unlocked. */
void replica_request_unlock(struct replica *replica, const char *path, struct caller *caller);

/* Takes a caller back that nobody has answered yet: true, and the caller is the asker's again. The
 * change may still be made, unless it was held back until now. */
bool replica_cancel(struct replica *replica, struct caller *caller);

/* Answers -EBUSY to callers that have waited longer than `milliseconds`; what was held back for
 * them is never sent. */
void replica_expire(struct replica *replica, uint64_t milliseconds);

/* How the group reaches the replica; lives as long as that. Not ready while the database takes no
 * writes, since each join makes the whole cluster synchronise: tries to write if need be. */
struct group_consumer *replica_consumer(struct replica *replica);

/* Queues an event, which it takes over. Any thread. */
void replica_post(struct replica *replica, struct event *event);

/* Takes the writer role if it is free and works off everything that is queued, in batches; whoever
 * posts calls it once after a batch of posts. */
void replica_run(struct replica *replica);

/* Waits until nobody has the writer role and nothing is queued; for the stop and for tests. */
void replica_settle(struct replica *replica);

#endif
