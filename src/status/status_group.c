/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The status group: carries out what its state machine decides, and multicasts what is set here. */
#include "status/status_group.h"

#include <errno.h>
#include <string.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/rate.h"
#include "base/util.h"
#include "cluster/executor.h"
#include "cluster/wire.h"
#include "status/key_values.h"

#define SUBTYPE_UPDATE 1u
#define SUBTYPE_LOG 3u
#define KEY_FIELD 256u /* bytes of an update's key, NUL-ended */

/* Names of values that are to be sent again, beyond which those that could not be sent wait for the
 * next synchronisation. */
#define AGAIN_MAX 100000

/* Foreign messages that make no sense are logged, and that own ones cannot be sent, but not without
 * end. */
#define MALFORMED_PER_MINUTE 20u
#define UNSENT_PER_MINUTE 20u

struct status_group {
    struct status *status;
    struct executor executor; /* the event thread's, but for its mode and transport */
    struct group_consumer consumer;
    struct node_listener node_listener;
    struct rate_limit limit; /* the event thread's */

    struct lock send_lock; /* storing, numbering and multicasting are one step under it */
    uint64_t count;        /* of this process's NORMAL messages */
    atomic_bool unsent;    /* something could not be sent: again, once sending works */
    struct rate_limit unsent_limit;
    GTree *again; /* set of names of own values that are to be sent again, owned */
    bool holding; /* own state was sent, the merge is still to come */
    GQueue held;  /* struct held_log: logged meanwhile */
};

/* Stamped when the states are merged: with the clock set back this node does not know before what
 * stamp its last entry has with the others, who take anything that is not newer for known. */
struct held_log {
    char *ident, *tag, *message;
    uint32_t pid;
    uint8_t priority;
};

#define HELD_LOG_MAX 1000u /* beyond that they are stamped at once */

static struct status_group *group_of(struct executor *executor)
{
    return container_of(executor, struct status_group, executor);
}

enum machine_mode status_group_mode(const struct status_group *group)
{
    return (enum machine_mode)atomic_load(&group->executor.mode);
}

/* --- Sending --- */

static bool can_send(struct status_group *group)
{
    enum machine_mode mode = status_group_mode(group);

    return group->executor.transport && (mode == MODE_START_SYNC || mode == MODE_SYNCED);
}

/* The caller holds the send lock. */
static void note_unsent(struct status_group *group, int error)
{
    uint32_t held_back;

    if (!atomic_exchange(&group->unsent, true) && rate_limit_pass(&group->unsent_limit, &held_back))
        log_warning("status message could not be sent: %s (%u more such messages were held back)",
                    g_strerror(-error), held_back);
}

/* Numbers and multicasts a NORMAL message, if there is a group. The caller holds the send lock. */
static int send_normal(struct status_group *group, uint16_t subtype, const uint8_t *body,
                       size_t size)
{
    if (!can_send(group))
        return 0;
    struct transport *transport = group->executor.transport;
    uint64_t count = ++group->count;
    struct buffer *message = wire_build_normal(subtype, STATUS_PROTOCOL, count,
                                               executor_seconds(&group->executor), body, size);
    int error = transport->multicast(transport, message, SEND_NORMAL, count);
    buffer_unref(message);
    if (error)
        note_unsent(group, error);
    return error;
}

/* The caller holds the send lock. */
static int send_value(struct status_group *group, const char *name, const void *value, size_t size)
{
    g_autofree uint8_t *body = g_malloc0(KEY_FIELD + size);

    g_strlcpy((char *)body, name, KEY_FIELD);
    if (size > 0)
        memcpy(body + KEY_FIELD, value, size);
    return send_normal(group, SUBTYPE_UPDATE, body, KEY_FIELD + size);
}

/* --- Sending again --- */

/* In the order in which they are sent again: the daemon's own come last. */
enum own_value { OWN_PLAIN, OWN_RELEASE, OWN_ADDRESS };

