/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cluster log: bytes of entries and of the ring, foreign buffers, merges, and the JSON text. */
#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "status/cluster_log.h"
#include "trace.h"

static struct buffer *pack(const char *node, uint32_t time, uint32_t uid, const char *message)
{
    struct cluster_log_record record = {.node = node,
                                        .ident = "root@pam",
                                        .tag = "test",
                                        .message = message,
                                        .uid = uid,
                                        .time = time,
                                        .pid = 77,
                                        .priority = 6};

    return cluster_log_entry_pack(&record);
}

static bool insert(struct cluster_log *log, const char *node, uint32_t time, uint32_t uid,
                   const char *message)
{
    struct buffer *buffer = pack(node, time, uid, message);
    struct cluster_log_entry entry;

    assert_int_equal(cluster_log_entry_parse(buffer->data, buffer->capacity, &entry), 0);
    bool taken = cluster_log_insert(log, &entry);
    buffer_unref(buffer);
    return taken;
}

static json_t *parse_json(const char *text, size_t size)
{
    json_error_t error;
    json_t *json = json_loadb(text, size, JSON_ALLOW_NUL, &error);

    if (!json)
        fail_msg("invalid JSON: %s in %.*s", error.text, (int)size, text);
    return json;
}

static json_t *log_json(const uint8_t *buffer, uint32_t max, const char *user)
{
    struct buffer *text = cluster_log_text(buffer, max, user);
    json_t *json = parse_json((const char *)text->data, text->capacity);

    buffer_unref(text);
    return json;
}

/* The buffers that a round of STATE messages at or after event `from` carried, one of each member;
 * *end: the event behind the last. */
static size_t collect_states(const GPtrArray *trace, size_t from, size_t count,
                             struct cluster_log_buffer *buffers, size_t *end)
{
    size_t found = 0, i = from;

    for (; i < trace->len && found < count; i++) {
        const struct trace_event *event = trace_at(trace, i);
        struct header header;
        if (event->type != TRACE_DELIVER || event->group != TRACE_STATUS)
            continue;
        assert_int_equal(wire_parse_header(event->message->data, event->message->capacity, &header),
                         0);
        if (header.type != MESSAGE_STATE)
            continue;
        buffers[found++] = (struct cluster_log_buffer){header.body, header.body_size};
    }
    *end = i;
    return found;
}

static void expect_recorded_log(const uint8_t *buffer, const char *directory, const char *file)
{
    size_t size;
    g_autofree char *text = trace_file(directory, file, &size);
    json_t *expected = parse_json(text, size);
    json_t *actual = log_json(buffer, 0, NULL);

    if (!json_equal(actual, expected)) {
        char *dump = json_dumps(actual, JSON_INDENT(1));
        fail_msg("%s: expected %s got %s", file, text, dump);
    }
    json_decref(expected);
    json_decref(actual);
}

static void test_digests(void **state)
{
    (void)state;
    assert_true(cluster_log_digest("node1") == 0xe6f5e3c220c8fefcull);
    assert_true(cluster_log_digest("root") == 0x4dd1e2461dbc53bfull);
}

