/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What carries messages to the members of a process group: corosync, a loopback, a simulator, a
 * recording. */
#ifndef PMXCFS_CLUSTER_TRANSPORT_H
#define PMXCFS_CLUSTER_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/buffer.h"

/* A process in a group. Its pid tells a restart from the process before. */
struct member {
    uint32_t node;
    uint32_t pid;
};

static inline bool same_member(const struct member *a, const struct member *b)
{
    return a->node == b->node && a->pid == b->pid;
}

/* A message is a buffer of exactly its bytes, whole, with its header. */
static inline uint32_t message_size(const struct buffer *message)
{
    return message->capacity;
}

/* What a message that cannot be sent means. */
enum send_kind {
    SEND_NORMAL, /* a caller waits for its count: wake it with an error */
    SEND_SYNC,   /* SYNC_START, STATE, UPDATE_COMPLETE, VERIFY, resent values: leave the group */
    SEND_UPDATE, /* one entry (the commit will tell) or VERIFY_REQUEST: logged, no more */
    SEND_CONFIRMATION, /* what others have asked for is to be confirmed again */
};

struct transport {
    /* Multicasts one whole message in agreed order, after all that were given before. Takes a
     * reference of its own. Never blocks: what cannot be sent at once is queued and sent by the
     * transport's own thread; a message that turns out to be unsendable is reported to the group's
     * executor as an event (kind, count). 0, or -EBUSY if there is no connection, or -ENOBUFS if
     * the queue is full. Any thread; numbering and multicast are made one step by the caller. */
    int (*multicast)(struct transport *transport, struct buffer *message, enum send_kind kind,
                     uint64_t count);

    /* Leaves the group; the transport joins again by itself, not sooner than 6 s after the last
     * join, unless `stay_out`. */
    void (*leave)(struct transport *transport, int stay_out);
};

#endif
