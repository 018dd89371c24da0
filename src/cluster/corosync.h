/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Corosync: one thread that owns all connections to it, and the transports of both groups. */
#ifndef PMXCFS_CLUSTER_COROSYNC_H
#define PMXCFS_CLUSTER_COROSYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metrics.h"
#include "cluster/machine.h"
#include "cluster/transport.h"
#include "core/buffer.h"

/* Rules: doc/cluster.md. Corosync may be absent, die, come back and hang at any time: the thread
 * connects again for ever, and nobody but this thread ever waits for corosync. */
struct corosync;

/* Who carries out what a group's messages and members mean; embed it. Everything is called by the
 * cluster thread, one call at a time, in the order in which corosync told it. */
struct group_consumer {
    /* Asked before connected(): false puts the join off for as long as one join is from the next.
     * NULL: always ready. */
    bool (*ready)(struct group_consumer *consumer);

    /* Connected as this member, about to join: everything of before is over (machine_restart()).
     * Comes before every join, also after a leave. */
    void (*connected)(struct group_consumer *consumer, struct member self);

    /* Corosync is gone, and with it quorum; connected() comes when it is back. */
    void (*disconnected)(struct group_consumer *consumer);

    void (*configuration)(struct group_consumer *consumer, const struct member *members,
                          size_t member_count, const struct member *joined, size_t joined_count);

    /* A whole message; take a reference to keep it. */
    void (*message)(struct group_consumer *consumer, struct member sender, struct buffer *message);

    /* A message that multicast() took was not sent. */
    void (*send_failed)(struct group_consumer *consumer, enum send_kind kind, uint64_t count);

    /* Once an hour (NULL: never). */
    void (*verify)(struct group_consumer *consumer);

    /* Ends a bunch of the calls above: time to work on them (NULL: they did at once). */
    void (*run)(struct group_consumer *consumer);
};

/* A node of corosync's node list. */
struct corosync_node {
    uint32_t id;
    uint32_t votes;
    const char *name; /* borrowed */
};

/* Who is told what concerns neither group alone; embed it. Called as a group_consumer is. */
struct corosync_listener {
    /* Quorum is there or not. It is posted where it belongs between the messages of the
     * configuration group, whose run() comes after it. */
    void (*quorum)(struct corosync_listener *listener, bool quorate);

    /* The node list, at each connection and whenever it has changed. Entries without an id or name
     * are not in it. All is borrowed. */
    void (*nodes)(struct corosync_listener *listener, uint32_t own_id, const char *cluster_name,
                  uint64_t config_version, const struct corosync_node *nodes, size_t count);
};

struct corosync_options {
    uint64_t rejoin_delay;    /* milliseconds from one join of a group to the next, at least */
    uint64_t verify_interval; /* milliseconds */
    struct group_consumer *configuration;
    struct group_consumer *status;
    struct corosync_listener *listener;
};

/* Makes the transports; nothing happens until corosync_start(). What the options point to must live
 * until corosync_stop() gave 0 or -ETIMEDOUT. */
struct corosync *corosync_new(const struct corosync_options *options);

/* The transport of a group; lives as long as the corosync. Its multicast() gives -EBUSY while this
 * node is no member of the group. After leave() with `stay_out` the group is joined again only when
 * corosync itself was away in between. */
struct transport *corosync_transport(struct corosync *corosync, enum machine_group group);

/* What was counted of a group since the start. */
struct group_metrics {
    struct counter sent; /* messages that corosync took */
    struct counter sent_bytes;
    struct counter received; /* own ones among them */
    struct counter received_bytes;
    struct counter retries;  /* corosync took a message not now (TRY_AGAIN) */
    struct counter given_up; /* messages */
    struct counter joins;
};
const struct group_metrics *corosync_metrics(const struct corosync *corosync,
                                             enum machine_group group);

/* Messages of a group that wait for corosync. Any thread. */
size_t corosync_outbox(struct corosync *corosync, enum machine_group group);

/* Has the configuration group's consumer asked for a verification soon. Any thread. */
void corosync_verify(struct corosync *corosync);

/* Starts the thread. 0 or a negative errno. */
int corosync_start(struct corosync *corosync);

/* Leaves both groups and ends the thread. 0: it has ended. -ETIMEDOUT: corosync hangs and the
 * thread with it; it was abandoned, and will call nobody any more. -EBUSY: it is in a call of a
 * consumer that does not return; nothing that it uses may be freed. Transports give -EBUSY from the
 * beginning of this call. Once, from one thread. */
int corosync_stop(struct corosync *corosync, uint64_t milliseconds);

/* Frees all; an abandoned thread keeps what it may still look at. NULL is allowed. */
void corosync_free(struct corosync *corosync);

#endif
