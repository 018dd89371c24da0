/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The node list and the texts of struct status: what raises clinfo, what is shown, what is kept. */
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "fixture.h"
#include "json_text.h"
#include "status/status.h"

struct fixture {
    struct manual_clock clock;
    struct status *status;
};

static int set_up(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    manual_clock_init(&fixture->clock, 0, 5000);
    fixture->status = status_new("alpha", "10.0.0.1", 42, &fixture->clock.source);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    status_free(fixture->status);
    g_free(fixture);
    return 0;
}

static json_t *parse_literal(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, 0, &error);

    if (!json)
        fail_msg("%s: %s", error.text, text);
    return json;
}

static void expect_json(struct buffer *text, const char *expected)
{
    json_t *actual = json_of_text(text), *wanted = parse_literal(expected);

    if (!json_equal(actual, wanted)) {
        char *dump = json_dumps(actual, 0);
        fail_msg("expected %s got %s", expected, dump);
    }
    json_decref(actual);
    json_decref(wanted);
}

static int64_t clinfo(struct status *status)
{
    json_t *json = json_of_text(status_version_text(status));
    int64_t value = json_integer_value(json_object_get(json, "clinfo"));

    json_decref(json);
    return value;
}

static const struct cluster_node nodes[] = {{3, 1, "gamma"}, {1, 1, "alpha"}, {2, 1, "beta"}};

static void test_alone(void **state)
{
    struct fixture *fixture = *state;

    expect_json(status_members_text(fixture->status), "{\"nodename\":\"alpha\",\"version\":1}");
}

static void test_cluster(void **state)
{
    struct fixture *fixture = *state;
    struct status *status = fixture->status;
    const uint32_t online[] = {1, 3};

    status_set_nodes(status, "lab", 7, nodes, 3);
    status_set_own_id(status, 1);
    status_set_quorate(status, true);
    status_set_online(status, online, 2);
    assert_int_equal(status_set_remote(status, 3, "nodeip", "10.0.0.3", 9), 0);
    int64_t version = clinfo(status);
    g_autofree char *expected = g_strdup_printf(
        "{\"nodename\":\"alpha\",\"version\":%d,"
        "\"cluster\":{\"name\":\"lab\",\"version\":7,\"nodes\":3,\"quorate\":1},"
        "\"nodelist\":{\"alpha\":{\"id\":1,\"online\":1,\"ip\":\"10.0.0.1\"},"
        "\"beta\":{\"id\":2,\"online\":0},\"gamma\":{\"id\":3,\"online\":1,\"ip\":\"10.0.0.3\"}}}",
        (int)version);
    expect_json(status_members_text(status), expected);

    /* an address outlives its node's absence */
    status_set_online(status, online, 1);
    json_t *json = json_of_text(status_members_text(status));
    json_t *gamma = json_object_get(json_object_get(json, "nodelist"), "gamma");
    assert_int_equal(json_integer_value(json_object_get(gamma, "online")), 0);
    assert_string_equal(json_string_value(json_object_get(gamma, "ip")), "10.0.0.3");
    json_decref(json);
}

static void test_what_raises_clinfo(void **state)
{
    struct fixture *fixture = *state;
    struct status *status = fixture->status;
    const uint32_t online[] = {1, 2};
    int64_t before = clinfo(status);

#define RISES(call)                                                                                \
    do {                                                                                           \
        call;                                                                                      \
        assert_true(clinfo(status) > before);                                                      \
        before = clinfo(status);                                                                   \
        call; /* the same again is no change */                                                    \
        assert_int_equal(clinfo(status), before);                                                  \
    } while (0)

    RISES(status_set_nodes(status, "lab", 1, nodes, 2));
    RISES(status_set_nodes(status, "lab", 1, nodes, 3));
    RISES(status_set_nodes(status, "lab", 2, nodes, 3));
    RISES(status_set_nodes(status, "other", 2, nodes, 3));
    RISES(status_set_quorate(status, true));
    RISES(status_set_quorate(status, false));
    RISES(status_set_online(status, online, 1));
    RISES(status_set_online(status, online, 2));
    RISES(status_set_online(status, NULL, 0));
    RISES(status_set_own(status, "nodeip", "10.0.0.9", 9));
    RISES(status_set_remote(status, 2, "nodeip", "10.0.0.2", 9));
}

