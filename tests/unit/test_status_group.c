/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The status group: several executors on one made-up bus. */
#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "fixture.h"
#include "json_text.h"
#include "status/status_group.h"

#define NODES 3u

static const struct cluster_node node_list[NODES] = {
    {1, 1, "node1"}, {2, 1, "node2"}, {3, 1, "node3"}};

struct station {
    struct test_transport transport;
    struct member self;
    struct status *status;
    struct status_group *group;
};

/* Delivers in one order to all that are joined. */
struct bus {
    struct manual_clock clock;
    struct sent_queue sent;
    GString *counts; /* of the NORMAL messages of node 1, as they were delivered */
    struct station stations[NODES];
};

static void note_count(struct bus *bus, const struct sent *sent)
{
    struct header header;

    if (sent->sender.node == 1 &&
        wire_parse_header(sent->message->data, message_size(sent->message), &header) == 0 &&
        header.type == MESSAGE_NORMAL)
        g_string_append_printf(bus->counts, "%u ", (unsigned)header.count);
}

static void deliver_one(struct bus *bus)
{
    struct sent *sent = sent_queue_take(&bus->sent);

    note_count(bus, sent);
    for (size_t i = 0; i < NODES; i++)
        if (bus->stations[i].transport.joined)
            status_group_handle(bus->stations[i].group, event_message(sent->sender, sent->message));
    sent_free(sent);
}

static void deliver_all(struct bus *bus)
{
    while (bus->sent.messages.length > 0)
        deliver_one(bus);
}

/* The nodes of `joined` (bits) are the members from now on. */
static void set_members(struct bus *bus, unsigned joined)
{
    struct member members[NODES], fresh[NODES];
    size_t count = 0, fresh_count = 0;

    for (size_t i = 0; i < NODES; i++) {
        struct station *station = &bus->stations[i];
        if (!(joined & 1u << i))
            continue;
        members[count++] = station->self;
        if (!station->transport.joined)
            fresh[fresh_count++] = station->self;
    }
    for (size_t i = 0; i < NODES; i++) {
        struct station *station = &bus->stations[i];
        bool was = station->transport.joined;
        station->transport.joined = joined & 1u << i;
        if (station->transport.joined && !was)
            status_group_handle(station->group, event_connected(station->self));
        if (station->transport.joined)
            status_group_handle(station->group,
                                event_configuration(members, count, fresh, fresh_count));
        else if (was)
            status_group_handle(station->group, event_new(EVENT_DISCONNECTED));
    }
    deliver_all(bus);
}

static int set_up(void **state)
{
    struct bus *bus = g_new0(struct bus, 1);

    manual_clock_init(&bus->clock, 1000000, 1000);
    sent_queue_init(&bus->sent);
    bus->counts = g_string_new(NULL);
    for (uint32_t i = 0; i < NODES; i++) {
        struct station *station = &bus->stations[i];
        g_autofree char *address = g_strdup_printf("10.0.0.%u", i + 1);
        test_transport_init(&station->transport, &bus->sent, &station->self);
        station->self = (struct member){i + 1, 100 + i};
        station->status =
            status_new(node_list[i].name, address, station->self.pid, &bus->clock.source);
        status_set_nodes(station->status, "lab", 1, node_list, NODES);
        station->group = status_group_new(station->status, &station->transport.transport,
                                          &bus->clock.source, (struct member){0, 0});
    }
    *state = bus;
    return 0;
}

static int tear_down(void **state)
{
    struct bus *bus = *state;

    for (size_t i = 0; i < NODES; i++) {
        status_group_free(bus->stations[i].group);
        status_free(bus->stations[i].status);
    }
    sent_queue_destroy(&bus->sent);
    g_string_free(bus->counts, TRUE);
    g_free(bus);
    return 0;
}

static int set(struct bus *bus, size_t node, const char *name, const char *value)
{
    return status_group_set(bus->stations[node].group, name, value, strlen(value));
}

