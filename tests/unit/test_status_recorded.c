/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The status group against the recordings of real nodes. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "fixture.h"
#include "json_text.h"
#include "status/status_group.h"
#include "trace.h"

#define NODES 3u

static const struct cluster_node node_list[NODES] = {
    {1, 1, "node1"}, {2, 1, "node2"}, {3, 1, "node3"}};

/* One real node's group events go into an executor, which must send what the node sent, and show
 * what it showed. */

struct replay {
    struct test_transport transport;
    struct manual_clock clock;
    const char *directory;
    unsigned node;
    GPtrArray *trace;
    size_t at;
    struct status *status;
    struct status_group *group;
    struct sent_queue sent; /* by us, not yet by the recording */
    struct member self;
    unsigned compared;
    unsigned more; /* deletions that real nodes do not tell again */
};

/* The next event of that type in the group at or after `from`, before the process ends. */
static const struct trace_event *look_ahead(const struct replay *replay, size_t from,
                                            enum trace_type type)
{
    for (size_t i = from; i < replay->trace->len; i++) {
        const struct trace_event *event = trace_at(replay->trace, i);
        if (event->type == TRACE_INIT && event->group == TRACE_CONFIGURATION)
            return NULL;
        if (event->type == type && event->group == TRACE_STATUS)
            return event;
    }
    return NULL;
}

/* When the process logged its first entry: its first STATE tells. */
static uint32_t start_time(const struct replay *replay, struct member self)
{
    for (size_t i = replay->at + 1; i < replay->trace->len; i++) {
        const struct trace_event *event = trace_at(replay->trace, i);
        struct header header;
        struct cluster_log_walk walk;
        struct cluster_log_entry entry;
        if (event->type != TRACE_SEND || event->group != TRACE_STATUS ||
            wire_parse_header(event->message->data, event->message->capacity, &header) < 0 ||
            header.type != MESSAGE_STATE ||
            cluster_log_walk_start(&walk, header.body, header.body_size) < 0)
            continue;
        while (cluster_log_walk_next(&walk, &entry))
            if (entry.pid == self.pid && strcmp(entry.message, "starting cluster log") == 0)
                return entry.time;
    }
    fail_msg("the process never sent its log");
    return 0;
}

static void start_process(struct replay *replay, struct member self)
{
    const struct cluster_node *node = &node_list[replay->node - 1];
    g_autofree char *address = g_strdup_printf("10.99.0.%u", replay->node);

    status_group_free(replay->group);
    status_free(replay->status);
    replay->self = self;
    replay->clock.seconds = start_time(replay, self);
    replay->status = status_new(node->name, address, self.pid, &replay->clock.source);
    status_set_nodes(replay->status, "lab", 1, node_list, NODES);
    replay->group =
        status_group_new(replay->status, &replay->transport.transport, &replay->clock.source, self);
    status_group_handle(replay->group, event_connected(self));
}

/* A message that the recording has and we have not sent was asked for by a client. */
static void ask_for(struct replay *replay, const struct header *header)
{
    struct cluster_log_entry entry;
    const char *message;

    if (header->subtype == 1) {
        assert_int_equal(status_group_set(replay->group, (const char *)header->body,
                                          header->body + 256, header->body_size - 256),
                         0);
        return;
    }
    assert_int_equal(cluster_log_entry_parse(header->body, header->body_size, &entry), 0);
    message = entry.message;
    if (strncmp(message, "hello", 5) == 0) /* stored as ASCII; this was logged */
        message = "hello \"log\" k\xc3\xa4se";
    status_group_log(replay->group, entry.priority, entry.ident, entry.tag, message, entry.pid);
}

static bool is_deletion(const struct buffer *message)
{
    struct header header;

    return wire_parse_header(message->data, message->capacity, &header) == 0 &&
           header.type == MESSAGE_NORMAL && header.subtype == 1 && header.body_size == 256;
}

static struct sent *take_sent(struct replay *replay, const struct buffer *expected)
{
    struct sent *sent = sent_queue_take(&replay->sent);

