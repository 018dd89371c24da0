/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The status group: carries out what its state machine decides, and multicasts what is set here. */
#include "status/status_group.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <syslog.h>

#include "base/log.h"
#include "base/rate.h"
#include "cluster/wire.h"

#define SUBTYPE_UPDATE 1u
#define SUBTYPE_LOG 3u
#define KEY_FIELD 256u /* bytes of an update's key, NUL-ended */

/* Foreign messages that make no sense are logged, but not without end. */
#define MALFORMED_PER_MINUTE 20u

struct status_group {
    struct status *status;
    struct transport *transport; /* NULL: local mode */
    struct clock_source *clock;
    struct machine *machine;   /* the event thread's, but for machine_number() */
    struct rate_limit limit;   /* the event thread's */
    pthread_mutex_t send_lock; /* storing, numbering and multicasting are one step under it */
    atomic_int mode;           /* the machine's, for all threads */
    atomic_bool unsent;        /* own values could not be sent: again, once sending works */
};

struct status_group *status_group_new(struct status *status, struct transport *transport,
                                      struct clock_source *clock, struct member self)
{
    struct status_group *group = g_new0(struct status_group, 1);

    group->status = status;
    group->transport = transport;
    group->clock = clock;
    group->machine = machine_new(GROUP_STATUS, self);
    group->limit.per_minute = MALFORMED_PER_MINUTE;
    pthread_mutex_init(&group->send_lock, NULL);
    atomic_init(&group->mode, MODE_START);
    atomic_init(&group->unsent, false);
    if (self.node)
        status_set_own_id(status, self.node);
    return group;
}

void status_group_free(struct status_group *group)
{
    if (!group)
        return;
    machine_free(group->machine);
    pthread_mutex_destroy(&group->send_lock);
    g_free(group);
}

enum machine_mode status_group_mode(const struct status_group *group)
{
    return (enum machine_mode)atomic_load(&group->mode);
}

/* Sending */

static bool can_send(struct status_group *group)
{
    enum machine_mode mode = status_group_mode(group);

    return group->transport && (mode == MODE_START_SYNC || mode == MODE_SYNCED);
}

/* Numbers and multicasts a NORMAL message, if there is a group. The caller holds the send lock. */
static void send_normal(struct status_group *group, uint16_t subtype, const uint8_t *body,
                        size_t size)
{
    if (!can_send(group))
        return;
    struct buffer *message = wire_build_normal(subtype, STATUS_PROTOCOL, 0, 0, body, size);
    uint64_t count = machine_number(group->machine, message, group->clock->seconds(group->clock));
    int error = group->transport->multicast(group->transport, message, SEND_NORMAL, count);
    buffer_unref(message);
    if (!error)
        return;
    if (!atomic_exchange(&group->unsent, true))
        log_warning("status message could not be sent: %s", g_strerror(-error));
}

/* The caller holds the send lock. */
static void send_value(struct status_group *group, const char *name, const void *value, size_t size)
{
    g_autofree uint8_t *body = g_malloc0(KEY_FIELD + size);

    g_strlcpy((char *)body, name, KEY_FIELD);
    if (size > 0)
        memcpy(body + KEY_FIELD, value, size);
    send_normal(group, SUBTYPE_UPDATE, body, KEY_FIELD + size);
}

/* Sends an own value as it is now, so that it never follows a newer one. */
static void resend_value(struct status_group *group, const char *name)
{
    pthread_mutex_lock(&group->send_lock);
    struct buffer *value = status_own_value(group->status, name);
    if (value)
        send_value(group, name, value->data, value->capacity);
    buffer_unref(value);
    pthread_mutex_unlock(&group->send_lock);
}

static void resend_values(struct status_group *group, bool with_plain)
{
    atomic_store(&group->unsent, false);
    if (with_plain) {
        g_autoptr(GPtrArray) names = status_own_names(group->status);
        for (guint i = 0; i < names->len && !atomic_load(&group->unsent); i++)
            resend_value(group, g_ptr_array_index(names, i));
    }
    resend_value(group, "nodeip");
}

int status_group_set(struct status_group *group, const char *name, const void *value, size_t size)
{
    pthread_mutex_lock(&group->send_lock);
    int error = status_set_own(group->status, name, value, size);
    if (!error)
        send_value(group, name, value, size);
    pthread_mutex_unlock(&group->send_lock);
    return error;
}

void status_group_log(struct status_group *group, uint8_t priority, const char *ident,
                      const char *tag, const char *message, uint32_t pid)
{
    pthread_mutex_lock(&group->send_lock);
    struct buffer *entry = status_log(group->status, priority, ident, tag, message, pid);
    send_normal(group, SUBTYPE_LOG, entry->data, entry->capacity);
    buffer_unref(entry);
    pthread_mutex_unlock(&group->send_lock);
}

/* Foreign messages */

static void complain(struct status_group *group, struct member sender, const char *what)
{
    uint32_t held_back;

    if (rate_limit_pass(&group->limit, &held_back))
        log_warning("ignored status message from %u/%u: %s (%u more not logged)", sender.node,
                    sender.pid, what, held_back);
}

static void take_update(struct status_group *group, struct member sender,
                        const struct header *header)
{
    if (header->body_size < KEY_FIELD || !memchr(header->body, 0, KEY_FIELD)) {
        complain(group, sender, "update without a key");
        return;
    }
    const char *name = (const char *)header->body;
    int error = status_set_remote(group->status, sender.node, name, header->body + KEY_FIELD,
                                  header->body_size - KEY_FIELD);
    if (error == -ENOENT)
        log_debug("value of node %u, which is not in the node list, ignored", sender.node);
    else if (error)
        complain(group, sender, error == -EFBIG ? "value too large" : "malformed value");
}