static void expect_stored(struct bus *bus, size_t at, const char *node, const char *name,
                          const char *expected)
{
    struct buffer *value = status_get(bus->stations[at].status, node, name);

    if (!expected) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    assert_int_equal(value->capacity, strlen(expected));
    assert_memory_equal(value->data, expected, value->capacity);
    buffer_unref(value);
}

/* online and ip of a node as `at` sees them; ip NULL: not known */
static void expect_node(struct bus *bus, size_t at, const char *node, int online, const char *ip)
{
    json_t *json = json_of_text(status_members_text(bus->stations[at].status));
    json_t *object = json_object_get(json_object_get(json, "nodelist"), node);

    assert_int_equal(json_integer_value(json_object_get(object, "online")), online);
    const char *shown = json_string_value(json_object_get(object, "ip"));
    if (ip)
        assert_string_equal(shown, ip);
    else
        assert_null(shown);
    json_decref(json);
}

static size_t log_entries(struct bus *bus, size_t at)
{
    json_t *json = json_of_text(status_cluster_log_text(bus->stations[at].status, 1000, NULL));
    size_t count = json_array_size(json_object_get(json, "data"));

    json_decref(json);
    return count;
}

static void expect_same_logs(struct bus *bus, size_t a, size_t b)
{
    json_t *first = json_of_text(status_cluster_log_text(bus->stations[a].status, 1000, NULL));
    json_t *second = json_of_text(status_cluster_log_text(bus->stations[b].status, 1000, NULL));

    assert_true(json_equal(first, second));
    json_decref(first);
    json_decref(second);
}

static void test_alone_sends_the_address_once(void **state)
{
    struct bus *bus = *state;
    struct station *station = &bus->stations[0];

    assert_int_equal(set(bus, 0, "key", "before"), 0);
    assert_int_equal(bus->sent.total, 0);
    set_members(bus, 1);
    assert_int_equal(bus->sent.total, 1);
    assert_int_equal(status_group_mode(station->group), MODE_SYNCED);
    status_group_handle(station->group, event_configuration(&station->self, 1, NULL, 0));
    assert_int_equal(bus->sent.total, 1);
    expect_node(bus, 0, "node1", 1, "10.0.0.1");
    expect_node(bus, 0, "node2", 0, NULL);
}

static void expect_release(struct bus *bus, size_t place, uint32_t node, const char *expected)
{
    g_autofree char *release = status_release_of(bus->stations[place].status, node);

    if (expected)
        assert_string_equal(release, expected);
    else
        assert_null(release);
}

/* Who runs what: as far as they tell, and as long as they are the processes that told it. */
static void test_releases(void **state)
{
    struct bus *bus = *state;

    status_set_release(bus->stations[0].status, "1.0");
    status_set_release(bus->stations[1].status, "2.0");
    assert_int_equal(set(bus, 0, "pmxcfs-release", "3.0"), -EINVAL); /* no client's */
    set_members(bus, 7);
    for (size_t i = 0; i < 3; i++) {
        expect_release(bus, i, 1, "1.0");
        expect_release(bus, i, 2, "2.0");
        expect_release(bus, i, 3, NULL);
        expect_release(bus, i, 9, NULL);
        expect_stored(bus, i, "node1", "pmxcfs-release", NULL); /* no value */
    }
    /* another process, of an implementation that does not tell */
    set_members(bus, 5);
    status_set_release(bus->stations[1].status, NULL);
    set_members(bus, 7);
    expect_release(bus, 0, 1, "1.0");
    expect_release(bus, 0, 2, NULL);
    expect_release(bus, 2, 1, "1.0");
    status_set_release(bus->stations[1].status, "2.1");
    set_members(bus, 5);
    set_members(bus, 7);
    expect_release(bus, 0, 2, "2.1");
}