static enum own_value own_value_of(const char *name)
{
    if (strcmp(name, "nodeip") == 0)
        return OWN_ADDRESS;
    return strcmp(name, RELEASE_NAME) == 0 ? OWN_RELEASE : OWN_PLAIN;
}

static gint compare_names(gconstpointer first, gconstpointer second, gpointer unused)
{
    int order = (int)own_value_of(first) - (int)own_value_of(second);

    (void)unused;
    return order ? order : strcmp(first, second);
}

/* The caller holds the send lock. */
static void want_again(struct status_group *group, const char *name)
{
    g_tree_insert(group->again, g_strdup(name), NULL);
}

/* Sends an own value as it is now, so that it never follows a newer one, and if it is only to be
 * deleted. The daemon's own are there or not known yet. The caller holds the send lock. */
static int send_present(struct status_group *group, const char *name)
{
    struct buffer *value = status_own_value(group->status, name);
    int error = 0;

    if (value)
        error = send_value(group, name, value->data, value->capacity);
    else if (own_value_of(name) == OWN_PLAIN)
        error = send_value(group, name, NULL, 0);
    buffer_unref(value);
    return error;
}

/* False: there is none any more, or it was not taken. Each is sent once, however often the
 * transport takes no more for now. */
static bool send_one_again(struct status_group *group)
{
    LOCKED(&group->send_lock);
    GTreeNode *first = g_tree_node_first(group->again);
    if (!first) {
        atomic_store(&group->unsent, false);
        return false;
    }
    if (send_present(group, g_tree_node_key(first)))
        return false;
    g_tree_remove(group->again, g_tree_node_key(first));
    return true;
}

static void want_all_again(struct status_group *group)
{
    g_autoptr(GPtrArray) names = status_own_names(group->status);

    LOCKED(&group->send_lock);
    for (guint i = 0; i < names->len; i++)
        want_again(group, g_ptr_array_index(names, i));
    want_again(group, RELEASE_NAME);
    want_again(group, "nodeip");
}

static void want_address_again(struct status_group *group)
{
    LOCKED(&group->send_lock);
    want_again(group, "nodeip");
}

static void send_again(struct status_group *group)
{
    while (send_one_again(group))
        ;
}

/* --- Setting and logging --- */

int status_group_set(struct status_group *group, const char *name, const void *value, size_t size)
{
    LOCKED(&group->send_lock);
    int error = status_set_own(group->status, name, value, size);
    if (!error && send_value(group, name, value, size) && strncmp(name, "rrd/", 4) != 0 &&
        g_tree_nnodes(group->again) < AGAIN_MAX)
        want_again(group, name);
    return error;
}

static void held_log_free(struct held_log *held)
{
    g_free(held->ident);
    g_free(held->tag);
    g_free(held->message);
    g_free(held);
}

/* The caller holds the send lock. */
static void log_now(struct status_group *group, const struct held_log *entry, bool send)
{
    struct buffer *stamped = status_log(group->status, entry->priority, entry->ident, entry->tag,
                                        entry->message, entry->pid);

    if (send)
        send_normal(group, SUBTYPE_LOG, stamped->data, stamped->capacity);
    buffer_unref(stamped);
}

/* The caller holds the send lock. */
static void log_held(struct status_group *group, bool send)
{
    struct held_log *held;

    group->holding = false;
    while ((held = g_queue_pop_head(&group->held))) {
        log_now(group, held, send);
        held_log_free(held);
    }
}

/* As much of a message as an entry can have of it (doc/status.md, "Cluster log"): it makes the same
 * entry. What is UTF-8 goes by character, of which those beyond U+FFFF leave nothing; anything else
 * goes by byte, as ASCII with "?". What is left has at least a byte of the entry for each. */
