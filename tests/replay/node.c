/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A node of a recording, played by our own replica and status group: what it gets is what was
 * recorded, what it sends is kept to be compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "core/index.h"
#include "core/publish.h"
#include "node.h"
#include "status/cluster_log.h"

#define LOCK_LIFETIME 120000u      /* milliseconds */
#define LOCK_LIFETIME_TIMERS 3000u /* of the recording with short timers */
#define KEY_FIELD 256u

/* --- The listener --- */

/* The guest list was built anew: ours counts that also when there are no guests. */
static void count_rebuild(struct node *node)
{
    const struct state *state = replica_read_lock(node->replica);

    node->vmlist_apart += g_hash_table_size(state->guests.by_id) == 0;
    replica_read_unlock(node->replica);
    status_rebuilt(node->status, NULL);
}

/* A guest that moves is one change; the recorded nodes counted it out and in. */
static void count_moves(struct node *node, const GPtrArray *effects)
{
    struct guest_path guest;

    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = effects->pdata[i];
        if (effect->operation == CHANGE_RENAME && path_parse_guest(effect->path, &guest) &&
            path_parse_guest(effect->to, &guest))
            node->vmlist_apart--;
    }
    status_published(node->status, effects);
}

static void publishing(struct replica_listener *listener, const GPtrArray *effects, bool rebuilt)
{
    (void)listener;
    (void)effects;
    (void)rebuilt;
}

static void published(struct replica_listener *listener, GPtrArray *effects, bool rebuilt)
{
    struct node *node = container_of(listener, struct node, listener);

    node->publications++;
    if (rebuilt)
        count_rebuild(node);
    else
        count_moves(node, effects);
    g_ptr_array_unref(effects);
}

static void quorum_changed(struct replica_listener *listener, bool quorate)
{
    status_set_quorate(container_of(listener, struct node, listener)->status, quorate);
}

/* --- What the recording tells of a node's beginning --- */

/* The next SEND of that group at or after `from`, and within the same life of the daemon, whose
 * message has that type; NULL: none. */
static const struct trace_event *find_send(const struct node *node, size_t from,
                                           enum trace_group group, uint16_t type)
{
    for (size_t i = from; i < node->trace->len; i++) {
        const struct trace_event *event = trace_at(node->trace, i);
        if (event->type == TRACE_INIT && event->group == TRACE_CONFIGURATION && i > from)
            return NULL;
        if (event->type == TRACE_SEND && event->group == group &&
            get_le16(event->message->data) == type)
            return event;
    }
    return NULL;
}

static struct member find_self(const struct node *node, size_t from)
{
    for (size_t i = from; i < node->trace->len; i++) {
        const struct trace_event *event = trace_at(node->trace, i);
        if (event->type == TRACE_LOCAL)
            return event->member;
    }
    fail_msg("the recording does not say who node %u is", node->number);
    return (struct member){0};
}

/* The corosync.conf that a node with an empty database imports, out of the first UPDATE that any
 * node sent. */
static struct entry *find_import(const struct node *node)
{
    for (size_t i = 0; i < node->trace->len; i++) {
        const struct trace_event *event = trace_at(node->trace, i);
        struct header header;
        struct entry *entry;
        if ((event->type != TRACE_SEND && event->type != TRACE_DELIVER) ||
            event->group != TRACE_CONFIGURATION)
            continue;
        assert_int_equal(wire_parse_header(event->message->data, event->message->capacity, &header),
                         0);
        if (header.type != MESSAGE_UPDATE)
            continue;
        assert_int_equal(wire_parse_update(header.body, header.body_size, &entry), 0);
        if (entry->inode == 2)
            return entry;
        entry_unref(entry);
    }
    fail_msg("no node of this recording sent its corosync.conf");
    return NULL;
}

/* The database of a first start: created, and the host's corosync.conf imported, at the time that
 * the node's first index tells. */