static void test_values_travel(void **state)
{
    struct bus *bus = *state;

    /* set before anything is joined: goes out at the synchronisation */
    assert_int_equal(set(bus, 0, "early", "bird"), 0);
    assert_int_equal(set(bus, 1, "rrd/x", "lost"), -EINVAL);
    set_members(bus, 3);
    expect_stored(bus, 1, "node1", "early", "bird");
    expect_node(bus, 0, "node2", 1, "10.0.0.2");
    expect_node(bus, 1, "node1", 1, "10.0.0.1");
    expect_node(bus, 1, "node3", 0, NULL);

    /* while synced: at once */
    assert_int_equal(set(bus, 1, "late", "owl"), 0);
    assert_int_equal(status_group_set(bus->stations[1].group, "nodeip", "10.9.9.9", 9), 0);
    assert_int_equal(status_group_set(bus->stations[1].group, "rrd/k", "1:2", 4), 0);
    deliver_all(bus);
    expect_stored(bus, 0, "node2", "late", "owl");
    expect_node(bus, 0, "node2", 1, "10.9.9.9");
    struct buffer *rrd = status_rrd_text(bus->stations[0].status);
    assert_int_equal(rrd->capacity, strlen("k:1:2\n"));
    buffer_unref(rrd);

    /* a node that joins later gets all but RRD values */
    set_members(bus, 7);
    expect_stored(bus, 2, "node1", "early", "bird");
    expect_stored(bus, 2, "node2", "late", "owl");
    expect_node(bus, 2, "node2", 1, "10.9.9.9");
    rrd = status_rrd_text(bus->stations[2].status);
    assert_int_equal(rrd->capacity, 0);
    buffer_unref(rrd);

    /* an empty value deletes everywhere; what is refused here goes nowhere */
    unsigned sent = bus->sent.total;
    g_autofree char *large = g_strnfill(32769, 'x');
    assert_int_equal(set(bus, 1, "large", large), -EFBIG);
    assert_int_equal(set(bus, 1, "", "x"), -EINVAL);
    assert_int_equal(bus->sent.total, sent);
    assert_int_equal(set(bus, 1, "late", ""), 0);
    deliver_all(bus);
    for (size_t i = 0; i < NODES; i++)
        expect_stored(bus, i, "node2", "late", NULL);
}

/* The node ids of two nodes were exchanged, and corosync started anew: what one had said is not the
 * other's. */
static void test_ids_are_exchanged(void **state)
{
    static const struct cluster_node exchanged[NODES] = {
        {1, 1, "node2"}, {2, 1, "node1"}, {3, 1, "node3"}};
    struct bus *bus = *state;
    struct station *third = &bus->stations[2];

    set_members(bus, 7);
    assert_int_equal(set(bus, 0, "key", "of node1"), 0);
    deliver_all(bus);
    expect_stored(bus, 2, "node1", "key", "of node1");
    set_members(bus, 0);
    status_set_nodes(third->status, "lab", 2, exchanged, NODES);
    expect_stored(bus, 2, "node2", "key", NULL);
    expect_stored(bus, 2, "node1", "key", NULL);
    for (uint32_t i = 0; i < 2; i++) {
        struct station *station = &bus->stations[i];
        station->self.node = 2 - i;
        status_set_nodes(station->status, "lab", 2, exchanged, NODES);
    }
    set_members(bus, 7);
    for (size_t i = 0; i < NODES; i++) {
        expect_stored(bus, i, "node1", "key", "of node1");
        expect_stored(bus, i, "node2", "key", NULL);
    }
}