static char *cut_message(const char *message)
{
    GString *kept = g_string_new(NULL);
    size_t count = 0;

    if (g_utf8_validate(message, -1, NULL)) {
        for (const char *at = message; *at && count < CLUSTER_LOG_ENTRY_MAX;
             at = g_utf8_next_char(at)) {
            gunichar character = g_utf8_get_char(at);
            if (character > 0xffff)
                continue;
            g_string_append_unichar(kept, character);
            count++;
        }
    } else {
        for (const char *at = message; *at && count < CLUSTER_LOG_ENTRY_MAX; at++, count++)
            g_string_append_c(kept, (guchar)*at < 0x7f ? *at : '?');
    }
    return g_string_free(kept, FALSE);
}

void status_group_log(struct status_group *group, uint8_t priority, const char *ident,
                      const char *tag, const char *message, uint32_t pid)
{
    LOCKED(&group->send_lock);
    if (group->holding && group->held.length < HELD_LOG_MAX) {
        struct held_log *held = g_new(struct held_log, 1);
        *held = (struct held_log){
            g_strdup(ident), g_strdup(tag), cut_message(message), pid, priority,
        };
        g_queue_push_tail(&group->held, held);
    } else {
        const struct held_log entry = {(char *)ident, (char *)tag, (char *)message, pid, priority};
        log_now(group, &entry, true);
    }
}

/* --- Foreign messages --- */