static void apply_message(struct status_group *group, const struct action *action)
{
    struct header header;

    if (action->own) {
        if (atomic_load(&group->unsent))
            resend_values(group, true);
        return;
    }
    if (wire_parse_header(action->message->data, message_size(action->message), &header) < 0)
        return; /* the machine has looked at it before */
    if (header.subtype == SUBTYPE_UPDATE)
        take_update(group, action->sender, &header);
    else if (header.subtype != SUBTYPE_LOG)
        complain(group, action->sender, "unknown subtype");
    else if (status_log_remote(group->status, header.body, header.body_size) < 0)
        complain(group, action->sender, "malformed log entry");
}

static void merge(struct status_group *group, const struct action *action)
{
    g_autoptr(GArray) buffers = g_array_new(FALSE, FALSE, sizeof(struct cluster_log_buffer));

    for (guint i = 0; i < action->states->len; i++) {
        const struct buffer *state = g_ptr_array_index(action->states, i);
        if (message_size(state) < SYNC_HEADER_SIZE)
            continue;
        struct cluster_log_buffer buffer = {.data = state->data + SYNC_HEADER_SIZE,
                                            .size = message_size(state) - SYNC_HEADER_SIZE};
        g_array_append_val(buffers, buffer);
    }
    size_t malformed = status_log_merge(
        group->status, (const struct cluster_log_buffer *)buffers->data, buffers->len);
    if (malformed > 0)
        log_error("%zu malformed cluster log%s left out", malformed, malformed == 1 ? "" : "s");
}

/* Actions */

static void multicast(struct status_group *group, struct buffer *message, enum send_kind kind)
{
    int error = group->transport ? group->transport->multicast(group->transport, message, kind, 0)
                                 : -ENOTCONN;

    if (error && kind == SEND_SYNC)
        machine_fail(group->machine, "a message of the synchronisation could not be sent");
}

static void send_state(struct status_group *group, const struct epoch *epoch)
{
    struct buffer *buffer = status_log_buffer(group->status);
    struct buffer *message =
        wire_build_sync(MESSAGE_STATE, STATUS_PROTOCOL, epoch, group->clock->seconds(group->clock),
                        buffer->data, buffer->capacity);

    multicast(group, message, SEND_SYNC);
    buffer_unref(message);
    buffer_unref(buffer);
}

static void write_log(int priority, const char *text)
{
    if (priority <= LOG_ERR)
        log_error("status group: %s", text);
    else if (priority == LOG_WARNING)
        log_warning("status group: %s", text);
    else if (priority < LOG_DEBUG)
        log_info("status group: %s", text);
    else
        log_debug("status group: %s", text);
}

static void carry_out(struct status_group *group, const struct action *action)
{
    switch (action->type) {
    case ACTION_SEND:
        multicast(group, action->message, action->kind);
        break;
    case ACTION_SEND_STATE:
        send_state(group, &action->epoch);
        break;
    case ACTION_APPLY:
        apply_message(group, action);
        break;
    case ACTION_MERGE:
        merge(group, action);
        break;
    case ACTION_SYNCED:
        if (!action->alone || action->became)
            resend_values(group, !action->alone);
        break;
    case ACTION_LEAVE:
    case ACTION_STAY_OUT:
        if (group->transport)
            group->transport->leave(group->transport, action->type == ACTION_STAY_OUT);
        break;
    case ACTION_LOG:
        write_log(action->priority, action->text);
        break;
    case ACTION_SEND_UPDATES: /* the configuration group's alone */
    case ACTION_COMMIT:
    case ACTION_CHECKSUM:
        break;
    }
}

/* After each event: shows the mode to other threads, then does all that the machine asks for. */
static void run(struct status_group *group)
{
    struct action action;

    atomic_store(&group->mode, (int)machine_mode(group->machine));
    while (machine_next(group->machine, &action)) {
        carry_out(group, &action);
        atomic_store(&group->mode, (int)machine_mode(group->machine));
    }
}

/* Events */

void status_group_restart(struct status_group *group, struct member self)
{
    status_set_own_id(group->status, self.node);
    machine_restart(group->machine, self);
    run(group);
}

void status_group_disconnected(struct status_group *group)
{
    atomic_store(&group->mode, MODE_START);
    status_set_online(group->status, NULL, 0);
}

void status_group_configuration(struct status_group *group, const struct member *members,
                                size_t member_count, const struct member *joined,
                                size_t joined_count)
{
    g_autofree uint32_t *nodes = g_new(uint32_t, member_count + 1);

    for (size_t i = 0; i < member_count; i++)
        nodes[i] = members[i].node;
    status_set_online(group->status, nodes, member_count);
    machine_configuration(group->machine, members, member_count, joined, joined_count,
                          group->clock->seconds(group->clock));
    run(group);
}

void status_group_deliver(struct status_group *group, struct member sender, struct buffer *message)
{
    machine_deliver(group->machine, sender, message);
    run(group);
}

void status_group_send_failed(struct status_group *group, enum send_kind kind)
{
    if (kind == SEND_NORMAL)
        atomic_store(&group->unsent, true);
    if (kind != SEND_SYNC)
        return;
    machine_fail(group->machine, "a message of the synchronisation could not be sent");
    run(group);
}