/* How far another's clock is ahead is seen by the times of its messages, which can only be late. */
static void test_clocks(void **state)
{
    struct bus *bus = *state;
    struct status *second = bus->stations[1].status;
    int64_t ahead = 1;

    set_members(bus, 7);
    assert_true(status_clock_of(second, 1, &ahead));
    assert_int_equal(ahead, 0);
    assert_false(status_clock_of(second, 2, &ahead)); /* one's own needs no measuring */
    for (int i = 0; i < 2; i++) {
        bus->clock.seconds += 60; /* it is sent by a clock that is ahead ... */
        assert_int_equal(set(bus, 0, "x", "1"), 0);
        bus->clock.seconds -= 60; /* ... of those who get it */
        deliver_all(bus);
    }
    assert_true(status_clock_of(second, 1, &ahead));
    assert_int_equal(ahead, 60);
    bus->clock.seconds += 60;
    assert_int_equal(set(bus, 0, "x", "1"), 0);
    bus->clock.seconds -= 30; /* one that is late says nothing of clocks */
    deliver_all(bus);
    assert_true(status_clock_of(second, 1, &ahead));
    assert_int_equal(ahead, 60);
    set_members(bus, 6);
    assert_false(status_clock_of(second, 1, &ahead));
}

static void test_values_outlive_absence(void **state)
{
    struct bus *bus = *state;

    set_members(bus, 7);
    set(bus, 2, "key", "value");
    deliver_all(bus);
    set_members(bus, 3);
    expect_stored(bus, 0, "node3", "key", "value");
    expect_node(bus, 0, "node3", 0, "10.0.0.3");
    expect_node(bus, 2, "node1", 0, "10.0.0.1");
    expect_node(bus, 2, "node3", 0, "10.0.0.3");
    set(bus, 2, "key", "changed while away");
    expect_stored(bus, 0, "node3", "key", "value");
    set_members(bus, 7);
    expect_stored(bus, 0, "node3", "key", "changed while away");
}

static void test_log_travels(void **state)
{
    struct bus *bus = *state;

    set_members(bus, 3);
    assert_int_equal(log_entries(bus, 0), 2);
    status_group_log(bus->stations[0].group, 6, "root@pam", "test", "one", 7);
    status_group_log(bus->stations[1].group, 6, "root@pam", "test", "two", 7);
    status_group_log(bus->stations[2].group, 6, "root@pam", "test", "three, not joined", 7);
    assert_int_equal(log_entries(bus, 0), 3);
    deliver_all(bus);
    assert_int_equal(log_entries(bus, 0), 4);
    assert_int_equal(log_entries(bus, 1), 4);
    assert_int_equal(log_entries(bus, 2), 2);
    set_members(bus, 7);
    for (size_t i = 0; i < NODES; i++)
        assert_int_equal(log_entries(bus, i), 6);
    expect_same_logs(bus, 0, 1);
    expect_same_logs(bus, 0, 2);
}

static void begin_synchronisation(struct bus *bus)
{
    struct member members[] = {bus->stations[0].self, bus->stations[1].self};

    for (size_t i = 0; i < 2; i++) {
        bus->stations[i].transport.joined = true;
        status_group_handle(bus->stations[i].group, event_connected(bus->stations[i].self));
        status_group_handle(bus->stations[i].group, event_configuration(members, 2, members, 2));
    }
    assert_int_equal(status_group_mode(bus->stations[1].group), MODE_START_SYNC);
}

/* Both send their STATE. */
static void start_synchronisation(struct bus *bus)
{
    struct sent *start = sent_queue_take(&bus->sent);

    for (size_t i = 0; i < 2; i++)
        status_group_handle(bus->stations[i].group, event_message(start->sender, start->message));
    sent_free(start);
}

/* Logged while a synchronisation is under way: before the own STATE is sent, and after. */
static void test_log_during_synchronisation(void **state)
{
    struct bus *bus = *state;

    begin_synchronisation(bus);
    status_group_log(bus->stations[1].group, 6, "root", "t", "before", 1);
    start_synchronisation(bus);
    status_group_log(bus->stations[1].group, 6, "root", "t", "after", 1);
    deliver_all(bus);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(status_group_mode(bus->stations[i].group), MODE_SYNCED);
        assert_int_equal(log_entries(bus, i), 4);
    }
}