    while (sent && is_deletion(sent->message) && !is_deletion(expected)) {
        sent_free(sent);
        sent = sent_queue_take(&replay->sent);
        replay->more++;
    }
    return sent;
}

static void compare_sent(struct replay *replay, const struct trace_event *event)
{
    struct header theirs, ours;

    assert_int_equal(wire_parse_header(event->message->data, event->message->capacity, &theirs), 0);
    replay->clock.seconds = theirs.time;
    if (g_queue_is_empty(&replay->sent.messages))
        ask_for(replay, &theirs);
    struct sent *sent = take_sent(replay, event->message);
    assert_non_null(sent);
    struct buffer *message = sent->message;
    assert_int_equal(message->capacity, event->message->capacity);
    assert_int_equal(wire_parse_header(message->data, message->capacity, &ours), 0);
    if (theirs.type == MESSAGE_NORMAL) {
        assert_int_equal(ours.count, theirs.count + replay->more);
        wire_number(message, theirs.count, ours.time);
    }
    if (theirs.type == MESSAGE_NORMAL && theirs.subtype == 1) {
        /* behind a key's NUL real nodes send what they find on their stack */
        size_t key = strlen((const char *)theirs.body) + 1;
        assert_memory_equal(message->data, event->message->data, NORMAL_HEADER_SIZE + key);
        for (size_t i = key; i < 256; i++)
            assert_int_equal(ours.body[i], 0);
        assert_memory_equal(ours.body + 256, theirs.body + 256, theirs.body_size - 256);
    } else {
        assert_memory_equal(message->data, event->message->data, message->capacity);
    }
    sent_free(sent);
    replay->compared++;
}

static json_t *load(const struct replay *replay, const char *step, const char *suffix)
{
    g_autofree char *name = g_strdup_printf("%s.node%u.%s", step, replay->node, suffix);
    size_t size;
    g_autofree char *text = trace_file(replay->directory, name, &size);
    json_error_t error;
    json_t *json = json_loadb(text, size, 0, &error);

    if (!json)
        fail_msg("%s: %s", name, error.text);
    return json;
}

static void expect_equal(json_t *actual, json_t *expected, const char *step, const char *what)
{
    if (json_equal(actual, expected))
        return;
    char *got = json_dumps(actual, 0), *wanted = json_dumps(expected, 0);
    fail_msg("%s %s: expected %s got %s", step, what, wanted, got);
}

/* Nodes without values are listed or not; we do not list them. */
static void drop_empty(json_t *kvstore)
{
    const char *node;
    json_t *values;
    void *next;

    json_object_foreach_safe(kvstore, next, node, values)
    {
        if (json_object_size(values) == 0)
            json_object_del(kvstore, node);
    }
}

static void compare_step(struct replay *replay, const char *step)
{
    json_t *recorded = load(replay, step, "members");
    json_t *cluster = json_object_get(recorded, "cluster");

    /* what corosync said is not in the recording */
    status_set_quorate(replay->status, json_integer_value(json_object_get(cluster, "quorate")));
    status_set_nodes(replay->status, "lab",
                     (uint64_t)json_integer_value(json_object_get(cluster, "version")), node_list,
                     NODES);
    json_t *members = json_of_text(status_members_text(replay->status));
    json_object_del(members, "version");
    json_object_del(recorded, "version");
    expect_equal(members, recorded, step, "members");
    json_decref(members);
    json_decref(recorded);

    json_t *log = json_of_text(status_cluster_log_text(replay->status, 0, NULL));
    recorded = load(replay, step, "clusterlog");
    expect_equal(log, recorded, step, "clusterlog");
    json_decref(log);
    json_decref(recorded);

    json_t *version = json_of_text(status_version_text(replay->status));
    recorded = load(replay, step, "version");
    json_t *ours = json_object_get(version, "kvstore"),
           *theirs = json_object_get(recorded, "kvstore");
    drop_empty(ours);
    drop_empty(theirs);
    expect_equal(ours, theirs, step, "kvstore");
    json_t *start = json_object_get(version, "starttime");
    expect_equal(start, json_object_get(recorded, "starttime"), step, "starttime");
    json_decref(version);
    json_decref(recorded);
}