static void import(struct node *node, size_t from, struct store *store, struct tree **tree)
{
    const struct trace_event *state = find_send(node, from, TRACE_CONFIGURATION, MESSAGE_STATE);
    struct index_view index;
    struct entry *conf = find_import(node);
    struct state *empty = state_new(*tree, 0);
    struct draft *draft = draft_new(empty);

    assert_non_null(state);
    assert_int_equal(index_parse(state->message->data + SYNC_HEADER_SIZE,
                                 state->message->capacity - SYNC_HEADER_SIZE, &index),
                     0);
    assert_int_equal(index.version, 3);
    assert_int_equal(index.writer, 0);
    struct entry *own = entry_clone(conf);
    own->version = 3;
    own->writer = 0;
    own->mtime = index.mtime;
    draft_put(draft, own);
    draft->root = (struct root){.version = 3, .writer = 0, .mtime = index.mtime};
    assert_int_equal(store_commit(store, draft), 0);
    state_publish(empty, draft, 0);
    *tree = g_steal_pointer(&empty->tree);
    empty->tree = tree_new();
    draft_free(draft);
    state_free(empty);
    entry_unref(conf);
}

/* This node's text address, which it told the others first of all. */
static char *find_address(const struct node *node, size_t from)
{
    const struct trace_event *event = find_send(node, from, TRACE_STATUS, MESSAGE_NORMAL);

    assert_non_null(event);
    const char *key = (const char *)event->message->data + NORMAL_HEADER_SIZE;
    assert_string_equal(key, "nodeip");
    return g_strdup(key + KEY_FIELD);
}

/* When this life of the daemon logged that it started. */
static uint32_t find_start_time(const struct node *node, size_t from, uint32_t pid)
{
    const struct trace_event *event = find_send(node, from, TRACE_STATUS, MESSAGE_STATE);
    struct cluster_log_walk walk;
    struct cluster_log_entry entry;

    assert_non_null(event);
    assert_int_equal(cluster_log_walk_start(&walk, event->message->data + SYNC_HEADER_SIZE,
                                            event->message->capacity - SYNC_HEADER_SIZE),
                     0);
    while (cluster_log_walk_next(&walk, &entry)) {
        if (entry.pid == pid && strcmp(entry.message, "starting cluster log") == 0)
            return entry.time;
    }
    fail_msg("node %u did not log its start", node->number);
    return 0;
}

/* --- Lives --- */

static void stop(struct node *node)
{
    if (!node->replica)
        return;
    replica_run(node->replica);
    status_group_free(node->status_group);
    replica_free(node->replica);
    status_free(node->status);
    store_close(node->store);
    node->replica = NULL;
}

static void start_status(struct node *node, size_t from)
{
    static const struct cluster_node nodes[] = {{1, 1, "node1"}, {2, 1, "node2"}, {3, 1, "node3"}};
    g_autofree char *address = find_address(node, from);

    node->clock.seconds = find_start_time(node, from, node->self.pid);
    node->status =
        status_new(nodes[node->number - 1].name, address, node->self.pid, &node->clock.source);
    node->status_group =
        status_group_new(node->status, &node->groups[TRACE_STATUS].transport.transport,
                         &node->clock.source, node->self);
    status_set_nodes(node->status, "lab", 1, nodes, 3);
}

static void start(struct node *node, size_t from)
{
    struct store_options store_options = {0};
    struct tree *tree;
    g_autofree char *message = NULL;
    bool first = !g_file_test(node->place.path, G_FILE_TEST_EXISTS);

    stop(node);
    node->self = find_self(node, from);
    if (store_open(node->place.path, &store_options, &node->store, &tree, &message))
        fail_msg("%s", message);
    if (first)
        import(node, from, node->store, &tree);
    struct replica_options options = {
        .self = node->self,
        .lock_lifetime =
            strcmp(node->recording, "timers") == 0 ? LOCK_LIFETIME_TIMERS : LOCK_LIFETIME,
        .clock = &node->clock.source,
        .listener = &node->listener,
    };
    start_status(node, from);
    node->replica = replica_new(&options, node->store, tree);
    node->vmlist_apart = 0;
    count_rebuild(node);
    replica_set_transport(node->replica, &node->groups[TRACE_CONFIGURATION].transport.transport);
    replica_post(node->replica, event_quorum(true));
    replica_run(node->replica);
}

struct node *node_new(const char *recording, unsigned number, bool lazy)
{
    struct node *node = g_new0(struct node, 1);