/* `times` that piece, and an end; g_free() it. */
static char *repeat(const char *piece, size_t times, const char *end)
{
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < times; i++)
        g_string_append(text, piece);
    g_string_append(text, end);
    return g_string_free(text, FALSE);
}

#define LONG_MESSAGES 13u

/* Longer than an entry; what makes several bytes there, one, or none; what is no UTF-8 from its
 * beginning, or only behind what an entry takes. */
static void log_long_messages(struct status_group *group)
{
    static const char *const parts[LONG_MESSAGES][2] = {
        {"x", ""},           {"\"", ""},        {"\n", "x"},      {"\x7f", ""},
        {"\u00e9", ""},      {"\u20acx", ""},   {"\xff", ""},     {"\U0001f600", "seen"},
        {"\u00e9", "\xff"},  {"x\x7f", "\xc3"}, {"\"\n", "\xff"}, {"\\u00e9", ""},
        {"\U0001f600x", ""},
    };

    for (size_t i = 0; i < LONG_MESSAGES; i++) {
        g_autofree char *message = repeat(parts[i][0], 5000, parts[i][1]);
        status_group_log(group, 6, "root", "t", message, 1);
    }
}

/* They make the entries that they make at other times. */
static void test_long_messages_during_synchronisation(void **state)
{
    struct bus *bus = *state;

    begin_synchronisation(bus);
    start_synchronisation(bus);
    log_long_messages(bus->stations[1].group);
    deliver_all(bus);
    assert_int_equal(status_group_mode(bus->stations[1].group), MODE_SYNCED);
    log_long_messages(bus->stations[1].group);
    json_t *json = json_of_text(status_cluster_log_text(bus->stations[1].status, 1000, NULL));
    json_t *entries = json_object_get(json, "data");
    assert_true(json_array_size(entries) >= 2 * LONG_MESSAGES);
    for (size_t i = 0; i < LONG_MESSAGES; i++) {
        json_t *now = json_object_get(json_array_get(entries, i), "msg");
        json_t *held = json_object_get(json_array_get(entries, i + LONG_MESSAGES), "msg");
        assert_true(json_equal(now, held));
    }
    json_decref(json);
}

static size_t allocated(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* A synchronisation may hang for long, and messages have up to 1 MiB. */
static void test_held_messages_are_cut(void **state)
{
    struct bus *bus = *state;
    g_autofree char *message = repeat("0123456789abcdef", 65000, "");

    begin_synchronisation(bus);
    start_synchronisation(bus);
    size_t before = allocated();
    for (size_t i = 0; i < 100; i++)
        status_group_log(bus->stations[1].group, 6, "root", "t", message, 1);
    assert_true(allocated() < before + ((size_t)4 << 20));
    deliver_all(bus);
}

static void inject(struct bus *bus, uint16_t subtype, const void *body, size_t size)
{
    static uint64_t count = 1000;
    struct buffer *message = wire_build_normal(subtype, STATUS_PROTOCOL, ++count, 1000, body, size);

    sent_queue_add(&bus->sent, bus->stations[1].self, message);
    buffer_unref(message);
    deliver_all(bus);
}

/* Nothing that a member says here makes others leave. */
static void test_malformed_messages(void **state)
{
    struct bus *bus = *state;
    g_autofree uint8_t *bytes = g_malloc(300000);

    set_members(bus, 7);
    size_t entries = log_entries(bus, 0);
    memset(bytes, 'k', 300000);
    inject(bus, 1, bytes, 0);
    inject(bus, 1, bytes, 255);
    inject(bus, 1, bytes, 256);
    inject(bus, 1, bytes, 5000);
    inject(bus, 2, bytes, 300);
    inject(bus, 3, bytes, 0);
    inject(bus, 3, bytes, 300);
    inject(bus, 4, bytes, 10);
    inject(bus, 0xffff, bytes, 0);
    memset(bytes, 0, 256);
    inject(bus, 1, bytes, 300); /* an empty key */
    memcpy(bytes, "nodeip", 7);
    inject(bus, 1, bytes, 256 + 9); /* without a NUL */
    inject(bus, 1, bytes, 256 + 300);
    memcpy(bytes, "rrd/x", 6);
    inject(bus, 1, bytes, 256 + 9);
    memcpy(bytes, "large", 6);
    inject(bus, 1, bytes, 256 + 32769);
    memset(bytes + 4, 0xee, 252);
    memcpy(bytes, "key", 4); /* the rest of the field is garbage */
    g_strlcpy((char *)bytes + 256, "value", 6);
    inject(bus, 1, bytes, 256 + 5);
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(status_group_mode(bus->stations[i].group), MODE_SYNCED);
        assert_int_equal(bus->stations[i].transport.leaves, 0);
        assert_int_equal(log_entries(bus, i), entries);
    }
    expect_node(bus, 0, "node2", 1, "10.0.0.2");
    expect_stored(bus, 0, "node2", "large", NULL);
    expect_stored(bus, 0, "node2", "key", "value");
    expect_stored(bus, 1, "node2", "key", NULL); /* one's own are ignored */
}

