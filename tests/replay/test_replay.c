/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Replays what real nodes got, node by node: our own replica and status group must want to send
 * what they sent, and end up with their databases, guests, members and logs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "node.h"

/* After which mark the databases and status files of a step were taken. */
static const struct step {
    const char *recording;
    const char *mark;
    const char *step;
} steps[] = {
    {"three-nodes", "node3 joined", "1-joined"},
    {"three-nodes", "cluster log", "2-worked"},
    {"three-nodes", "node3 back", "3-back"},
    {"three-nodes", "write by two of three", "4-end"},
    {"partition", "minority tried to write", "1-cut"},
    {"partition", "healed", "2-healed"},
    {"partition", "node3 writes again", "3-end"},
    {"timers", "node2 took it", "1-end"},
};

static bool has_file(const struct node *node, const char *step, const char *suffix)
{
    const char *vectors = g_getenv("VECTORS");
    g_autofree char *name = g_strdup_printf("%s.node%u.%s", step, node->number, suffix);
    g_autofree char *path =
        g_build_filename(vectors ? vectors : "tests/vectors", node->recording, name, NULL);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

static char *read_file(const struct node *node, const char *step, const char *suffix, size_t *size)
{
    g_autofree char *name = g_strdup_printf("%s.node%u.%s", step, node->number, suffix);

    return trace_file(node->recording, name, size);
}

/* --- Databases --- */

static char *rows_of(const char *path)
{
    sqlite3 *db;
    sqlite3_stmt *rows;
    GString *text = g_string_new(NULL);

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db,
                                        "SELECT inode, parent, version, writer, mtime, name,"
                                        " CASE inode WHEN 0 THEN 0 ELSE type END,"
                                        " hex(data) FROM tree ORDER BY inode",
                                        -1, &rows, NULL),
                     SQLITE_OK);
    while (sqlite3_step(rows) == SQLITE_ROW) {
        for (int column = 0; column < sqlite3_column_count(rows); column++)
            g_string_append_printf(text, "%s|", (const char *)sqlite3_column_text(rows, column));
        g_string_append_c(text, '\n');
    }
    assert_int_equal(sqlite3_finalize(rows), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return g_string_free(text, FALSE);
}

static void compare_database(struct node *node, const char *step)
{
    size_t size;
    g_autofree char *bytes = read_file(node, step, "db", &size);
    g_autofree char *copy = g_build_filename(node->place.directory, "recorded.db", NULL);

    assert_true(g_file_set_contents(copy, bytes, (gssize)size, NULL));
    g_autofree char *theirs = rows_of(copy);
    g_autofree char *ours = rows_of(node->place.path);
    assert_true(strlen(theirs) > 100);
    if (strcmp(ours, theirs) != 0) {
        fprintf(stderr, "recorded:\n%sours:\n%s", theirs, ours);
        fail_msg("%s, node %u, step %s: other rows", node->recording, node->number, step);
    }
    g_unlink(copy);
}

/* --- Status files --- */

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, 0, &error);

    if (!json)
        fail_msg("%s", error.text);
    return json;
}

static json_t *recorded_json(const struct node *node, const char *step, const char *suffix)
{
    g_autofree char *text = read_file(node, step, suffix, NULL);

    return parse(text);
}

static json_t *own_json(struct buffer *text)
{
    g_autofree char *string = g_strndup((const char *)text->data, text->capacity);

    buffer_unref(text);
    return parse(string);
}

/* Compares what two objects have below `key`; takes over both. */
static void assert_same(const struct node *node, const char *step, const char *what, json_t *ours,
                        json_t *theirs)
{
    if (!json_equal(ours, theirs)) {
        g_autofree char *left = json_dumps(ours, JSON_SORT_KEYS | JSON_ENCODE_ANY);
        g_autofree char *right = json_dumps(theirs, JSON_SORT_KEYS | JSON_ENCODE_ANY);
        fprintf(stderr, "recorded: %s\nours:     %s\n", right, left);
        fail_msg("%s, node %u, step %s: other %s", node->recording, node->number, step, what);
    }
    json_decref(ours);
    json_decref(theirs);
}

static void remove_key(json_t *list, const char *key)
{
    size_t index;
    json_t *value;

    json_array_foreach(list, index, value) json_object_del(value, key);
}

static void compare_log(struct node *node, const char *step)
{
    json_t *theirs = recorded_json(node, step, "clusterlog");
    json_t *ours = own_json(status_cluster_log_text(node->status, 0, NULL));

    assert_true(json_array_size(json_object_get(theirs, "data")) >= 3);
    remove_key(json_object_get(theirs, "data"), "uid");
    remove_key(json_object_get(ours, "data"), "uid");
    assert_same(node, step, "cluster log", ours, theirs);
}

static void compare_members(struct node *node, const char *step)
{
    json_t *theirs = recorded_json(node, step, "members");
    json_t *ours = own_json(status_members_text(node->status));

    /* How often something changed may differ, and the version of corosync.conf is corosync's. */
    json_object_del(theirs, "version");
    json_object_del(ours, "version");
    json_object_del(json_object_get(theirs, "cluster"), "version");
    json_object_del(json_object_get(ours, "cluster"), "version");
    assert_int_equal(json_object_size(json_object_get(theirs, "nodelist")), 3);
    assert_same(node, step, "members", ours, theirs);
}