    node->recording = recording;
    node->number = number;
    node->lazy = lazy;
    node->trace = trace_load(recording, number);
    node->done = g_array_new(FALSE, TRUE, sizeof(bool));
    g_array_set_size(node->done, node->trace->len);
    place_start(&node->place);
    manual_clock_init(&node->clock, 0, 0);
    node->listener = (struct replica_listener){publishing, published, quorum_changed};
    for (size_t i = 0; i < G_N_ELEMENTS(node->groups); i++) {
        struct node_group *group = &node->groups[i];
        sent_queue_init(&group->sent);
        sent_queue_init(&group->expected);
        test_transport_init(&group->transport, &group->sent, &node->self);
        group->transport.joined = true;
    }
    return node;
}

void node_free(struct node *node)
{
    stop(node);
    place_stop(&node->place);
    for (size_t i = 0; i < G_N_ELEMENTS(node->groups); i++) {
        sent_queue_destroy(&node->groups[i].sent);
        sent_queue_destroy(&node->groups[i].expected);
    }
    g_ptr_array_unref(node->trace);
    g_array_unref(node->done);
    g_free(node);
}

/* --- What callers of the recorded node asked for --- */

struct asker {
    struct caller caller;
    struct node *node;
};

static void answer(struct caller *caller, int result)
{
    struct asker *asker = container_of(caller, struct asker, caller);

    (void)result; /* what it did is seen in the tree */
    asker->node->answers--;
    g_free(asker);
}

static void ask_change(struct node *node, const struct header *header)
{
    struct asker *asker = g_new0(struct asker, 1);
    struct change change;

    assert_int_equal(wire_parse_change(header->subtype, header->body, header->body_size, &change),
                     0);
    asker->node = node;
    asker->caller.answer = answer;
    node->answers++;
    if (change.operation == CHANGE_UNLOCK_REQUEST)
        replica_request_unlock(node->replica, change.path, &asker->caller);
    else
        replica_change(node->replica, &change, &asker->caller);
}

/* What was logged, from how it is stored. */
static char *unescape(const char *message)
{
    GString *text = g_string_new(NULL);

    for (; *message; message++) {
        if (message[0] == '\\' && message[1] == 'u') {
            g_autofree char *digits = g_strndup(message + 2, 4);
            g_string_append_unichar(text, (gunichar)strtoul(digits, NULL, 16));
            message += 5;
        } else if (!(message[0] == '\\' && message[1] == '"')) {
            g_string_append_c(text, *message);
        }
    }
    return g_string_free(text, FALSE);
}

static void ask_status(struct node *node, const struct header *header)
{
    if (header->subtype == 1) {
        assert_true(header->body_size >= KEY_FIELD);
        assert_int_equal(status_group_set(node->status_group, (const char *)header->body,
                                          header->body + KEY_FIELD, header->body_size - KEY_FIELD),
                         0);
        return;
    }
    struct cluster_log_entry entry;
    assert_int_equal(header->subtype, 3);
    assert_int_equal(cluster_log_entry_parse(header->body, header->body_size, &entry), 0);
    g_autofree char *message = unescape(entry.message);
    node->clock.seconds = entry.time;
    status_group_log(node->status_group, entry.priority, entry.ident, entry.tag, message,
                     entry.pid);
}

/* --- Comparing what was sent --- */

/* An entry of the cluster log without what may differ: uid, and the bytes behind its strings. */
static void describe_entry(GString *text, const struct cluster_log_entry *entry)
{
    g_string_append_printf(text, "[%u %u %u %s %s %s %s]", entry->time, entry->pid, entry->priority,
                           entry->node, entry->ident, entry->tag, entry->message);
}

static void describe_bytes(GString *text, const uint8_t *data, size_t size)
{
    g_autofree char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, data, size);

    g_string_append_printf(text, "%zu bytes %s", size, sum);
}

static void describe_log(GString *text, const uint8_t *data, size_t size)
{
    struct cluster_log_walk walk;
    struct cluster_log_entry entry;

    assert_int_equal(cluster_log_walk_start(&walk, data, size), 0);
    while (cluster_log_walk_next(&walk, &entry))
        describe_entry(text, &entry);
}

static void describe_epoch(GString *text, const struct header *header)
{
    const struct epoch *epoch = &header->epoch;

    /* The time of an epoch of one's own is that of one's clock; all others are taken over. */
    g_string_append_printf(text, "epoch %u/%u/%u ", epoch->counter, epoch->node, epoch->pid);
    if (header->type != MESSAGE_SYNC_START)
        g_string_append_printf(text, "time %u ", epoch->time);
}