/* The two entries that real nodes multicast are what we make of the same words. */
static void test_packs_what_real_nodes_sent(void **state)
{
    static const struct {
        const char *node, *ident, *tag, *message;
    } logged[] = {{"node1", "root", "cluster", "hello \"log\" k\xc3\xa4se"},
                  {"node3", "root@pam", "vzd", "second line"}};
    GPtrArray *trace = trace_load("three-nodes", 2);
    size_t found = 0;

    (void)state;
    for (size_t i = 0; i < trace->len; i++) {
        const struct trace_event *event = trace_at(trace, i);
        struct header header;
        struct cluster_log_entry entry;
        if (event->type != TRACE_DELIVER || event->group != TRACE_STATUS)
            continue;
        wire_parse_header(event->message->data, event->message->capacity, &header);
        if (header.type != MESSAGE_NORMAL || header.subtype != 3)
            continue;
        assert_true(found < G_N_ELEMENTS(logged));
        assert_int_equal(cluster_log_entry_parse(header.body, header.body_size, &entry), 0);
        struct cluster_log_record record = {.node = logged[found].node,
                                            .ident = logged[found].ident,
                                            .tag = logged[found].tag,
                                            .message = logged[found].message,
                                            .uid = entry.uid,
                                            .time = entry.time,
                                            .pid = entry.pid,
                                            .priority = entry.priority};
        struct buffer *buffer = cluster_log_entry_pack(&record);
        assert_int_equal(buffer->capacity, header.body_size);
        assert_memory_equal(buffer->data, header.body, header.body_size);
        buffer_unref(buffer);
        found++;
    }
    assert_int_equal(found, 2);
    g_ptr_array_unref(trace);
}

/* A real node's buffer gives the .clusterlog that the node showed, and merging the buffers of all
 * members gives the log of the step. */
static void test_recorded_states(void **state)
{
    GPtrArray *trace = trace_load("three-nodes", 1);
    struct cluster_log_buffer buffers[3];
    size_t end;

    (void)state;
    struct cluster_log *log = cluster_log_new();
    size_t joined = trace_find_mark(trace, 0, "node2 joined");
    assert_int_equal(collect_states(trace, joined, 3, buffers, &end), 3);
    assert_int_equal(cluster_log_merge(log, buffers, 3), 0);
    expect_recorded_log(log->buffer, "three-nodes", "1-joined.node1.clusterlog");

    size_t worked = trace_find_mark(trace, 0, "cluster log");
    assert_int_equal(collect_states(trace, worked, 2, buffers, &end), 2);
    expect_recorded_log(buffers[0].data, "three-nodes", "2-worked.node1.clusterlog");
    expect_recorded_log(buffers[1].data, "three-nodes", "2-worked.node2.clusterlog");

    size_t away = trace_find_mark(trace, 0, "changes while node3 is away");
    assert_int_equal(collect_states(trace, away, 3, buffers, &end), 3);
    assert_int_equal(cluster_log_merge(log, buffers, 3), 0);
    expect_recorded_log(log->buffer, "three-nodes", "3-back.node1.clusterlog");

    /* And the merged buffer is the one that real nodes had afterwards, byte for byte. */
    assert_int_equal(collect_states(trace, end, 2, buffers, &end), 2);
    assert_memory_equal(log->buffer, buffers[0].data, CLUSTER_LOG_SIZE);
    assert_memory_equal(log->buffer, buffers[1].data, CLUSTER_LOG_SIZE);
    cluster_log_free(log);
    g_ptr_array_unref(trace);
}

static void test_text_rules(void **state)
{
    static const struct {
        const char *message, *stored;
    } cases[] = {
        {"", ""},
        {"plain ~ text", "plain ~ text"},
        {"say \"hi\"", "say \\\"hi\\\""},
        {"back\\slash", "back\\slash"},
        {"a\tb\nc\x01", "a#009b#010c#001"},
        {"\x7f", "#127"},
        {"k\xc3\xa4se \xe2\x82\xac", "k\\u00e4se \\u20ac"},
        {"\xc2\x85", "\\u0085"},
        {"\xef\xbf\xbf", "\\uffff"},
        {"a\xf0\x9f\x98\x80z", "az"},
        {"bad \xff\t\"\x7f\xc3\xa4", "bad ?#009\\\"???"},
        {"\x1f\xed\xa0\x80", "#031???"},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct buffer *buffer = pack("n", 1, 1, cases[i].message);
        struct cluster_log_entry entry;
        assert_int_equal(cluster_log_entry_parse(buffer->data, buffer->capacity, &entry), 0);
        assert_string_equal(entry.message, cases[i].stored);
        assert_int_equal(buffer->capacity, 48 + sizeof("n") + sizeof("root@pam") + sizeof("test") +
                                               strlen(cases[i].stored) + 1);
        buffer_unref(buffer);
    }
}