static void complain(struct status_group *group, struct member sender, const char *what)
{
    uint32_t held_back;

    if (!rate_limit_pass(&group->limit, &held_back))
        return;
    g_autofree char *name = status_name_of(group->status, sender.node);
    log_warning("ignored a status message of %s (node %u): %s (%u more not logged)",
                name ? name : "a node without a name", sender.node, what, held_back);
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

/* doc/status.md, "The status group" */
static void apply_message(struct executor *executor, const struct action *action)
{
    struct status_group *group = group_of(executor);
    struct header header;

    if (action->own) {
        if (atomic_load(&group->unsent))
            send_again(group);
        return;
    }
    if (wire_parse_header(action->message->data, message_size(action->message), &header) < 0)
        return; /* the machine has looked at it before */
    status_note_clock(group->status, action->sender.node, header.time);
    if (header.subtype == SUBTYPE_UPDATE)
        take_update(group, action->sender, &header);
    else if (header.subtype != SUBTYPE_LOG)
        complain(group, action->sender, "unknown subtype");
    else if (status_log_remote(group->status, header.body, header.body_size) < 0)
        complain(group, action->sender, "malformed log entry");
}

/* doc/status.md, "Merge" */
static void merge(struct executor *executor, const struct action *action)
{
    struct status_group *group = group_of(executor);
    g_autoptr(GArray) buffers = g_array_new(FALSE, FALSE, sizeof(struct cluster_log_buffer));

    for (guint i = 0; i < action->states->len; i++) {
        const struct buffer *state = g_ptr_array_index(action->states, i);
        if (message_size(state) < SYNC_HEADER_SIZE)
            continue;
        struct cluster_log_buffer buffer = {.data = state->data + SYNC_HEADER_SIZE,
                                            .size = message_size(state) - SYNC_HEADER_SIZE};
        g_array_append_val(buffers, buffer);
    }
    lock_take(&group->send_lock);
    size_t malformed = status_log_merge(
        group->status, (const struct cluster_log_buffer *)buffers->data, buffers->len);
    log_held(group, true);
    lock_give(&group->send_lock);
    if (malformed > 0)
        log_error("%zu malformed cluster log%s left out", malformed, malformed == 1 ? "" : "s");
}

static struct buffer *state(struct executor *executor)
{
    struct status_group *group = group_of(executor);

    LOCKED(&group->send_lock);
    log_held(group, false); /* of a round that was not finished: they go with the state */
    struct buffer *buffer = status_log_buffer(group->status);
    group->holding = true;
    return buffer;
}

/* There will be no merge. */
static void stop_holding(struct executor *executor)
{
    struct status_group *group = group_of(executor);

    LOCKED(&group->send_lock);
    log_held(group, false);
}

/* doc/status.md, "The status group": what was set while nobody was there to hear it. */
static void synced(struct executor *executor, const struct action *action)
{
    struct status_group *group = group_of(executor);

    stop_holding(executor);
    if (action->alone && !action->became)
        return;
    if (action->alone)
        want_address_again(group);
    else
        want_all_again(group);
    send_again(group);
}

static const struct group_actions actions = {
    .state = state,
    .leaving = stop_holding,
    .of = {[ACTION_APPLY] = apply_message, [ACTION_MERGE] = merge, [ACTION_SYNCED] = synced},
};

/* --- Events --- */

static void set_online(struct status_group *group, const struct event *event)
{
    g_autofree uint32_t *nodes = g_new(uint32_t, event->member_count + 1);

    for (size_t i = 0; i < event->member_count; i++)
        nodes[i] = event->members[i].node;
    for (size_t i = 0; i < event->joined_count; i++)
        status_forget_release(group->status, event_joined(event)[i].node);
    g_autofree char *before = status_names(group->status, true);
    status_set_online(group->status, nodes, event->member_count);
    g_autofree char *online = status_names(group->status, true);
    g_autofree char *missing = status_names(group->status, false);
    if (online && g_strcmp0(before, online) != 0)
        log_info("nodes that are online: %s; missing: %s", online, missing ? missing : "none");
}

static void handle(struct status_group *group, struct event *event)
{
    switch (event->type) {
    case EVENT_CONNECTED:
        status_set_own_id(group->status, event->member.node);
        break;
    case EVENT_DISCONNECTED:
        executor_handle(&group->executor, event); /* nothing is sent from here on */
        status_set_online(group->status, NULL, 0);
        stop_holding(&group->executor);
        event_free(event);
        return;
    case EVENT_CONFIGURATION:
        set_online(group, event);
        break;
    case EVENT_SEND_FAILED:
        if (event->kind == SEND_NORMAL) { /* whichever it was */
            want_all_again(group);
            atomic_store(&group->unsent, true);
        }
        break;
    default:
        break;
    }
    executor_handle(&group->executor, event);
    event_free(event);
}

void status_group_handle(struct status_group *group, struct event *event)
{
    handle(group, event);
    executor_end_batch(&group->executor);
}

static void take_events(struct group_consumer *consumer, GQueue *events)
{
    struct status_group *group = container_of(consumer, struct status_group, consumer);
    struct event *event;

    while ((event = g_queue_pop_head(events)))
        handle(group, event);
    executor_end_batch(&group->executor);
}

static void take_nodes(struct node_listener *listener, uint32_t own_id, const char *cluster_name,
                       uint64_t config_version, const struct cluster_node *nodes, size_t count)
{
    struct status *status = container_of(listener, struct status_group, node_listener)->status;

    status_set_own_id(status, own_id);
    status_set_nodes(status, cluster_name, config_version, nodes, count);
}

/* --- Making --- */

struct status_group *status_group_new(struct status *status, struct transport *transport,
                                      struct clock_source *clock, struct member self)
{
    struct status_group *group = g_new0(struct status_group, 1);

    group->status = status;
    executor_init(&group->executor, GROUP_STATUS, self, &actions, clock);
    group->executor.transport = transport;
    group->executor.names = status_name_source(status);
    group->consumer.take = take_events;
    group->node_listener.nodes = take_nodes;
    group->limit.per_minute = MALFORMED_PER_MINUTE;
    group->unsent_limit.per_minute = UNSENT_PER_MINUTE;
    lock_init(&group->send_lock, LOCK_RANK_STATUS_SEND);
    atomic_init(&group->unsent, false);
    group->again = g_tree_new_full(compare_names, NULL, g_free, NULL);
    if (self.node)
        status_set_own_id(status, self.node);
    return group;
}

void status_group_free(struct status_group *group)
{
    if (!group)
        return;
    stop_holding(&group->executor);
    executor_destroy(&group->executor);
    g_tree_destroy(group->again);
    lock_destroy(&group->send_lock);
    g_free(group);
}

struct group_consumer *status_group_consumer(struct status_group *group)
{
    return &group->consumer;
}

struct node_listener *status_group_node_listener(struct status_group *group)
{
    return &group->node_listener;
}