/* A message in words, without what may differ between implementations. */
static char *describe(enum trace_group group, const struct buffer *message)
{
    GString *text = g_string_new(NULL);
    struct header header;

    assert_int_equal(wire_parse_header(message->data, message->capacity, &header), 0);
    assert_int_equal(get_le32(message->data + 12), 0);
    g_string_append_printf(text, "group %d type %u.%u protocol %u ", (int)group, header.type,
                           header.subtype, header.protocol);
    if (header.type != MESSAGE_NORMAL) {
        describe_epoch(text, &header);
        if (group == TRACE_STATUS && header.type == MESSAGE_STATE)
            describe_log(text, header.body, header.body_size);
        else
            describe_bytes(text, header.body, header.body_size);
        return g_string_free(text, FALSE);
    }
    g_string_append_printf(text, "count %lu ", (unsigned long)header.count);
    if (group == TRACE_CONFIGURATION && header.subtype < 7)
        g_string_append_printf(text, "time %u ", header.time);
    if (group == TRACE_STATUS && header.subtype == 3) {
        struct cluster_log_entry entry;
        assert_int_equal(cluster_log_entry_parse(header.body, header.body_size, &entry), 0);
        describe_entry(text, &entry);
    } else if (group == TRACE_STATUS) {
        g_string_append_printf(text, "key %s ", (const char *)header.body);
        describe_bytes(text, header.body + KEY_FIELD, header.body_size - KEY_FIELD);
    } else {
        if (header.subtype < 7) /* to be read by whoever has to find out why it differs */
            g_string_append_printf(text, "path %s ", (const char *)header.body + 20);
        describe_bytes(text, header.body, header.body_size);
    }
    return g_string_free(text, FALSE);
}

static bool was_sent(const struct node_group *group, enum trace_group which,
                     const struct buffer *message)
{
    g_autofree char *wanted = describe(which, message);

    for (const GList *at = group->sent.messages.head; at; at = at->next) {
        const struct sent *sent = at->data;
        g_autofree char *text = describe(which, sent->message);
        if (strcmp(text, wanted) == 0)
            return true;
    }
    return false;
}

static gint compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What the recorded nodes do not know, and ignore. */
static bool is_confirmation(enum trace_group which, const struct buffer *message)
{
    struct header header;

    return which == TRACE_CONFIGURATION &&
           wire_parse_header(message->data, message->capacity, &header) == 0 &&
           wire_is_confirmation(&header) && header.body_size == 0;
}

/* Descriptions of a list of messages: the NORMAL ones in their order, the others sorted. */
static char *describe_all(enum trace_group which, const struct sent_queue *queue)
{
    g_autoptr(GPtrArray) normal = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) others = g_ptr_array_new_with_free_func(g_free);
    GString *text = g_string_new(NULL);

    for (const GList *at = queue->messages.head; at; at = at->next) {
        const struct sent *sent = at->data;
        bool is_normal = get_le16(sent->message->data) == MESSAGE_NORMAL;
        if (is_confirmation(which, sent->message))
            continue;
        g_ptr_array_add(is_normal ? normal : others, describe(which, sent->message));
    }
    g_ptr_array_sort(others, compare_strings);
    for (guint i = 0; i < normal->len; i++)
        g_string_append_printf(text, "%s\n", (char *)normal->pdata[i]);
    for (guint i = 0; i < others->len; i++)
        g_string_append_printf(text, "%s\n", (char *)others->pdata[i]);
    return g_string_free(text, FALSE);
}

void node_compare_sent(struct node *node, const char *when)
{
    if (node->replica)
        replica_run(node->replica);
    for (int i = 0; i < 2; i++) {
        struct node_group *group = &node->groups[i];
        g_autofree char *ours = describe_all((enum trace_group)i, &group->sent);
        g_autofree char *theirs = describe_all((enum trace_group)i, &group->expected);
        if (strcmp(ours, theirs) != 0) {
            fprintf(stderr, "node %u, %s, the recorded node sent:\n%swe sent:\n%s", node->number,
                    when, theirs, ours);
            fail_msg("%s, node %u, '%s': what is sent differs", node->recording, node->number,
                     when);
        }
        assert_int_equal(group->transport.leaves, 0);
        node->compared += group->expected.messages.length;
        sent_queue_clear(&group->sent);
        sent_queue_clear(&group->expected);
    }
}