static void test_long_strings_are_cut(void **state)
{
    g_autofree char *name = g_strnfill(400, 'n');
    g_autofree char *plain = g_strnfill(10000, 'm');
    g_autofree char *quotes = g_strnfill(10000, '"');
    const char *messages[] = {plain, quotes};

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(messages); i++) {
        struct cluster_log_record record = {
            .node = name, .ident = name, .tag = name, .message = messages[i]};
        struct buffer *buffer = cluster_log_entry_pack(&record);
        struct cluster_log_entry entry;
        assert_int_equal(cluster_log_entry_parse(buffer->data, buffer->capacity, &entry), 0);
        assert_int_equal(entry.node_length, 254);
        assert_int_equal(entry.ident_length, 254);
        assert_int_equal(entry.tag_length, 254);
        assert_in_range(buffer->capacity, CLUSTER_LOG_ENTRY_MAX - 1, CLUSTER_LOG_ENTRY_MAX);
        /* an escape is never cut in two */
        assert_int_equal(entry.message_length % 2, i == 1 ? 0 : entry.message_length % 2);
        buffer_unref(buffer);
    }
}

static void test_malformed_entries(void **state)
{
    struct buffer *buffer = pack("node", 5, 6, "message");
    g_autofree uint8_t *bytes = g_memdup2(buffer->data, buffer->capacity);
    size_t size = buffer->capacity;
    struct cluster_log_entry entry;

    (void)state;
    assert_int_equal(cluster_log_entry_parse(bytes, size, &entry), 0);
    for (size_t i = 0; i < size; i++) {
        g_autofree uint8_t *part = g_memdup2(bytes, i);
        assert_int_equal(cluster_log_entry_parse(part, i, &entry), -EBADMSG);
    }
    g_autofree uint8_t *longer = g_malloc0(size + 1);
    memcpy(longer, bytes, size);
    assert_int_equal(cluster_log_entry_parse(longer, size + 1, &entry), -EBADMSG);
    for (size_t field = 37; field <= 40; field++) {
        uint8_t old = bytes[field];
        bytes[field] = 0;
        assert_int_equal(cluster_log_entry_parse(bytes, size, &entry), -EBADMSG);
        bytes[field] = (uint8_t)(old - 1);
        assert_int_equal(cluster_log_entry_parse(bytes, size, &entry), -EBADMSG);
        bytes[field] = old;
    }
    put_le32(bytes + 40, UINT32_MAX);
    assert_int_equal(cluster_log_entry_parse(bytes, size, &entry), -EBADMSG);
    buffer_unref(buffer);
}

static void test_duplicates(void **state)
{
    struct cluster_log *log = cluster_log_new();

    (void)state;
    assert_true(insert(log, "a", 100, 5, "x"));
    assert_false(insert(log, "a", 100, 5, "x"));
    assert_false(insert(log, "a", 100, 4, "x"));
    assert_false(insert(log, "a", 99, 9, "x"));
    assert_true(insert(log, "a", 100, 6, "x"));
    assert_true(insert(log, "b", 50, 1, "x"));
    assert_true(insert(log, "a", 101, 1, "x"));

    struct cluster_log_stamp stamp = {.time = 101, .uid = 1};
    cluster_log_next_stamp(log, cluster_log_digest("a"), &stamp);
    assert_int_equal(stamp.time, 101);
    assert_int_equal(stamp.uid, 2);
    stamp = (struct cluster_log_stamp){.time = 90, .uid = 7};
    cluster_log_next_stamp(log, cluster_log_digest("a"), &stamp);
    assert_int_equal(stamp.time, 101);
    assert_int_equal(stamp.uid, 2);
    stamp = (struct cluster_log_stamp){.time = 102, .uid = 1};
    cluster_log_next_stamp(log, cluster_log_digest("a"), &stamp);
    assert_int_equal(stamp.time, 102);
    assert_int_equal(stamp.uid, 1);
    cluster_log_free(log);
}

