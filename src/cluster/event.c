/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a process group tells one of its members: making and freeing events. */
#include "cluster/event.h"

#include <string.h>

static struct event *make(enum event_type type, size_t members)
{
    struct event *event = g_malloc0(sizeof(*event) + members * sizeof(struct member));

    event->type = type;
    return event;
}

struct event *event_new(enum event_type type)
{
    return make(type, 0);
}

struct event *event_connected(struct member self)
{
    struct event *event = make(EVENT_CONNECTED, 0);

    event->member = self;
    return event;
}

struct event *event_configuration(const struct member *members, size_t member_count,
                                  const struct member *joined, size_t joined_count)
{
    struct event *event = make(EVENT_CONFIGURATION, member_count + joined_count);

    event->member_count = member_count;
    event->joined_count = joined_count;
    if (member_count > 0)
        memcpy(event->members, members, member_count * sizeof(*members));
    if (joined_count > 0)
        memcpy(event->members + member_count, joined, joined_count * sizeof(*joined));
    return event;
}

struct event *event_message(struct member sender, struct buffer *message)
{
    struct event *event = make(EVENT_MESSAGE, 0);

    event->member = sender;
    event->message = buffer_ref(message);
    return event;
}

struct event *event_quorum(bool quorate)
{
    struct event *event = make(EVENT_QUORUM, 0);

    event->quorate = quorate;
    return event;
}

struct event *event_send_failed(enum send_kind kind, uint64_t count)
{
    struct event *event = make(EVENT_SEND_FAILED, 0);

    event->kind = kind;
    event->count = count;
    return event;
}

void event_free(struct event *event)
{
    if (!event)
        return;
    buffer_unref(event->message);
    g_free(event);
}

const struct member *event_joined(const struct event *event)
{
    return event->members + event->member_count;
}

bool event_has_member(const struct event *event, struct member member)
{
    for (size_t i = 0; i < event->member_count; i++) {
        if (same_member(&event->members[i], &member))
            return true;
    }
    return false;
}

void event_clear(GQueue *queue)
{
    g_queue_clear_full(queue, (GDestroyNotify)event_free);
}