/* --- Events --- */

static void play_send(struct node *node, size_t index)
{
    const struct trace_event *event = trace_at(node->trace, index);
    struct node_group *group = &node->groups[event->group];
    struct header header;

    if (g_array_index(node->done, bool, index))
        return;
    g_array_index(node->done, bool, index) = true;
    replica_run(node->replica);
    sent_queue_add(&group->expected, node->self, event->message);
    assert_int_equal(wire_parse_header(event->message->data, event->message->capacity, &header), 0);
    if (was_sent(group, event->group, event->message))
        return;
    /* Not of our own accord, so somebody, or an hour gone by, asked for it. */
    node->clock.seconds = header.time;
    if (header.type == MESSAGE_VERIFY_REQUEST) {
        replica_post(node->replica, event_new(EVENT_VERIFY));
        replica_run(node->replica);
    } else if (header.type == MESSAGE_NORMAL && event->group == TRACE_CONFIGURATION) {
        ask_change(node, &header);
    } else if (header.type == MESSAGE_NORMAL) {
        ask_status(node, &header);
    }
}

/* An own message may be recorded as delivered before the call that sent it returned. */
static void play_sends_before(struct node *node, size_t index)
{
    const struct trace_event *delivery = trace_at(node->trace, index);

    if (delivery->member.node != node->self.node || delivery->member.pid != node->self.pid)
        return;
    for (size_t i = index + 1; i < node->trace->len; i++) {
        const struct trace_event *event = trace_at(node->trace, i);
        if (event->type == TRACE_MARK)
            return;
        if (event->type == TRACE_SEND && event->group == delivery->group &&
            event->message->capacity == delivery->message->capacity &&
            memcmp(event->message->data, delivery->message->data, event->message->capacity) == 0)
            play_send(node, i);
    }
}

static void play_delivery(struct node *node, size_t index)
{
    const struct trace_event *event = trace_at(node->trace, index);

    play_sends_before(node, index);
    if (event->group == TRACE_STATUS) {
        status_group_handle(node->status_group, event_message(event->member, event->message));
        return;
    }
    replica_post(node->replica, event_message(event->member, event->message));
    if (!node->lazy)
        replica_run(node->replica);
}

static void play_configuration(struct node *node, const struct trace_event *event)
{
    const struct member *members = (const struct member *)(void *)event->members->data;
    const struct member *joined = (const struct member *)(void *)event->joined->data;

    if (event->group == TRACE_STATUS) {
        status_group_handle(node->status_group, event_configuration(members, event->members->len,
                                                                    joined, event->joined->len));
        return;
    }
    /* Cut off, alone of three, there is no quorum; quorum events come first. */
    bool quorate = event->members->len > 1 || strcmp(node->recording, "partition") != 0 ||
                   event->left->len == 0;
    replica_post(node->replica, event_quorum(quorate));
    replica_post(node->replica,
                 event_configuration(members, event->members->len, joined, event->joined->len));
    if (!node->lazy)
        replica_run(node->replica);
}

void node_play(struct node *node, size_t index)
{
    const struct trace_event *event = trace_at(node->trace, index);

    if (event->time > 0)
        node->clock.milliseconds = (uint64_t)(event->time * 1000);
    switch (event->type) {
    case TRACE_INIT:
        if (event->group == TRACE_CONFIGURATION)
            start(node, index);
        break;
    case TRACE_LOCAL:
        if (event->group == TRACE_STATUS) {
            status_group_handle(node->status_group, event_connected(event->member));
        } else {
            replica_post(node->replica, event_connected(event->member));
            replica_run(node->replica);
        }
        break;
    case TRACE_CONFCHG:
        play_configuration(node, event);
        break;
    case TRACE_SEND:
        play_send(node, index);
        break;
    case TRACE_DELIVER:
        play_delivery(node, index);
        break;
    case TRACE_JOIN:
        assert_int_equal(event->length, event->group == TRACE_STATUS ? 15 : 12);
        break;
    case TRACE_LEAVE:
    case TRACE_MARK:
        break;
    }
}