static void test_odd_node_lists(void **state)
{
    struct fixture *fixture = *state;
    const struct cluster_node odd[] = {
        {0, 1, "zero"},          {1, 1, NULL},      {2, 1, ""},
        {3, 1, "three"},         {3, 1, "same id"}, {4, 1, "three"},
        {5, 1, "bad\xff\"name"},
    };

    status_set_nodes(fixture->status, "l\xff\"b", 1, odd, G_N_ELEMENTS(odd));
    json_t *json = json_of_text(status_members_text(fixture->status));
    json_t *list = json_object_get(json, "nodelist");
    assert_int_equal(json_object_size(list), 2);
    assert_non_null(json_object_get(list, "three"));
    assert_non_null(json_object_get(list, "bad\xef\xbf\xbd\"name"));
    json_decref(json);
}

static void expect_kvstore(struct status *status, const char *expected)
{
    json_t *json = json_of_text(status_version_text(status));
    json_t *wanted = parse_literal(expected);

    if (!json_equal(json_object_get(json, "kvstore"), wanted)) {
        char *dump = json_dumps(json_object_get(json, "kvstore"), 0);
        fail_msg("expected %s got %s", expected, dump);
    }
    json_decref(json);
    json_decref(wanted);
}

static void expect_stored(struct status *status, const char *node, const char *name,
                          const char *expected)
{
    struct buffer *value = status_get(status, node, name);

    if (!expected) {
        assert_null(value);
        return;
    }
    assert_non_null(value);
    assert_int_equal(value->capacity, strlen(expected));
    assert_memory_equal(value->data, expected, strlen(expected));
    buffer_unref(value);
}

static void test_values(void **state)
{
    struct fixture *fixture = *state;
    struct status *status = fixture->status;

    status_set_nodes(status, "lab", 1, nodes, 3);
    status_set_own_id(status, 1);
    expect_kvstore(status, "{\"alpha\":{}}");
    assert_int_equal(status_set_own(status, "key", "value", 5), 0);
    assert_int_equal(status_set_own(status, "bad\xff", "value", 5), 0);
    assert_int_equal(status_set_own(status, "nodeip", "10.0.0.9", 9), 0);
    assert_int_equal(status_set_own(status, "rrd/x", "1:2", 4), 0);
    assert_int_equal(status_set_own(status, "rrd/x", "1:2", 3), -EINVAL);
    assert_int_equal(status_set_own(status, "", "1:2", 3), -EINVAL);
    assert_int_equal(status_set_remote(status, 2, "theirs", "x", 1), 0);
    assert_int_equal(status_set_remote(status, 2, "theirs", "y", 1), 0);
    assert_int_equal(status_set_remote(status, 3, "nodeip", "10.0.0.3", 9), 0);
    assert_int_equal(status_set_remote(status, 4, "theirs", "x", 1), -ENOENT);
    assert_int_equal(status_set_remote(status, 1, "mine", "x", 1), -ENOENT);
    expect_kvstore(status, "{\"alpha\":{\"key\":0,\"bad\xef\xbf\xbd\":0},\"beta\":{\"theirs\":1}}");

    expect_stored(status, NULL, "key", "value");
    expect_stored(status, "", "key", "value");
    expect_stored(status, "alpha", "key", "value");
    expect_stored(status, "beta", "theirs", "y");
    expect_stored(status, "beta", "key", NULL);
    expect_stored(status, "gamma", "key", NULL);
    expect_stored(status, "nobody", "key", NULL);
    expect_stored(status, NULL, "nodeip", NULL);
    expect_stored(status, NULL, "rrd/x", NULL);

    assert_int_equal(status_set_remote(status, 2, "theirs", NULL, 0), 0);
    expect_stored(status, "beta", "theirs", NULL);
    assert_int_equal(status_set_remote(status, 2, "theirs", "z", 1), 0);
    expect_kvstore(status, "{\"alpha\":{\"key\":0,\"bad\xef\xbf\xbd\":0},\"beta\":{\"theirs\":0}}");
    /* a node that leaves the list takes its values along */
    status_set_nodes(status, "lab", 1, nodes, 2);
    status_set_nodes(status, "lab", 1, nodes, 3);
    expect_kvstore(status, "{\"alpha\":{\"key\":0,\"bad\xef\xbf\xbd\":0}}");
}