static struct guest_snapshot *take_guests(struct replica *replica)
{
    struct guest_snapshot *snapshot = guest_snapshot_new(&replica_read_lock(replica)->guests);

    replica_read_unlock(replica);
    return snapshot;
}

static void compare_guests(struct node *node, const char *step)
{
    json_t *theirs = recorded_json(node, step, "vmlist");
    struct guest_snapshot *snapshot = take_guests(node->replica);
    json_t *ours = own_json(vmlist_text(snapshot, 1));
    const char *id;
    json_t *guest;

    guest_snapshot_free(snapshot);
    json_object_del(theirs, "version");
    json_object_del(ours, "version");
    json_object_foreach(json_object_get(theirs, "ids"), id, guest)
        json_object_del(guest, "version");
    json_object_foreach(json_object_get(ours, "ids"), id, guest) json_object_del(guest, "version");
    assert_same(node, step, "guest list", ours, theirs);
}

/* Nodes whose values are all deleted again were shown as empty objects. */
static void remove_empty(json_t *object)
{
    const char *key;
    json_t *value;
    void *next;

    json_object_foreach_safe(object, next, key, value)
    {
        if (json_object_size(value) == 0)
            json_object_del(object, key);
    }
}

/* Clients compare these numbers: what raised one there must raise it here, and nothing else. */
static void compare_versions(struct node *node, const char *step)
{
    json_t *theirs = recorded_json(node, step, "version");
    json_t *ours = own_json(status_version_text(node->status));
    json_int_t guests = json_integer_value(json_object_get(ours, "vmlist"));

    json_object_set_new(ours, "vmlist", json_integer(guests - node->vmlist_apart));
    json_object_del(theirs, "starttime");
    json_object_del(ours, "starttime");
    json_object_del(theirs, "clinfo"); /* more often does no harm */
    json_object_del(ours, "clinfo");
    remove_empty(json_object_get(theirs, "kvstore"));
    remove_empty(json_object_get(ours, "kvstore"));
    assert_same(node, step, "counters", ours, theirs);
}

static unsigned compare_step(struct node *node, const char *mark)
{
    unsigned compared = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(steps); i++) {
        if (strcmp(steps[i].recording, node->recording) || strcmp(steps[i].mark, mark))
            continue;
        const char *step = steps[i].step;
        if (!has_file(node, step, "db"))
            continue;
        compare_database(node, step);
        compared++;
        if (!has_file(node, step, "members"))
            continue;
        compare_guests(node, step);
        compare_members(node, step);
        compare_log(node, step);
        compare_versions(node, step);
    }
    return compared;
}

/* --- The test: a node, its databases, all messages that it sent --- */

static void replay_once(const char *recording, unsigned number, bool lazy, unsigned databases,
                        unsigned messages)
{
    struct node *node = node_new(recording, number, lazy);
    unsigned compared = 0;

    for (size_t i = 0; i < node->trace->len; i++) {
        const struct trace_event *event = trace_at(node->trace, i);
        node_play(node, i);
        if (event->type != TRACE_MARK || !node->replica)
            continue;
        node_compare_sent(node, event->mark);
        compared += compare_step(node, event->mark);
        assert_int_equal(node->answers, 0); /* nobody waits any more */
    }
    node_compare_sent(node, "end");
    assert_int_equal(compared, databases);
    assert_int_equal(node->compared, messages);
    print_message("%s, node %u: %u messages, %u databases, %u publications\n", recording, number,
                  node->compared, compared, node->publications);
    node_free(node);
}

/* Message by message, and in batches: nothing may depend on it. */
static void replay(const char *recording, unsigned number, unsigned databases, unsigned messages)
{
    replay_once(recording, number, false, databases, messages);
    replay_once(recording, number, true, databases, messages);
}

static void test_three_nodes_1(void **unused)
{
    (void)unused;
    replay("three-nodes", 1, 4, 83);
}

static void test_three_nodes_2(void **unused)
{
    (void)unused;
    replay("three-nodes", 2, 3, 25);
}

static void test_three_nodes_3(void **unused)
{
    (void)unused;
    replay("three-nodes", 3, 4, 16);
}

static void test_partition_1(void **unused)
{
    (void)unused;
    replay("partition", 1, 3, 47);
}

static void test_partition_2(void **unused)
{
    (void)unused;
    replay("partition", 2, 3, 23);
}

static void test_partition_3(void **unused)
{
    (void)unused;
    replay("partition", 3, 3, 13);
}

static void test_timers_1(void **unused)
{
    (void)unused;
    replay("timers", 1, 1, 14);
}

static void test_timers_2(void **unused)
{
    (void)unused;
    replay("timers", 2, 1, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_three_nodes_1), cmocka_unit_test(test_three_nodes_2),
        cmocka_unit_test(test_three_nodes_3), cmocka_unit_test(test_partition_1),
        cmocka_unit_test(test_partition_2),   cmocka_unit_test(test_partition_3),
        cmocka_unit_test(test_timers_1),      cmocka_unit_test(test_timers_2),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
