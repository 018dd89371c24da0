/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Cluster mode: ties the replica and the status to corosync's two process groups. */
#ifndef PMXCFS_GROUPS_H
#define PMXCFS_GROUPS_H

#include "cluster/corosync.h"
#include "replica/replica.h"
#include "status/status_group.h"

/* Embedded in its owner, who must not move it. Members are for groups.c. */
struct groups {
    struct replica *replica;
    struct status *status;
    struct status_group *status_group;
    struct group_consumer configuration_consumer;
    struct group_consumer status_consumer;
    struct corosync_listener listener;
    struct corosync *corosync;
};

/* Makes the transports, gives `replica` its own, and makes *status_group, the caller's to free
 * after groups_free(). Nothing happens until groups_start(). Times in milliseconds. */
void groups_init(struct groups *groups, struct replica *replica, struct status *status,
                 struct clock_source *clock, uint64_t rejoin_delay, uint64_t verify_interval,
                 struct status_group **status_group);

/* Starts the thread that talks to corosync, which need not be there. 0 or a negative errno. */
int groups_start(struct groups *groups);

/* Leaves both groups; takes that many milliseconds at most. 0: nobody calls replica and status any
 * more. -EBUSY: a thread is stuck in them, nothing of them may be freed. */
int groups_stop(struct groups *groups, uint64_t milliseconds);

/* After groups_stop() gave 0, or without groups_start(), when replica and status group are gone:
 * they hold the transports. */
void groups_free(struct groups *groups);

#endif
