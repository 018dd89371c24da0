/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a process group tells one of its members, and who is told. */
#ifndef PMXCFS_CLUSTER_EVENT_H
#define PMXCFS_CLUSTER_EVENT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/transport.h"

enum event_type {
    EVENT_CONNECTED,     /* as `member`, about to join: everything of before is over. Comes before
                            every join, also after a leave */
    EVENT_DISCONNECTED,  /* corosync is gone, and with it quorum */
    EVENT_CONFIGURATION, /* the members, and who of them joined */
    EVENT_MESSAGE,       /* `message` of `member` was delivered */
    EVENT_QUORUM,        /* won or lost; in the order of what is delivered */
    EVENT_SEND_FAILED,   /* a message that multicast() took was not sent */
    EVENT_VERIFY,        /* once an hour: time for a verification */
    EVENT_PROBE,         /* a consumer's own: can it take part again? */
};

/* One event, made once by whoever hears of it and handed on until somebody has worked on it. */
struct event {
    enum event_type type;
    struct member member;   /* CONNECTED: this node; MESSAGE: the sender */
    struct buffer *message; /* MESSAGE: whole; a reference */
    bool quorate;           /* QUORUM */
    enum send_kind kind;    /* SEND_FAILED */
    uint64_t count;         /* SEND_FAILED: what multicast() was given */
    size_t member_count;    /* CONFIGURATION: members[], then joined[] in the same array */
    size_t joined_count;
    struct member members[];
};

/* Each gives a new event, the caller's until it is handed on. Never NULL. */
struct event *event_new(enum event_type type); /* DISCONNECTED, VERIFY, PROBE */
struct event *event_connected(struct member self);
struct event *event_configuration(const struct member *members, size_t member_count,
                                  const struct member *joined, size_t joined_count);
struct event *event_message(struct member sender, struct buffer *message); /* a new reference */
struct event *event_quorum(bool quorate);
struct event *event_send_failed(enum send_kind kind, uint64_t count);
void event_free(struct event *event);

/* CONFIGURATION: those who joined, and whether a process is a member. */
const struct member *event_joined(const struct event *event);
bool event_has_member(const struct event *event, struct member member);

/* Empties a queue of events; each queue owns what is in it. */
void event_clear(GQueue *queue);

/* Who works on a group's events; embed it. Called by one thread at a time. */
struct group_consumer {
    /* Asked before a join: false puts it off for as long as one join is from the next. NULL: always
     * ready. */
    bool (*ready)(struct group_consumer *consumer);

    /* Takes all events out of `events`, in order. They are worked on before it returns, or by
     * another thread that is at it; waits for that one when too many are waiting. */
    void (*take)(struct group_consumer *consumer, GQueue *events);
};

#endif