/* Polling gives the very same buffer until something changes. */
static void test_texts_are_kept(void **state)
{
    struct fixture *fixture = *state;
    struct status *status = fixture->status;
    struct buffer *(*const texts[])(struct status *) = {status_version_text, status_members_text,
                                                        status_rrd_text};

    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        struct buffer *first = texts[i](status), *second = texts[i](status);
        assert_ptr_equal(first, second);
        status_set_quorate(status, i % 2 == 0);
        status_set_own(status, "rrd/x", "1", 2);
        struct buffer *third = texts[i](status);
        assert_ptr_not_equal(first, third);
        buffer_unref(first);
        buffer_unref(second);
        buffer_unref(third);
    }
    struct buffer *first = status_cluster_log_text(status, 0, NULL);
    struct buffer *second = status_cluster_log_text(status, 50, "");
    assert_ptr_equal(first, second);
    buffer_unref(status_log(status, 6, "root", "t", "m", 1));
    struct buffer *third = status_cluster_log_text(status, 0, NULL);
    assert_ptr_not_equal(first, third);
    buffer_unref(first);
    buffer_unref(second);
    buffer_unref(third);
}

static void test_rrd_text(void **state)
{
    struct fixture *fixture = *state;
    struct status *status = fixture->status;

    status_set_nodes(status, "lab", 1, nodes, 3);
    status_set_own_id(status, 1);
    atomic_store(&fixture->clock.milliseconds, 1000000);
    assert_int_equal(status_set_own(status, "rrd/pve2-node/alpha", "1:2", 4), 0);
    assert_int_equal(status_set_remote(status, 2, "rrd/pve2-node/beta", "3:4", 4), 0);
    struct buffer *text = status_rrd_text(status);
    static const char expected[] = "pve2-node/alpha:1:2\npve2-node/beta:3:4\n";
    assert_int_equal(text->capacity, strlen(expected));
    assert_memory_equal(text->data, expected, strlen(expected));
    buffer_unref(text);
    atomic_store(&fixture->clock.milliseconds, 1000000 + 302001);
    text = status_rrd_text(status);
    assert_int_equal(text->capacity, 0);
    buffer_unref(text);
}

struct fake_listener {
    struct rrd_listener listener;
    GString *heard;
};

static void hear(struct rrd_listener *listener, const char *key, const char *value)
{
    struct fake_listener *fake = container_of(listener, struct fake_listener, listener);

    g_string_append_printf(fake->heard, "%s=%s;", key, value);
}

static void test_rrd_listener(void **state)
{
    struct fixture *fixture = *state;
    struct fake_listener fake = {.listener.value = hear, .heard = g_string_new(NULL)};

    status_set_nodes(fixture->status, "lab", 1, nodes, 3);
    status_set_rrd_listener(fixture->status, &fake.listener);
    status_set_own(fixture->status, "rrd/a", "1", 2);
    status_set_own(fixture->status, "plain", "1", 2);
    status_set_own(fixture->status, "rrd/bad", "1", 1);
    status_set_remote(fixture->status, 2, "rrd/b", "2", 2);
    status_set_remote(fixture->status, 9, "rrd/c", "3", 2);
    assert_string_equal(fake.heard->str, "a=1;b=2;");
    g_string_free(fake.heard, TRUE);
}