/* A member whose log buffer is garbage, or too short, spoils nothing for the others. */
static void test_malformed_states(void **state)
{
    struct bus *bus = *state;
    struct member members[] = {bus->stations[0].self, bus->stations[1].self, {9, 9}};
    static const size_t sizes[] = {0, 100, CLUSTER_LOG_SIZE};
    g_autofree uint8_t *bytes = g_malloc(CLUSTER_LOG_SIZE);

    memset(bytes, 0xab, CLUSTER_LOG_SIZE);
    for (size_t round = 0; round < G_N_ELEMENTS(sizes); round++) {
        for (size_t i = 0; i < 2; i++) {
            bus->stations[i].transport.joined = true;
            status_group_handle(bus->stations[i].group, event_connected(bus->stations[i].self));
            status_group_handle(bus->stations[i].group,
                                event_configuration(members, 3, members, 3));
        }
        const struct sent *start = g_queue_peek_head(&bus->sent.messages);
        struct header header;
        assert_int_equal(wire_parse_header(start->message->data, start->message->capacity, &header),
                         0);
        struct buffer *message = wire_build_sync(MESSAGE_STATE, STATUS_PROTOCOL, &header.epoch,
                                                 1000, bytes, sizes[round]);
        sent_queue_add(&bus->sent, members[2], message);
        buffer_unref(message);
        deliver_all(bus);
        for (size_t i = 0; i < 2; i++) {
            assert_int_equal(status_group_mode(bus->stations[i].group), MODE_SYNCED);
            assert_int_equal(log_entries(bus, i), 2);
        }
    }
}

/* Values that the transport did not take go out as soon as sending is seen to work. */
static void test_refused_sends(void **state)
{
    struct bus *bus = *state;

    set_members(bus, 3);
    bus->stations[0].transport.refuse = -ENOBUFS;
    assert_int_equal(set(bus, 0, "a", "1"), 0);
    assert_int_equal(set(bus, 0, "b", "2"), 0);
    deliver_all(bus);
    expect_stored(bus, 0, NULL, "a", "1");
    expect_stored(bus, 1, "node1", "a", NULL);
    bus->stations[0].transport.refuse = 0;
    assert_int_equal(set(bus, 0, "c", "3"), 0);
    deliver_all(bus);
    expect_stored(bus, 1, "node1", "a", "1");
    expect_stored(bus, 1, "node1", "b", "2");
    expect_stored(bus, 1, "node1", "c", "3");

    /* the same when the transport finds out later */
    unsigned sent = bus->sent.total;
    status_group_handle(bus->stations[0].group, event_send_failed(SEND_NORMAL, 0));
    assert_int_equal(bus->stations[0].transport.leaves, 0);
    set(bus, 0, "d", "4");
    deliver_all(bus);
    assert_int_equal(bus->sent.total, sent + 1 + 3 + 1); /* d; then a b c and nodeip */
}

