/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What nodes of tests are made of: a clock that stands still, and a group that keeps what is
 * multicast until somebody delivers it. */
#include "fixture.h"

#include <errno.h>

#include "base/util.h"
#include "cluster/wire.h"

static uint64_t milliseconds(struct clock_source *source)
{
    return atomic_load(&container_of(source, struct manual_clock, source)->milliseconds);
}

static uint32_t seconds(struct clock_source *source)
{
    return (uint32_t)atomic_load(&container_of(source, struct manual_clock, source)->seconds);
}

void manual_clock_init(struct manual_clock *clock, uint64_t now, uint32_t wall)
{
    clock->source = (struct clock_source){.milliseconds = milliseconds, .seconds = seconds};
    atomic_init(&clock->milliseconds, now);
    atomic_init(&clock->seconds, wall);
}

void sent_free(struct sent *sent)
{
    buffer_unref(sent->message);
    g_free(sent);
}

void sent_queue_init(struct sent_queue *queue)
{
    *queue = (struct sent_queue){.messages = G_QUEUE_INIT};
    pthread_mutex_init(&queue->lock, NULL);
}

void sent_queue_clear(struct sent_queue *queue)
{
    struct sent *sent;

    while ((sent = sent_queue_take(queue)))
        sent_free(sent);
}

void sent_queue_destroy(struct sent_queue *queue)
{
    sent_queue_clear(queue);
    pthread_mutex_destroy(&queue->lock);
}

static uint64_t update_bytes(const struct sent *sent)
{
    const struct buffer *message = sent->message;

    return message_size(message) >= 2 && get_le16(message->data) == MESSAGE_UPDATE
               ? message_size(message)
               : 0;
}

void sent_queue_add(struct sent_queue *queue, struct member sender, struct buffer *message)
{
    struct sent *sent = g_new(struct sent, 1);

    *sent = (struct sent){sender, buffer_ref(message)};
    pthread_mutex_lock(&queue->lock);
    g_queue_push_tail(&queue->messages, sent);
    queue->total++;
    queue->update_bytes += update_bytes(sent);
    queue->update_bytes_max = MAX(queue->update_bytes_max, queue->update_bytes);
    pthread_mutex_unlock(&queue->lock);
}

struct sent *sent_queue_take(struct sent_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    struct sent *sent = g_queue_pop_head(&queue->messages);
    if (sent)
        queue->update_bytes -= update_bytes(sent);
    pthread_mutex_unlock(&queue->lock);
    return sent;
}

static int multicast(struct transport *transport, struct buffer *message, enum send_kind kind,
                     uint64_t count)
{
    struct test_transport *own = container_of(transport, struct test_transport, transport);

    (void)kind;
    (void)count;
    if (!own->joined)
        return -EBUSY;
    if (own->refuse)
        return own->refuse;
    if (own->room && own->queue->messages.length >= own->room)
        return -ENOBUFS;
    sent_queue_add(own->queue, *own->self, message);
    return 0;
}

static void leave(struct transport *transport, int stay_out)
{
    struct test_transport *own = container_of(transport, struct test_transport, transport);

    own->leaving = true;
    own->stays_out = stay_out;
    own->leaves++;
}

void test_transport_init(struct test_transport *transport, struct sent_queue *queue,
                         const struct member *self)
{
    *transport =
        (struct test_transport){.transport = {multicast, leave}, .queue = queue, .self = self};
}