static void test_first_log_entry(void **state)
{
    struct fixture *fixture = *state;

    expect_json(status_cluster_log_text(fixture->status, 0, NULL),
                "{\"data\":[{\"uid\":1,\"time\":5000,\"pri\":6,\"tag\":\"cluster\",\"pid\":42,"
                "\"node\":\"alpha\",\"user\":\"root\",\"msg\":\"starting cluster log\"}]}");
}

/* What this node logs is taken by itself and others whatever its clock does. */
static void test_clock_set_back(void **state)
{
    struct fixture *fixture = *state;
    struct status *other = status_new("beta", NULL, 1, &fixture->clock.source);

    for (int i = 0; i < 3; i++) {
        fixture->clock.seconds -= 100;
        struct buffer *entry = status_log(fixture->status, 6, "root", "t", "m", 1);
        assert_int_equal(status_log_remote(other, entry->data, entry->capacity), 0);
        assert_int_equal(status_log_remote(other, entry->data, entry->capacity), 0);
        buffer_unref(entry);
    }
    json_t *json = json_of_text(status_cluster_log_text(other, 0, NULL));
    assert_int_equal(json_array_size(json_object_get(json, "data")), 4);
    json_decref(json);
    assert_int_equal(status_log_remote(other, (const uint8_t *)"short", 5), -EBADMSG);
    status_free(other);
}

struct fake_guests {
    struct guest_source source;
    struct guest_list list;
    unsigned taken;
    struct status *raise; /* its vmlist counter rises while the guests are copied */
};

static struct guest_snapshot *take_guests(struct guest_source *source)
{
    struct fake_guests *guests = container_of(source, struct fake_guests, source);

    guests->taken++;
    if (guests->raise)
        status_rebuilt(guests->raise, NULL);
    return guest_snapshot_new(&guests->list);
}

static void add_guest(struct fake_guests *guests, uint32_t id, enum guest_type type,
                      const char *node)
{
    struct guest_path path = {.id = id, .type = type, .node = node, .node_length = strlen(node)};

    g_hash_table_replace(guests->list.by_id, GUINT_TO_POINTER(id),
                         guest_new(&path, ++guests->list.last_version));
}

static void test_vmlist(void **state)
{
    struct fixture *fixture = *state;
    struct status *status = fixture->status;
    struct fake_guests guests = {
        .source.take = take_guests,
        .list.by_id = g_hash_table_new_full(NULL, NULL, NULL, g_free),
    };

    status_set_guest_source(status, &guests.source);
    expect_json(status_vmlist_text(status), "{\"version\":0}");
    status_rebuilt(status, NULL);
    add_guest(&guests, 4000000000, GUEST_QEMU, "alpha");
    add_guest(&guests, 100, GUEST_LXC, "be\xff\"ta");
    add_guest(&guests, 101, GUEST_OPENVZ, "alpha");
    const char *expected =
        "{\"version\":1,\"ids\":{"
        "\"100\":{\"node\":\"be\xef\xbf\xbd\\\"ta\",\"type\":\"lxc\",\"version\":2},"
        "\"101\":{\"node\":\"alpha\",\"type\":\"openvz\",\"version\":3},"
        "\"4000000000\":{\"node\":\"alpha\",\"type\":\"qemu\",\"version\":1}}}";
    expect_json(status_vmlist_text(status), expected);
    assert_int_equal(guests.taken, 2);
    expect_json(status_vmlist_text(status), expected);
    assert_int_equal(guests.taken, 2);

    /* a counter that rises between the copy and the text is not shown with that copy */
    status_rebuilt(status, NULL);
    guests.raise = status;
    json_t *json = json_of_text(status_vmlist_text(status));
    assert_int_equal(json_integer_value(json_object_get(json, "version")), 2);
    json_decref(json);
    guests.raise = NULL;
    json = json_of_text(status_vmlist_text(status));
    assert_int_equal(json_integer_value(json_object_get(json, "version")), 3);
    json_decref(json);
    g_hash_table_destroy(guests.list.by_id);
}