/* A value that is sent again and again would leave no room for the others. */
static void test_more_values_than_room(void **state)
{
    struct bus *bus = *state;
    struct station *station = &bus->stations[0];
    char name[] = "a";

    set_members(bus, 3);
    station->transport.refuse = -ENOBUFS;
    for (; *name <= 'j'; ++*name)
        assert_int_equal(set(bus, 0, name, name), 0);
    station->transport.refuse = 0;
    station->transport.room = 4;
    unsigned sent = bus->sent.total;
    assert_int_equal(set(bus, 0, "last", "1"), 0);
    for (unsigned i = 0; i < 100 && bus->sent.messages.length > 0; i++)
        deliver_one(bus);
    assert_int_equal(bus->sent.total, sent + 11);
    while (--*name >= 'a')
        expect_stored(bus, 1, "node1", name, name);
    /* after a synchronisation too */
    station->transport.room = 0;
    set_members(bus, 1);
    station->transport.room = 4;
    sent = bus->sent.total;
    set_members(bus, 3);
    assert_in_range(bus->sent.total, sent + 12, sent + 12 + 8);
}

/* A value that was deleted when nothing could be sent is not left with the others. */
static void test_refused_deletion(void **state)
{
    struct bus *bus = *state;
    struct station *station = &bus->stations[0];

    set_members(bus, 3);
    assert_int_equal(set(bus, 0, "a", "1"), 0);
    assert_int_equal(set(bus, 0, "b", "1"), 0);
    deliver_all(bus);
    station->transport.refuse = -ENOBUFS;
    assert_int_equal(set(bus, 0, "a", ""), 0);
    expect_stored(bus, 1, "node1", "a", "1");
    station->transport.refuse = 0;
    assert_int_equal(set(bus, 0, "d", "1"), 0);
    deliver_all(bus);
    expect_stored(bus, 1, "node1", "a", NULL);
    expect_stored(bus, 1, "node1", "b", "1");
}

/* doc/cluster.md, "Count" */
static void test_counts(void **state)
{
    struct bus *bus = *state;
    struct station *station = &bus->stations[0];

    set_members(bus, 1); /* 1: its address */
    assert_int_equal(set(bus, 0, "a", "1"), 0);
    status_group_log(station->group, 6, "root@pam", "test", "text", 7);
    deliver_all(bus);
    assert_string_equal(bus->counts->str, "1 2 3 ");
    station->transport.refuse = -ENOBUFS;
    assert_int_equal(set(bus, 0, "b", "2"), 0); /* uses 4 up */
    station->transport.refuse = 0;
    assert_int_equal(set(bus, 0, "c", "3"), 0);
    deliver_all(bus); /* 6: b once more */
    assert_string_equal(bus->counts->str, "1 2 3 5 6 ");
    set_members(bus, 0);
    assert_int_equal(set(bus, 0, "a", "4"), 0); /* is not sent, and has no number */
    set_members(bus, 1);                        /* 7: the address */
    assert_int_equal(set(bus, 0, "d", "5"), 0);
    deliver_all(bus);
    assert_string_equal(bus->counts->str, "1 2 3 5 6 7 8 ");
}

static void test_synchronisation_cannot_be_sent(void **state)
{
    struct bus *bus = *state;
    struct station *station = &bus->stations[1];

    set_members(bus, 3);
    status_group_handle(station->group, event_send_failed(SEND_SYNC, 0));
    assert_int_equal(station->transport.leaves, 1);
    assert_int_equal(station->transport.stays_out, 0);
    assert_int_equal(status_group_mode(station->group), MODE_LEAVE);
    unsigned sent = bus->sent.total;
    assert_int_equal(set(bus, 1, "key", "kept for later"), 0);
    assert_int_equal(bus->sent.total, sent);

    set_members(bus, 1);
    set_members(bus, 3);
    assert_int_equal(status_group_mode(station->group), MODE_SYNCED);
    expect_stored(bus, 0, "node2", "key", "kept for later");

    station->transport.refuse = -ENOBUFS; /* its STATE is refused */
    set_members(bus, 7);
    assert_int_equal(station->transport.leaves, 2);
}

