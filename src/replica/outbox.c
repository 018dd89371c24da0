/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What this node has to send in its own name: changes, numbered, and held back while it is not in
 * sync. */
#include "replica/outbox.h"

#include <assert.h>
#include <errno.h>

#include "cluster/wire.h"

/* A numbered message that waits until this node is in sync. */
struct held {
    struct buffer *message; /* owned */
    uint64_t count;
    uint64_t caller; /* count of the message whose caller wants it; 0: nobody waits for it */
};

void outbox_init(struct outbox *outbox, struct waiters *waiters, struct clock_source *clock)
{
    *outbox = (struct outbox){.waiters = waiters, .clock = clock};
    lock_init(&outbox->lock, LOCK_RANK_OUTBOX);
    g_queue_init(&outbox->held);
}

void outbox_destroy(struct outbox *outbox)
{
    assert(outbox->held.length == 0);
    lock_destroy(&outbox->lock);
}

static void held_free(struct held *held)
{
    buffer_unref(held->message);
    g_free(held);
}

/* --- With the lock held --- */

/* The first of what is held, which is the caller's; NULL: nothing is. */
static struct held *pop_held(struct outbox *outbox)
{
    struct held *held = g_queue_pop_head(&outbox->held);

    if (held)
        outbox->held_bytes -= message_size(held->message);
    return held;
}

/* `time`: seconds; 0: now. */
static uint64_t number(struct outbox *outbox, struct buffer *message, uint32_t time)
{
    wire_number(message, ++outbox->count, time ? time : outbox->clock->seconds(outbox->clock));
    return outbox->count;
}

static int multicast(struct outbox *outbox, struct buffer *message, uint64_t count)
{
    return outbox->transport->multicast(outbox->transport, message, SEND_NORMAL, count);
}

static int send_or_hold(struct outbox *outbox, struct buffer *message, uint64_t count,
                        uint64_t caller)
{
    assert(!outbox->sending || outbox->held.length == 0);
    if (outbox->sending)
        return multicast(outbox, message, count);
    struct held *held = g_new(struct held, 1);
    *held = (struct held){buffer_ref(message), count, caller};
    g_queue_push_tail(&outbox->held, held);
    outbox->held_bytes += message_size(message);
    return 0;
}

/* Numbers go on: those of what is dropped stay unused. */
static void drop_answered(struct outbox *outbox)
{
    for (GList *at = outbox->held.head, *next; at; at = next) {
        struct held *held = at->data;
        next = at->next;
        if (held->caller == 0 || waiters_waits(outbox->waiters, held->caller))
            continue;
        outbox->held_bytes -= message_size(held->message);
        held_free(held);
        g_queue_delete_link(&outbox->held, at);
    }
}

/* --- Sending --- */

/* A request that cannot be sent has the same effect as one that finds the lock young. */
static void send_request(struct outbox *outbox, struct buffer *message)
{
    uint64_t count = number(outbox, message, 0);

    send_or_hold(outbox, message, count, count + 1);
}

void outbox_send(struct outbox *outbox, const struct change *request, const struct change *change,
                 struct caller *caller)
{
    struct buffer *message;
    struct buffer *before = NULL;
    int error = wire_build_change(change, &message);

    if (!error && request && (error = wire_build_change(request, &before)))
        buffer_unref(message);
    if (error) {
        if (caller)
            caller->answer(caller, error);
        return;
    }
    lock_take(&outbox->lock);
    if (before)
        send_request(outbox, before);
    uint64_t count = number(outbox, message, change->time);
    if (caller)
        waiters_add(outbox->waiters, caller, count, outbox->clock->milliseconds(outbox->clock));
    error = send_or_hold(outbox, message, count, caller ? count : 0);
    lock_give(&outbox->lock);
    buffer_unref(message);
    if (before)
        buffer_unref(before);
    if (error)
        waiters_answer(outbox->waiters, count, error);
}

void outbox_send_marker(struct outbox *outbox)
{
    if (!waiters_want_marker(outbox->waiters))
        return;
    lock_take(&outbox->lock);
    uint64_t count = ++outbox->count;
    struct buffer *message =
        wire_build_confirm_request(count, outbox->clock->seconds(outbox->clock));
    waiters_start_round(outbox->waiters, count);
    int error = send_or_hold(outbox, message, count, count);
    lock_give(&outbox->lock);
    buffer_unref(message);
    if (error) /* whatever it is: the change itself is made, here and by whoever got it */
        waiters_answer(outbox->waiters, count, -EBUSY);
}

/* --- Holding back --- */

void outbox_hold(struct outbox *outbox)
{
    LOCKED(&outbox->lock);
    outbox->sending = false;
}

/* What was taken out of the queue is not sent: who waits for it gets EBUSY. */
static void give_up(struct outbox *outbox, GQueue *dropped)
{
    struct held *held;

    while ((held = g_queue_pop_head(dropped))) {
        waiters_answer(outbox->waiters, held->count, -EBUSY);
        held_free(held);
    }
}

void outbox_release(struct outbox *outbox)
{
    GQueue failed = G_QUEUE_INIT;
    struct held *held;

    lock_take(&outbox->lock);
    drop_answered(outbox);
    while ((held = pop_held(outbox))) {
        if (multicast(outbox, held->message, held->count))
            g_queue_push_tail(&failed, held);
        else
            held_free(held);
    }
    outbox->sending = true;
    lock_give(&outbox->lock);
    give_up(outbox, &failed);
}

void outbox_drop(struct outbox *outbox)
{
    lock_take(&outbox->lock);
    GQueue dropped = outbox->held;
    g_queue_init(&outbox->held);
    outbox->held_bytes = 0;
    outbox->sending = false;
    lock_give(&outbox->lock);
    give_up(outbox, &dropped);
}

void outbox_drop_answered(struct outbox *outbox)
{
    LOCKED(&outbox->lock);
    drop_answered(outbox);
}

size_t outbox_held(struct outbox *outbox)
{
    LOCKED(&outbox->lock);
    return outbox->held.length;
}

bool outbox_is_full(struct outbox *outbox)
{
    LOCKED(&outbox->lock);
    return outbox->held_bytes >= OUTBOX_HELD_BYTES_MAX;
}