/* A clock was once far ahead: the others take nothing older of that node, so its entries get that
 * time until it has come, also when it has started again; its log says so, once. */
static void test_a_time_to_come(void **state)
{
    struct cluster_log *other = cluster_log_new();
    struct cluster_log *restarted = cluster_log_new();
    const struct cluster_log_buffer buffer = {other->buffer, CLUSTER_LOG_SIZE};
    struct cluster_log_stamp stamp = {.time = 100, .uid = 1};

    (void)state;
    assert_true(insert(other, "a", 2000000000, 7, "the clock is wrong"));
    assert_false(insert(other, "a", 101, 8, "the clock is right"));
    cluster_log_next_stamp(restarted, cluster_log_digest("a"), &stamp);
    assert_int_equal(stamp.time, 100);
    assert_false(restarted->told_ahead);
    assert_int_equal(cluster_log_merge(restarted, &buffer, 1), 0);
    for (uint32_t i = 0; i < 2; i++) {
        stamp = (struct cluster_log_stamp){.time = 102 + i, .uid = 2};
        cluster_log_next_stamp(restarted, cluster_log_digest("a"), &stamp);
        assert_int_equal(stamp.time, 2000000000);
        assert_int_equal(stamp.uid, 8);
        assert_true(restarted->told_ahead);
    }
    assert_true(insert(other, "a", stamp.time, stamp.uid, "and is heard"));
    stamp = (struct cluster_log_stamp){.time = 2000000001, .uid = 1};
    cluster_log_next_stamp(restarted, cluster_log_digest("a"), &stamp);
    assert_int_equal(stamp.time, 2000000001);
    cluster_log_free(restarted);
    cluster_log_free(other);
}

/* An entry that the ring has lost is still remembered as taken. */
static void test_duplicates_outlive_the_ring(void **state)
{
    struct cluster_log *log = cluster_log_new();
    g_autofree char *message = g_strnfill(3000, 'm');

    (void)state;
    assert_true(insert(log, "lost", 10, 1, "x"));
    for (uint32_t i = 1; i < 100; i++)
        assert_true(insert(log, "busy", 20, i, message));
    assert_false(insert(log, "lost", 10, 1, "x"));
    cluster_log_free(log);
}

/* The ring against a simple model of the rule where an entry goes. */
static void test_ring(void **state)
{
    struct cluster_log *log = cluster_log_new();
    uint32_t expected = 8, cpos = 0, wrapped = 0;
    GRand *random = g_rand_new_with_seed(7);

    (void)state;
    for (uint32_t uid = 1; uid <= 3000; uid++) {
        size_t length = (size_t)g_rand_int_range(random, 0, uid % 7 ? 120 : 4000);
        g_autofree char *message = g_strnfill(length, 'm');
        struct buffer *buffer = pack("node", 1, uid, message);
        uint32_t rounded = (buffer->capacity + 7) / 8 * 8;
        buffer_unref(buffer);
        if (expected + rounded >= CLUSTER_LOG_SIZE) {
            expected = 8;
            wrapped++;
        }
        assert_true(insert(log, "node", 1, uid, message));
        assert_int_equal(get_le32(log->buffer + 4), expected);
        assert_int_equal(get_le32(log->buffer + expected), cpos);
        assert_int_equal(get_le32(log->buffer + expected + 4), expected + rounded);
        cpos = expected;
        expected += rounded;

        /* the walk gives the newest entries without a gap, and no ruins */
        struct cluster_log_walk walk;
        struct cluster_log_entry entry;
        uint32_t next = uid, bytes = 0;
        assert_int_equal(cluster_log_walk_start(&walk, log->buffer, CLUSTER_LOG_SIZE), 0);
        while (cluster_log_walk_next(&walk, &entry)) {
            assert_int_equal(entry.uid, next--);
            bytes += (entry.size + 7) / 8 * 8;
            for (uint32_t i = 0; i < entry.message_length; i++)
                assert_int_equal(entry.message[i], 'm');
        }
        if (wrapped == 0)
            assert_int_equal(next, 0);
        else
            assert_true(bytes > CLUSTER_LOG_SIZE - 4 * CLUSTER_LOG_ENTRY_MAX);
    }
    assert_true(wrapped > 5);
    g_rand_free(random);
    cluster_log_free(log);
}

