/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files that talk to corosync share among themselves. Each calls only those listed above
 * its own; the thread is in corosync.c, which calls them all. */
#ifndef PMXCFS_CLUSTER_COROSYNC_CLIENT_H
#define PMXCFS_CLUSTER_COROSYNC_CLIENT_H

#include <corosync/cmap.h>
#include <corosync/cpg.h>
#include <corosync/quorum.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/lock.h"
#include "cluster/corosync_types.h"
#include "cluster/event.h"
#include "cluster/machine_types.h"
#include "cluster/nodes.h"
#include "cluster/transport.h"
#include "core/buffer.h"

/* Where this node stands with a group. */
enum membership {
    MEMBERSHIP_OUT,     /* not joined; will be, unless stay_out */
    MEMBERSHIP_JOINED,  /* corosync took the join; no configuration with this node yet */
    MEMBERSHIP_MEMBER,  /* messages can be sent */
    MEMBERSHIP_LEAVE,   /* is to be left */
    MEMBERSHIP_LEAVING, /* corosync took the leave; no configuration without this node yet */
};

/* A message that waits to be sent. */
struct outgoing {
    struct buffer *message; /* a reference */
    enum send_kind kind;
    uint64_t count;
    uint64_t since; /* milliseconds */
};

/* A connection to libcpg. */
struct group_handle {
    bool open;
    bool spent; /* it was used to leave: it is of no use for another join */
    cpg_handle_t handle;
    int fd;                   /* -1: not open */
    int socket_room;          /* bytes of the IPC socket's send buffer that may be used */
    uint32_t size_atomic_max; /* longer messages are sent in pieces, which may block */
};

/* What waits until corosync takes it. */
struct group_outbox {
    GQueue queue; /* struct outgoing */
    size_t bytes;
    uint64_t progress; /* when a message was last sent */
    uint64_t send_at;  /* when to try again */
    uint64_t pause;    /* milliseconds between tries */
};

struct group {
    struct transport transport;
    struct corosync *corosync;
    struct group_consumer *consumer;
    struct cpg_name name; /* the NUL counts in its length */

    /* The cluster thread's own. */
    struct group_handle cpg;
    struct member self;
    bool announced;     /* connected() was called for the join to come, or made */
    uint64_t joined_at; /* milliseconds; the last join */
    uint64_t act_at;    /* when to try to join or leave next */
    uint64_t left_at;   /* when corosync took the leave */
    GQueue batch;       /* struct event: what cpg told, in order, until it is handed on */
    size_t batch_bytes; /* of its messages */

    /* Under the lock, which is held for no call that waits for corosync. The handle is used for
     * sending by whoever holds it in MEMBERSHIP_MEMBER. */
    struct lock lock;
    enum membership membership;
    bool stay_out;
    bool stopped; /* nothing is sent any more */
    struct group_outbox outbox;

    struct group_metrics metrics;
};

enum { GROUP_COUNT = 2 };

struct quorum_connection {
    bool open;
    quorum_handle_t handle;
    int fd;
    bool quorate;
    bool changed; /* `quorate` is news */
};

struct cmap_connection {
    bool open;
    cmap_handle_t handle;
    int fd;
    bool changed; /* the node list is to be read */
};

struct corosync {
    struct corosync_options options;
    struct node_listener *node_listener;
    struct group groups[GROUP_COUNT]; /* by enum machine_group */

    pthread_t thread;
    bool started;
    atomic_bool stopping;
    atomic_bool verify_wanted; /* now */
    int wake;                  /* eventfd */

    struct lock calls; /* guards what follows; not held while anybody is called */
    pthread_cond_t changed;
    bool calling;   /* the consumers and the listener of nodes: they are in use */
    bool abandoned; /* nobody may be called any more */
    bool ended;     /* the thread looks at nothing any more */

    /* The cluster thread's own. */
    bool connected;
    bool absence_logged;
    uint64_t connect_at;
    uint64_t verify_at;
    struct quorum_connection quorum;
    struct cmap_connection cmap;
};

/* corosync_client.c */
void corosync_wake(struct corosync *corosync);

/* Begins and ends a row of calls of consumers; false: there must be none. */
bool corosync_begin_calls(struct corosync *corosync);
void corosync_end_calls(struct corosync *corosync);

/* The functions below: cluster thread only. Those that give an int: 0, or a negative errno, which
 * means that the connection to corosync is of no more use. */

/* cpg.c */
void group_init(struct group *group, struct corosync *corosync, enum machine_group which);
void group_clear(struct group *group);
int group_open(struct group *group);
void group_close(struct group *group);
int group_manage(struct group *group);            /* joins, leaves */
int group_gather(struct group *group, int limit); /* takes a batch of what cpg has to tell */
void group_hand_on(struct group *group);          /* gives the consumer the batch */
void group_verify(struct group *group);           /* tells the consumer that it is time */
int group_flush(struct group *group);             /* sends what waits */
uint64_t group_deadline(struct group *group);     /* when to come back at the latest */
void group_stop_sending(struct group *group);     /* any thread */
void group_leave_for_good(struct group *group);   /* leaves for good; waits a little for it */

/* quorum.c */
int quorum_open(struct corosync *corosync);
void quorum_close(struct corosync *corosync);
int quorum_poll(struct corosync *corosync); /* updates `quorate`, if there is anything to read */

/* cmap.c */
int nodes_open(struct corosync *corosync);
void nodes_close(struct corosync *corosync);
int nodes_poll(struct corosync *corosync);
int nodes_tell(struct corosync *corosync); /* reads the node list, tells the listener */

#endif
