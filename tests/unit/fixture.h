/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What nodes of tests are made of: a clock that stands still, and a group that keeps what is
 * multicast until somebody delivers it. */
#ifndef PMXCFS_TESTS_FIXTURE_H
#define PMXCFS_TESTS_FIXTURE_H

#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "cluster/transport.h"
#include "core/buffer.h"

/* Any thread may set it. */
struct manual_clock {
    struct clock_source source;
    atomic_uint_fast64_t milliseconds;
    atomic_uint_fast32_t seconds;
};

void manual_clock_init(struct manual_clock *clock, uint64_t milliseconds, uint32_t seconds);

/* A message that was multicast; sent_free() it. */
struct sent {
    struct member sender;
    struct buffer *message;
};

void sent_free(struct sent *sent);

/* What was multicast, by however many nodes and threads, in one order. */
struct sent_queue {
    pthread_mutex_t lock;
    GQueue messages;           /* struct sent, owned */
    unsigned total;            /* that ever were in it */
    uint64_t update_bytes;     /* of UPDATE messages in it ... */
    uint64_t update_bytes_max; /* ... and how many that ever were */
};

void sent_queue_init(struct sent_queue *queue);
void sent_queue_clear(struct sent_queue *queue); /* is empty then */
void sent_queue_destroy(struct sent_queue *queue);
void sent_queue_add(struct sent_queue *queue, struct member sender, struct buffer *message);
struct sent *sent_queue_take(struct sent_queue *queue); /* the first; NULL: it is empty */

/* A node's way into the queue. */
struct test_transport {
    struct transport transport;
    struct sent_queue *queue;
    const struct member *self; /* borrowed */
    bool joined;               /* false: multicast() gives -EBUSY */
    int refuse;                /* what multicast() gives instead of sending; 0: it sends */
    unsigned room;             /* messages that the queue takes; 0: any number */
    bool leaving;              /* the node wants to leave; for whoever lets it to take back */
    bool stays_out;            /* for good */
    unsigned leaves;           /* how often it wanted to */
};

void test_transport_init(struct test_transport *transport, struct sent_queue *queue,
                         const struct member *self);

#endif