static void test_vmlist_of_many(void **state)
{
    struct fixture *fixture = *state;
    struct fake_guests guests = {
        .source.take = take_guests,
        .list.by_id = g_hash_table_new_full(NULL, NULL, NULL, g_free),
    };

    for (uint32_t id = 100; id < 20100; id++)
        add_guest(&guests, id, GUEST_QEMU, id % 2 ? "node1" : "node2");
    status_set_guest_source(fixture->status, &guests.source);
    struct buffer *text = status_vmlist_text(fixture->status);
    assert_true(text->capacity < 1300000);
    json_t *json = json_of_text(text);
    assert_int_equal(json_object_size(json_object_get(json, "ids")), 20000);
    json_decref(json);
    g_hash_table_destroy(guests.list.by_id);
}

static void *write_much(void *data)
{
    struct fixture *fixture = data;

    for (int i = 0; i < 300; i++) {
        g_autofree char *value = g_strdup_printf("%d", i);
        status_set_own(fixture->status, "key", value, strlen(value));
        status_set_own(fixture->status, "rrd/key", value, strlen(value) + 1);
        status_set_remote(fixture->status, 2, "nodeip", value, strlen(value) + 1);
        status_rebuilt(fixture->status, NULL);
        buffer_unref(status_log(fixture->status, 6, "root", "t", value, 1));
        status_set_quorate(fixture->status, i % 2);
    }
    return NULL;
}

static void *read_much(void *data)
{
    struct fixture *fixture = data;

    for (int i = 0; i < 300; i++) {
        buffer_unref(status_version_text(fixture->status));
        buffer_unref(status_members_text(fixture->status));
        buffer_unref(status_cluster_log_text(fixture->status, i % 60u, NULL));
        buffer_unref(status_rrd_text(fixture->status));
        buffer_unref(status_get(fixture->status, NULL, "key"));
        buffer_unref(status_vmlist_text(fixture->status));
        struct buffer *buffer = status_log_buffer(fixture->status);
        struct cluster_log_buffer foreign = {buffer->data, buffer->capacity};
        status_log_merge(fixture->status, &foreign, 1);
        buffer_unref(buffer);
    }
    return NULL;
}

static struct guest_snapshot *take_nothing(struct guest_source *source)
{
    g_autoptr(GHashTable) nobody = g_hash_table_new(NULL, NULL);
    const struct guest_list list = {.by_id = nobody};

    (void)source;
    return guest_snapshot_new(&list);
}

/* For ThreadSanitizer; and what was logged is there in the end. */
static void test_threads(void **state)
{
    struct fixture *fixture = *state;
    struct guest_source guests = {.take = take_nothing};
    pthread_t threads[4];

    status_set_guest_source(fixture->status, &guests);
    status_set_nodes(fixture->status, "lab", 1, nodes, 3);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i % 2 ? write_much : read_much, fixture),
                         0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    json_t *json = json_of_text(status_cluster_log_text(fixture->status, 10000, NULL));
    assert_int_equal(json_array_size(json_object_get(json, "data")), 601);
    json_decref(json);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_alone),          TEST(test_cluster),      TEST(test_what_raises_clinfo),
        TEST(test_odd_node_lists), TEST(test_values),       TEST(test_texts_are_kept),
        TEST(test_rrd_text),       TEST(test_rrd_listener), TEST(test_first_log_entry),
        TEST(test_clock_set_back), TEST(test_vmlist),       TEST(test_vmlist_of_many),
        TEST(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