static size_t count_entries(const uint8_t *buffer)
{
    struct cluster_log_walk walk;
    struct cluster_log_entry entry;
    size_t count = 0;

    if (cluster_log_walk_start(&walk, buffer, CLUSTER_LOG_SIZE) < 0)
        return SIZE_MAX;
    while (cluster_log_walk_next(&walk, &entry)) {
        assert_true(entry.bytes >= buffer + 8);
        assert_true(entry.bytes + entry.size <= buffer + CLUSTER_LOG_SIZE);
        count++;
    }
    return count;
}

static void test_foreign_headers(void **state)
{
    struct cluster_log *log = cluster_log_new();
    uint8_t *buffer = log->buffer;
    struct cluster_log_walk walk;

    (void)state;
    assert_int_equal(count_entries(buffer), 0);
    insert(log, "n", 1, 1, "x");
    assert_int_equal(count_entries(buffer), 1);
    assert_int_equal(cluster_log_walk_start(&walk, buffer, CLUSTER_LOG_SIZE - 1), -EBADMSG);
    assert_int_equal(cluster_log_walk_start(&walk, buffer, 0), -EBADMSG);
    static const uint32_t bad[] = {1, 4, 7, 12, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE + 8, 0xfffffff8};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        put_le32(buffer + 4, bad[i]);
        assert_int_equal(cluster_log_walk_start(&walk, buffer, CLUSTER_LOG_SIZE), -EBADMSG);
    }
    put_le32(buffer + 4, CLUSTER_LOG_SIZE - 8);
    assert_int_equal(count_entries(buffer), 0);
    put_le32(buffer + 4, 8);
    put_le32(buffer, 8);
    assert_int_equal(cluster_log_walk_start(&walk, buffer, CLUSTER_LOG_SIZE), -EBADMSG);
    cluster_log_free(log);
}

/* Offsets that lead in circles end the walk, as do those to places that are no entries. */
static void test_foreign_offsets(void **state)
{
    struct cluster_log *log = cluster_log_new();
    uint8_t *buffer = log->buffer;

    (void)state;
    for (uint32_t i = 1; i <= 1000; i++)
        insert(log, "n", 1, i, "some text");
    size_t all = count_entries(buffer);
    uint32_t newest = get_le32(buffer + 4);
    uint32_t second = get_le32(buffer + newest);
    uint32_t third = get_le32(buffer + second);
    assert_int_equal(all, 1000);
    static const uint32_t bad[] = {1, 4, 9, CLUSTER_LOG_SIZE, 0xfffffff8, CLUSTER_LOG_SIZE - 8};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        put_le32(buffer + second, bad[i]);
        assert_int_equal(count_entries(buffer), 2);
    }
    put_le32(buffer + second, second); /* itself */
    assert_int_equal(count_entries(buffer), 2);
    put_le32(buffer + second, newest); /* forward */
    assert_int_equal(count_entries(buffer), 2);
    put_le32(buffer + second, third);
    assert_int_equal(count_entries(buffer), 1000);

    /* three entries above the newest that point at each other in a circle */
    static const uint32_t at[] = {100000, 100200, 100400};
    for (size_t i = 0; i < 3; i++) {
        memcpy(buffer + at[i], buffer + 8, 88);
        put_le32(buffer + at[i], at[(i + 2) % 3]);
    }
    put_le32(buffer + second, at[2]);
    assert_int_equal(count_entries(buffer), 5);
    /* from there back below the newest: overwritten long ago */
    put_le32(buffer + at[0], third);
    assert_int_equal(count_entries(buffer), 5);
    /* within the newest's reach */
    put_le32(buffer + second, newest + CLUSTER_LOG_ENTRY_MAX);
    memcpy(buffer + newest + CLUSTER_LOG_ENTRY_MAX, buffer + 8, 88);
    assert_int_equal(count_entries(buffer), 2);
    cluster_log_free(log);
}