/* After which mark of the scenario a node's files were kept. */
static const struct {
    const char *directory;
    const char *mark;
    const char *step;
    unsigned nodes; /* bits */
} steps[] = {
    {"three-nodes", "node3 joined", "1-joined", 7},
    {"three-nodes", "cluster log", "2-worked", 7},
    {"three-nodes", "corosync.conf version 2", "3-back", 7},
    {"three-nodes", "write by two of three", "4-end", 5},
    {"partition", "majority wrote", "1-cut", 7},
    {"partition", "healed", "2-healed", 7},
    {"partition", "node3 writes again", "3-end", 7},
};

static unsigned at_mark(struct replay *replay, const char *mark)
{
    unsigned compared = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (strcmp(steps[i].directory, replay->directory) != 0 ||
            strcmp(steps[i].mark, mark) != 0 || !(steps[i].nodes & 1u << (replay->node - 1)))
            continue;
        compare_step(replay, steps[i].step);
        compared++;
    }
    return compared;
}

static void replay_event(struct replay *replay, const struct trace_event *event)
{
    const struct trace_event *next = look_ahead(replay, replay->at + 1, TRACE_SEND);

    if (next && (event->type == TRACE_CONFCHG || event->type == TRACE_DELIVER))
        replay->clock.seconds = get_le32(next->message->data + 8);
    switch (event->type) {
    case TRACE_LOCAL:
        start_process(replay, event->member);
        break;
    case TRACE_CONFCHG:
        status_group_handle(
            replay->group,
            event_configuration((const struct member *)event->members->data, event->members->len,
                                (const struct member *)event->joined->data, event->joined->len));
        break;
    case TRACE_DELIVER:
        status_group_handle(replay->group, event_message(event->member, event->message));
        break;
    case TRACE_SEND:
        compare_sent(replay, event);
        break;
    case TRACE_INIT:
    case TRACE_JOIN:
    case TRACE_LEAVE:
    case TRACE_MARK:
        break;
    }
}

static void run_replay(const char *directory, unsigned node, unsigned expected_steps)
{
    struct replay replay = {
        .directory = directory,
        .node = node,
        .trace = trace_load(directory, node),
    };
    unsigned compared_steps = 0;

    manual_clock_init(&replay.clock, 0, 0);
    sent_queue_init(&replay.sent);
    test_transport_init(&replay.transport, &replay.sent, &replay.self);
    replay.transport.joined = true;
    for (replay.at = 0; replay.at < replay.trace->len; replay.at++) {
        const struct trace_event *event = trace_at(replay.trace, replay.at);
        if (event->type == TRACE_MARK) {
            assert_true(g_queue_is_empty(&replay.sent.messages));
            compared_steps += at_mark(&replay, event->mark);
        } else if (event->group == TRACE_STATUS) {
            replay_event(&replay, event);
        }
    }
    assert_true(g_queue_is_empty(&replay.sent.messages));
    assert_int_equal(replay.transport.leaves, 0);
    assert_int_equal(compared_steps, expected_steps);
    assert_true(replay.compared > 5);
    status_group_free(replay.group);
    status_free(replay.status);
    sent_queue_destroy(&replay.sent);
    g_ptr_array_unref(replay.trace);
}

static void test_recorded_three_nodes(void **state)
{
    (void)state;
    run_replay("three-nodes", 1, 4);
    run_replay("three-nodes", 2, 3);
    run_replay("three-nodes", 3, 4);
}

static void test_recorded_partition(void **state)
{
    (void)state;
    for (unsigned node = 1; node <= 3; node++)
        run_replay("partition", node, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recorded_three_nodes),
        cmocka_unit_test(test_recorded_partition),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
