/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Corosync: one thread that owns all connections to it, and the transports of both groups. */
#ifndef PMXCFS_CLUSTER_COROSYNC_H
#define PMXCFS_CLUSTER_COROSYNC_H

#include <stddef.h>
#include <stdint.h>

#include "cluster/corosync_types.h"
#include "cluster/event.h"
#include "cluster/machine.h"
#include "cluster/nodes.h"
#include "cluster/transport.h"

/* Rules: doc/cluster.md. Corosync may be absent, die, come back and hang at any time: the thread
 * connects again for ever, and nobody but this thread ever waits for corosync. */
struct corosync;

/* Makes the transports; nothing happens until corosync_start(). Never NULL. */
struct corosync *corosync_new(const struct corosync_options *options);

/* The transport of a group; lives as long as the corosync. Its multicast() gives -EBUSY while this
 * node is no member of the group. After leave() with `stay_out` the group is joined again only when
 * corosync itself was away in between. */
struct transport *corosync_transport(struct corosync *corosync, enum machine_group group);

const struct group_metrics *corosync_metrics(const struct corosync *corosync,
                                             enum machine_group group);

/* Messages of a group that wait for corosync; none in local mode (`corosync` NULL). Any thread. */
size_t corosync_outbox(struct corosync *corosync, enum machine_group group);

/* Has the configuration group's consumer asked for a verification soon. Any thread. */
void corosync_verify(struct corosync *corosync);

/* Starts the thread that talks to corosync, which need not be there. What is given, all borrowed,
 * must live until corosync_stop() gave 0; all of it is called by that thread, one call at a time.
 * Events come in the order in which corosync told them; EVENT_QUORUM is among those of the
 * configuration group, where it belongs between its messages. 0 or a negative errno. */
int corosync_start(struct corosync *corosync, struct group_consumer *configuration,
                   struct group_consumer *status, struct node_listener *nodes);

/* Leaves both groups and ends the thread. 0: nobody is called any more; a corosync that hangs has
 * its thread abandoned. -EBUSY: the thread is in a call of a consumer that does not return; nothing
 * that it uses may be freed. Transports give -EBUSY from the beginning of this call. Once, from one
 * thread, also without a start. */
int corosync_stop(struct corosync *corosync, uint64_t milliseconds);

/* Frees all; an abandoned thread keeps what it may still look at. NULL is allowed. */
void corosync_free(struct corosync *corosync);

#endif