static void test_newer_protocol(void **state)
{
    struct bus *bus = *state;
    struct buffer *message = wire_build_normal(1, STATUS_PROTOCOL + 1, 1, 1000, NULL, 0);

    set_members(bus, 1);
    status_group_handle(bus->stations[0].group, event_message(bus->stations[1].self, message));
    assert_int_equal(bus->stations[0].transport.stays_out, 1);
    buffer_unref(message);
}

static void test_local_mode(void **state)
{
    struct bus *bus = *state;
    struct status *status = status_new("alone", NULL, 1, &bus->clock.source);
    struct status_group *group =
        status_group_new(status, NULL, &bus->clock.source, (struct member){0, 0});

    assert_int_equal(status_group_set(group, "key", "value", 5), 0);
    status_group_log(group, 6, "root", "t", "m", 1);
    struct buffer *value = status_get(status, NULL, "key");
    assert_non_null(value);
    buffer_unref(value);
    json_t *json = json_of_text(status_cluster_log_text(status, 0, NULL));
    assert_int_equal(json_array_size(json_object_get(json, "data")), 2);
    json_decref(json);
    status_group_free(group);
    status_free(status);
}

static void *set_much(void *data)
{
    struct station *station = data;

    for (int i = 0; i < 200; i++) {
        g_autofree char *value = g_strdup_printf("%d", i);
        status_group_set(station->group, "key", value, strlen(value));
        status_group_log(station->group, 6, "root", "t", value, 1);
    }
    return NULL;
}

/* Several threads set and log while the group synchronises: counts arrive in order, and in the end
 * the others have what this node has. */
static void test_threads(void **state)
{
    struct bus *bus = *state;
    pthread_t threads[2];
    uint64_t last = 0;

    set_members(bus, 1);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, set_much, &bus->stations[0]), 0);
    struct member alone = bus->stations[0].self;
    for (int i = 0; i < 50; i++) {
        status_group_handle(bus->stations[0].group, event_configuration(&alone, 1, NULL, 0));
        buffer_unref(status_version_text(bus->stations[0].status));
    }
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    for (GList *item = bus->sent.messages.head; item; item = item->next) {
        const struct sent *sent = item->data;
        struct header header;
        wire_parse_header(sent->message->data, sent->message->capacity, &header);
        assert_true(header.count > last);
        last = header.count;
    }
    assert_int_equal(bus->sent.messages.length, 800);
    set_members(bus, 3);
    struct buffer *own = status_get(bus->stations[0].status, NULL, "key");
    struct buffer *theirs = status_get(bus->stations[1].status, "node1", "key");
    assert_int_equal(own->capacity, theirs->capacity);
    assert_memory_equal(own->data, theirs->data, own->capacity);
    buffer_unref(own);
    buffer_unref(theirs);
    expect_same_logs(bus, 0, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_alone_sends_the_address_once),
        TEST(test_values_travel),
        TEST(test_releases),
        TEST(test_ids_are_exchanged),
        TEST(test_clocks),
        TEST(test_values_outlive_absence),
        TEST(test_log_travels),
        TEST(test_log_during_synchronisation),
        TEST(test_long_messages_during_synchronisation),
        TEST(test_held_messages_are_cut),
        TEST(test_malformed_messages),
        TEST(test_malformed_states),
        TEST(test_refused_sends),
        TEST(test_more_values_than_room),
        TEST(test_refused_deletion),
        TEST(test_counts),
        TEST(test_synchronisation_cannot_be_sent),
        TEST(test_newer_protocol),
        TEST(test_local_mode),
        TEST(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