static void test_random_damage(void **state)
{
    struct cluster_log *full = cluster_log_new();
    GRand *random = g_rand_new_with_seed(11);

    (void)state;
    for (uint32_t i = 1; i <= 3000; i++)
        insert(full, i % 3 ? "n" : "another", 1, i, "some text \xc3\xa4\xc3\xb6");
    size_t all = count_entries(full->buffer);
    for (int round = 0; round < 300; round++) {
        g_autofree uint8_t *damaged = g_memdup2(full->buffer, CLUSTER_LOG_SIZE);
        for (int i = g_rand_int_range(random, 1, 400); i > 0; i--)
            damaged[g_rand_int_range(random, 8, CLUSTER_LOG_SIZE)] = (uint8_t)g_rand_int(random);
        assert_true(count_entries(damaged) <= all + 1);
        struct cluster_log *log = cluster_log_new();
        struct cluster_log_buffer buffers[] = {
            {damaged, CLUSTER_LOG_SIZE}, {full->buffer, CLUSTER_LOG_SIZE}, {damaged, 100}};
        assert_int_equal(cluster_log_merge(log, buffers, 3), 1);
        assert_true(count_entries(log->buffer) > 1000);
        json_decref(log_json(damaged, 5000, NULL));
        cluster_log_free(log);
    }
    g_rand_free(random);
    cluster_log_free(full);
}

/* A process and the one after it, each in another part of the cluster and with a clock behind the
 * log, go on from the same stamp: both have said something. All members keep it in one order. */
static void test_merge_of_equal_stamps(void **state)
{
    struct cluster_log *logs[] = {cluster_log_new(), cluster_log_new()};
    const struct cluster_log_buffer buffers[] = {{logs[0]->buffer, CLUSTER_LOG_SIZE},
                                                 {logs[1]->buffer, CLUSTER_LOG_SIZE}};

    (void)state;
    for (size_t i = 0; i < 2; i++)
        insert(logs[i], "a", 100, 1, "before they parted");
    insert(logs[0], "a", 100, 2, "one");
    insert(logs[1], "a", 100, 2, "two");
    g_autofree uint8_t *first = g_memdup2(logs[0]->buffer, CLUSTER_LOG_SIZE);
    const struct cluster_log_buffer other = {first, CLUSTER_LOG_SIZE};
    cluster_log_merge(logs[0], &buffers[1], 1);
    cluster_log_merge(logs[1], &other, 1);
    assert_int_equal(count_entries(logs[0]->buffer), 3);
    assert_memory_equal(logs[0]->buffer, logs[1]->buffer, CLUSTER_LOG_SIZE);
    cluster_log_merge(logs[0], buffers, 2);
    assert_int_equal(count_entries(logs[0]->buffer), 3);
    cluster_log_free(logs[0]);
    cluster_log_free(logs[1]);
}

static void test_merge(void **state)
{
    struct cluster_log *a = cluster_log_new(), *b = cluster_log_new(), *c = cluster_log_new();
    uint32_t uid = 0;

    (void)state;
    /* three full rings of interleaved times; b and c share their entries */
    for (uint32_t time = 1000; time < 3000; time++) {
        insert(a, "alpha", time, ++uid, "of a, every second");
        insert(b, time % 2 ? "beta" : "gamma", time, uid, "of b and c");
        insert(c, time % 2 ? "beta" : "gamma", time, uid, "of b and c");
    }
    struct cluster_log_buffer buffers[] = {{b->buffer, CLUSTER_LOG_SIZE},
                                           {c->buffer, CLUSTER_LOG_SIZE}};
    assert_int_equal(cluster_log_merge(a, buffers, 2), 0);

    struct cluster_log_walk walk;
    struct cluster_log_entry entry;
    uint32_t bytes = 0, expected = 2999, of_second = 0;
    cluster_log_walk_start(&walk, a->buffer, CLUSTER_LOG_SIZE);
    while (cluster_log_walk_next(&walk, &entry)) {
        /* each second has one entry of alpha and one of beta or gamma, newest first */
        if (entry.time != expected) {
            assert_int_equal(of_second, 2);
            assert_int_equal(entry.time, --expected);
            of_second = 0;
        }
        of_second++;
        bytes += (entry.size + 7) / 8 * 8;
    }
    assert_in_range(bytes, CLUSTER_LOG_SIZE - 4104, CLUSTER_LOG_SIZE - 8);
    assert_false(insert(a, "beta", 2999, uid, "again"));
    assert_true(insert(a, "beta", 3000, 1, "newer"));

    /* merging what is there already changes nothing */
    g_autofree uint8_t *before = g_memdup2(c->buffer, CLUSTER_LOG_SIZE);
    struct cluster_log *fresh = cluster_log_new();
    insert(fresh, "alpha", 1, 1, "one");
    insert(fresh, "beta", 2, 1, "two");
    memcpy(before, fresh->buffer, CLUSTER_LOG_SIZE);
    struct cluster_log_buffer same = {before, CLUSTER_LOG_SIZE};
    assert_int_equal(cluster_log_merge(fresh, &same, 1), 0);
    assert_memory_equal(fresh->buffer, before, CLUSTER_LOG_SIZE);
    cluster_log_free(fresh);
    cluster_log_free(a);
    cluster_log_free(b);
    cluster_log_free(c);
}

/* Puts bytes as they are into an entry's four strings, as a foreign node might. */
static void insert_raw(struct cluster_log *log, uint32_t uid, const char *raw)
{
    GByteArray *bytes = g_byte_array_new();
    size_t size = strlen(raw) + 1;
    struct cluster_log_entry entry;

    g_byte_array_set_size(bytes, 44);
    memset(bytes->data, 0, 44);
    put_le32(bytes->data + 8, uid);
    memset(bytes->data + 37, (int)size, 3);
    put_le32(bytes->data + 40, (uint32_t)size);
    for (int i = 0; i < 4; i++)
        g_byte_array_append(bytes, (const guint8 *)raw, (guint)size);
    g_byte_array_append(bytes, (const guint8 *)"\xff\xff\xff", 4);
    assert_int_equal(cluster_log_entry_parse(bytes->data, bytes->len, &entry), 0);
    assert_true(cluster_log_insert(log, &entry));
    g_byte_array_unref(bytes);
}

static void assert_text(json_t *entry, const char *key, const char *expected, size_t size)
{
    json_t *string = json_object_get(entry, key);

    assert_int_equal(json_string_length(string), size);
    assert_memory_equal(json_string_value(string), expected, size);
}

static void test_json_of_any_bytes(void **state)
{
    static const struct {
        const char *raw, *message, *name;
    } cases[] = {
        {"plain", "plain", "plain"},
        {"say \\\"hi\\\"", "say \"hi\"", "say \\\"hi\\\""},
        {"\\u00e4\\u20ac", "\xc3\xa4\xe2\x82\xac", "\xc3\xa4\xe2\x82\xac"},
        {"\\u00E4", "\xc3\xa4", "\xc3\xa4"},
        {"\\ud83d\\ude00", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\\ud83d!", "\\ud83d!", "\\ud83d!"},
        {"\\ud83d\\u0041",
         "\\ud83d"
         "A",
         "\\ud83d"
         "A"},
        {"\\ude00", "\\ude00", "\\ude00"},
        {"\\u12g4 \\u12", "\\u12g4 \\u12", "\\u12g4 \\u12"},
        {"\\", "\\", "\\"},
        {"\\n \\\\ \\x", "\\n \\\\ \\x", "\\n \\\\ \\x"},
        {"\\\\\"", "\\\"", "\\\\\""},
        {"\"", "\"", "\""},
        {"\n\x01\x7f", "\n\x01\x7f", "\n\x01\x7f"},
        {"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"k\xc3\xa4se", "k\xc3\xa4se", "k\xc3\xa4se"},
        {"cut \xc3", "cut \xef\xbf\xbd", "cut \xef\xbf\xbd"},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct cluster_log *log = cluster_log_new();
        insert_raw(log, 1, cases[i].raw);
        json_t *json = log_json(log->buffer, 0, NULL);
        json_t *entry = json_array_get(json_object_get(json, "data"), 0);
        assert_text(entry, "msg", cases[i].message, strlen(cases[i].message));
        assert_text(entry, "tag", cases[i].name, strlen(cases[i].name));
        assert_text(entry, "node", cases[i].name, strlen(cases[i].name));
        assert_text(entry, "user", cases[i].name, strlen(cases[i].name));
        json_decref(json);
        cluster_log_free(log);
    }
    struct cluster_log *log = cluster_log_new();
    insert_raw(log, 1, "a\\u0000b");
    json_t *json = log_json(log->buffer, 0, NULL);
    assert_text(json_array_get(json_object_get(json, "data"), 0), "msg", "a\0b", 3);
    json_decref(json);
    cluster_log_free(log);
}

static void expect_uids(const struct cluster_log *log, uint32_t max, const char *user, size_t count,
                        uint32_t first)
{
    json_t *json = log_json(log->buffer, max, user);
    json_t *data = json_object_get(json, "data");

    assert_int_equal(json_array_size(data), count);
    if (count > 0)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(data, 0), "uid")),
                         first);
    json_decref(json);
}

static void test_selection(void **state)
{
    struct cluster_log *log = cluster_log_new();
    struct cluster_log_entry entry;

    (void)state;
    expect_uids(log, 0, NULL, 0, 0);
    for (uint32_t uid = 1; uid <= 100; uid++) {
        struct cluster_log_record record = {.node = "n",
                                            .ident = uid % 10 ? "root@pam" : "other",
                                            .tag = "t",
                                            .message = "m",
                                            .uid = uid,
                                            .time = 9};
        struct buffer *buffer = cluster_log_entry_pack(&record);
        cluster_log_entry_parse(buffer->data, buffer->capacity, &entry);
        assert_true(cluster_log_insert(log, &entry));
        buffer_unref(buffer);
    }
    expect_uids(log, 0, NULL, 50, 100);
    expect_uids(log, 0, "", 50, 100);
    expect_uids(log, 3, NULL, 3, 100);
    expect_uids(log, 1000, NULL, 100, 100);
    expect_uids(log, UINT32_MAX, "other", 10, 100);
    expect_uids(log, 0, "root@pam", 50, 99);
    expect_uids(log, 0, "nobody", 0, 0);
    cluster_log_free(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_packs_what_real_nodes_sent),
        cmocka_unit_test(test_recorded_states),
        cmocka_unit_test(test_text_rules),
        cmocka_unit_test(test_long_strings_are_cut),
        cmocka_unit_test(test_malformed_entries),
        cmocka_unit_test(test_duplicates),
        cmocka_unit_test(test_a_time_to_come),
        cmocka_unit_test(test_duplicates_outlive_the_ring),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_foreign_headers),
        cmocka_unit_test(test_foreign_offsets),
        cmocka_unit_test(test_random_damage),
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_merge_of_equal_stamps),
        cmocka_unit_test(test_json_of_any_bytes),
        cmocka_unit_test(test_selection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
