/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The history's file: what is added is read again, bounds hold, what is not kept (history/store.h,
 * history/reader.h, history/patterns.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/buffer.h"
#include "history/content.h"
#include "history/patterns.h"
#include "history/reader.h"
#include "history/store.h"
#include "store_place.h"

#define DAY 86400
#define NOW 1700000000

struct fixture {
    struct place place;
    char *path;
    struct history_store *store;
    uint64_t version;
};

static void open_store(struct fixture *fixture, uint64_t bytes)
{
    const struct history_limits limits = {
        .bytes = bytes, .age = 400 * DAY, .deleted_age = 30 * DAY};
    g_autofree char *message = NULL;

    assert_int_equal(history_store_open(fixture->path, &limits, &fixture->store, &message), 0);
}

static int start(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    place_start(&fixture->place);
    fixture->path = g_build_filename(fixture->place.directory, HISTORY_FILE, NULL);
    open_store(fixture, 64 << 20);
    *state = fixture;
    return 0;
}

static int stop(void **state)
{
    struct fixture *fixture = *state;

    history_store_close(fixture->store);
    place_stop(&fixture->place);
    g_free(fixture->path);
    g_free(fixture);
    return 0;
}

static struct entry *make_entry(const char *text, size_t size, uint64_t version)
{
    struct buffer *content = buffer_copy(text, (uint32_t)size);
    struct entry *entry = entry_new(1, 0, ENTRY_FILE, "name", 4, content, (uint32_t)size);

    buffer_unref(content);
    entry->version = version;
    entry->mtime = NOW;
    return entry;
}

/* A change of what the history has last of the path; NULL: it is deleted. */
static int64_t add_bytes(struct fixture *fixture, const char *path, const char *text, size_t size,
                         int64_t time)
{
    struct entry *entry = text ? make_entry(text, size, ++fixture->version) : NULL;
    const struct history_row row = {
        .version = entry ? fixture->version : ++fixture->version,
        .time = time,
        .operation = entry ? HISTORY_WRITE : HISTORY_DELETE,
        .path = path,
        .after = entry,
    };
    int64_t id = history_store_add(fixture->store, &row);

    assert_true(id > 0);
    entry_unref(entry);
    return id;
}

static int64_t add(struct fixture *fixture, const char *path, const char *text, int64_t time)
{
    return add_bytes(fixture, path, text, text ? strlen(text) : 0, time);
}

static void begin(struct fixture *fixture)
{
    assert_int_equal(history_store_begin(fixture->store), 0);
}

static void commit(struct fixture *fixture)
{
    assert_int_equal(history_store_commit(fixture->store), 0);
}

static struct history_reader *open_reader(const struct fixture *fixture)
{
    struct history_reader *reader;
    g_autofree char *message = NULL;

    assert_int_equal(history_open(fixture->path, &reader, &message), 0);
    assert_null(message);
    return reader;
}

/* The text of a path at a position; NULL: it is not known, or not there. */
static char *text_at(struct history_reader *reader, const char *path, int64_t position)
{
    struct history_change *change;
    GBytes *bytes;
    char *text = NULL;

    if (history_at(reader, path, position, &change) != 0)
        return NULL;
    if (change->after.exists && change->after.kept == HISTORY_KEPT) {
        assert_int_equal(history_content(reader, change->after.content, &bytes), 0);
        text = g_strndup(g_bytes_get_data(bytes, NULL), g_bytes_get_size(bytes));
        g_bytes_unref(bytes);
    }
    history_change_free(change);
    return text;
}

static void assert_text(struct history_reader *reader, const char *path, int64_t position,
                        const char *expected)
{
    g_autofree char *text = text_at(reader, path, position);

    if (expected)
        assert_string_equal(text, expected);
    else
        assert_null(text);
}

static void test_what_is_added_is_read_again(void **state)
{
    struct fixture *fixture = *state;

    begin(fixture);
    int64_t first = add(fixture, "a/file", "one", NOW);
    int64_t second = add(fixture, "a/file", "two", NOW + 10);
    int64_t third = add(fixture, "a/file", NULL, NOW + 20);
    commit(fixture);
    struct history_reader *reader = open_reader(fixture);
    assert_text(reader, "a/file", first, "one");
    assert_text(reader, "a/file", second, "two");
    assert_text(reader, "a/file", third, NULL);
    int64_t position;
    assert_int_equal(history_position_of_time(reader, NOW + 15, &position), 0);
    assert_int_equal(position, second);
    assert_int_equal(history_position_of_version(reader, 1, &position), 0);
    assert_int_equal(position, first);
    assert_int_equal(history_position_of_time(reader, NOW - 1, &position), -ENOENT);
    history_close(reader);
}

static int64_t at_time(struct history_reader *reader, int64_t time)
{
    int64_t position;

    assert_int_equal(history_position_of_time(reader, time, &position), 0);
    return position;
}

/* A change from a node whose clock is days behind or ahead does not say what was when. */
static void test_clocks_that_are_wrong(void **state)
{
    struct fixture *fixture = *state;

    begin(fixture);
    int64_t first = add(fixture, "a", "one", NOW);
    int64_t second = add(fixture, "a", "two", NOW + 10);
    add(fixture, "b", "ahead", NOW + 86400);
    int64_t third = add(fixture, "a", "three", NOW + 20);
    int64_t fourth = add(fixture, "a", "four", NOW + 30);
    int64_t again = add(fixture, "a", "four again", NOW + 30);
    add(fixture, "b", "behind", NOW - 86400);
    int64_t fifth = add(fixture, "a", "five", NOW + 40);
    int64_t sixth = add(fixture, "a", "six", NOW + 50);
    commit(fixture);
    struct history_reader *reader = open_reader(fixture);
    assert_int_equal(at_time(reader, NOW + 5), first);
    assert_int_equal(at_time(reader, NOW + 15), second);
    assert_int_equal(at_time(reader, NOW + 25), third);
    assert_true(third < fourth && fourth < again);
    assert_in_range(at_time(reader, NOW + 35), again, fifth - 1);
    assert_in_range(at_time(reader, NOW + 45), fifth, sixth - 1);
    assert_int_equal(at_time(reader, NOW + 50), sixth);
    history_close(reader);
}

/* How many changes a filter takes. */
static guint count(struct history_reader *reader, const struct history_filter *filter)
{
    GPtrArray *changes;

    assert_int_equal(history_list(reader, filter, &changes), 0);
    guint found = changes->len;
    for (guint i = 1; i < found; i++)
        assert_true(((struct history_change *)changes->pdata[i - 1])->id >
                    ((struct history_change *)changes->pdata[i])->id);
    g_ptr_array_unref(changes);
    return found;
}

/* What test_filters() has put in. */
static void check_known(struct history_reader *reader)
{
    GPtrArray *names;
    GArray *users;

    assert_int_equal(history_known_paths(reader, &names), 0);
    assert_int_equal(names->len, 5);
    assert_string_equal(names->pdata[0], "b");
    g_ptr_array_unref(names);
    assert_int_equal(history_known_nodes(reader, &names), 0);
    assert_int_equal(names->len, 1);
    assert_string_equal(names->pdata[0], "three");
    g_ptr_array_unref(names);
    assert_int_equal(history_known_users(reader, &users), 0);
    assert_int_equal(users->len, 1); /* and no login */
    assert_int_equal(g_array_index(users, uint32_t, 0), 5);
    g_array_unref(users);
}

static void test_filters(void **state)
{
    struct fixture *fixture = *state;
    const struct history_actor actor = {
        .known = true, .uid = 5, .login = UINT32_MAX, .pid = 7, .name = "n", .command = "n x"};
    struct history_row row = {.version = 9,
                              .time = NOW + 5,
                              .node = 3,
                              .path = "b",
                              .actor = &actor,
                              .operation = HISTORY_DELETE};

    begin(fixture);
    add(fixture, "a", "x", NOW);
    add(fixture, "a/file", "x", NOW + 1);
    add(fixture, "a-b", "x", NOW + 2);
    add(fixture, "a/[x]", "x", NOW + 3);
    assert_true(history_store_add(fixture->store, &row) > 0);
    assert_int_equal(history_store_name(fixture->store, 3, "three"), 0);
    commit(fixture);
    struct history_reader *reader = open_reader(fixture);
    assert_int_equal(count(reader, &(struct history_filter){0}), 5);
    assert_int_equal(count(reader, &(struct history_filter){.limit = 2}), 2);
    assert_int_equal(count(reader, &(struct history_filter){.path = "a"}), 3);
    assert_int_equal(count(reader, &(struct history_filter){.path = "a/file"}), 1);
    assert_int_equal(count(reader, &(struct history_filter){.pattern = "a*"}), 4);
    assert_int_equal(count(reader, &(struct history_filter){.pattern = "a/[x]"}), 1);
    assert_int_equal(count(reader, &(struct history_filter){.since = NOW + 2}), 3);
    assert_int_equal(count(reader, &(struct history_filter){.until = NOW + 2}), 3);
    assert_int_equal(count(reader, &(struct history_filter){.by_node = true, .node = 3}), 1);
    assert_int_equal(count(reader, &(struct history_filter){.by_user = true, .user = 5}), 1);
    assert_int_equal(count(reader, &(struct history_filter){.by_user = true, .user = 6}), 0);
    assert_int_equal(count(reader, &(struct history_filter){.asked_here = true}), 1);
    assert_int_equal(count(reader, &(struct history_filter){.above = 2, .below = 4}), 1);
    g_autofree char *name = history_node_name(reader, 3);
    assert_string_equal(name, "three");
    check_known(reader);
    history_close(reader);
}

/* The tree: "path=text path=text". */
static char *tree_at(struct history_reader *reader, int64_t position)
{
    GString *tree = g_string_new(NULL);
    GPtrArray *changes;

    assert_int_equal(history_tree(reader, position, NULL, &changes), 0);
    for (guint i = 0; i < changes->len; i++) {
        const struct history_change *change = changes->pdata[i];
        g_autofree char *text = text_at(reader, change->path, position);
        g_string_append_printf(tree, "%s%s=%s", i > 0 ? " " : "", change->path, text);
    }
    g_ptr_array_unref(changes);
    return g_string_free(tree, FALSE);
}

static void assert_tree(struct history_reader *reader, int64_t position, const char *expected)
{
    g_autofree char *tree = tree_at(reader, position);

    assert_string_equal(tree, expected);
}

static void test_old_changes_go_and_trees_after_them_stay(void **state)
{
    struct fixture *fixture = *state;
    struct history_summary summary;

    begin(fixture);
    add(fixture, "living", "1", NOW - 500 * DAY);
    assert_int_equal(history_store_complete(fixture->store, NOW - 500 * DAY), 0);
    add(fixture, "living", "2", NOW - 450 * DAY);
    add(fixture, "gone", "3", NOW - 440 * DAY);
    add(fixture, "gone", NULL, NOW - 430 * DAY);
    int64_t horizon = add(fixture, "living", "4", NOW - 401 * DAY);
    int64_t last = add(fixture, "other", "5", NOW - DAY);
    assert_int_equal(history_store_prune(fixture->store, NOW), 0);
    commit(fixture);
    struct history_reader *reader = open_reader(fixture);
    assert_int_equal(count(reader, &(struct history_filter){0}), 2);
    assert_tree(reader, horizon, "living=4");
    assert_tree(reader, last, "living=4 other=5");
    assert_int_equal(history_summary(reader, &summary), 0);
    assert_int_equal(summary.complete_id, horizon);
    /* What a change replaced stays with it. */
    assert_int_equal(summary.contents, 3);
    history_close(reader);
}

/* 200 versions of 30 kB that cannot be packed, in a history of 1 MiB. */
static void test_too_much_goes_but_not_the_last_versions(void **state)
{
    struct fixture *fixture = *state;
    static uint32_t noise[7500];
    struct history_summary summary;
    uint32_t seed = 1;

    history_store_close(fixture->store);
    open_store(fixture, 1 << 20);
    begin(fixture);
    add(fixture, "steady", "kept", NOW - DAY);
    assert_int_equal(history_store_complete(fixture->store, NOW - DAY), 0);
    add(fixture, "deleted", "wanted back", NOW - DAY);
    add(fixture, "deleted", NULL, NOW - DAY);
    for (int i = 0; i < 200; i++) {
        for (size_t n = 0; n < G_N_ELEMENTS(noise); n++)
            noise[n] = next_random(&seed);
        add_bytes(fixture, "busy", (const char *)noise, sizeof(noise), NOW - 1000 + i);
        assert_int_equal(history_store_prune(fixture->store, NOW), 0);
    }
    commit(fixture);
    struct history_reader *reader = open_reader(fixture);
    assert_int_equal(history_summary(reader, &summary), 0);
    assert_true(summary.bytes <= 1 << 20);
    assert_in_range(count(reader, &(struct history_filter){.path = "busy"}), 10, 40);
    assert_text(reader, "steady", HISTORY_NOW, "kept");
    struct history_change *change;
    assert_int_equal(history_at(reader, "deleted", HISTORY_NOW, &change), 0);
    GBytes *bytes;
    assert_int_equal(history_content(reader, change->before.content, &bytes), 0);
    assert_int_equal(g_bytes_get_size(bytes), strlen("wanted back"));
    g_bytes_unref(bytes);
    history_change_free(change);
    history_close(reader);
}

static size_t kept_contents(struct history_reader *reader)
{
    GPtrArray *changes;
    size_t kept = 0;

    assert_int_equal(history_list(reader, &(struct history_filter){0}, &changes), 0);
    for (guint i = 0; i < changes->len; i++)
        kept += ((struct history_change *)changes->pdata[i])->after.kept == HISTORY_KEPT;
    g_ptr_array_unref(changes);
    return kept;
}

/* A tree of 100 files of 30 kB, which a new history of 1 MiB is told: it knows all of them, of some
 * without their content, and that they were there from its beginning. */
static void test_a_tree_that_is_too_large(void **state)
{
    struct fixture *fixture = *state;
    static uint32_t noise[7500];
    struct history_summary summary;
    uint32_t seed = 1;

    history_store_close(fixture->store);
    open_store(fixture, 1 << 20);
    begin(fixture);
    for (int i = 0; i < 100; i++) {
        g_autofree char *path = g_strdup_printf("file%d", i);
        for (size_t n = 0; n < G_N_ELEMENTS(noise); n++)
            noise[n] = next_random(&seed);
        add_bytes(fixture, path, (const char *)noise, sizeof(noise), NOW);
        assert_int_equal(history_store_prune(fixture->store, NOW), 0);
    }
    assert_int_equal(history_store_complete(fixture->store, NOW), 0);
    commit(fixture);
    struct history_reader *reader = open_reader(fixture);
    assert_int_equal(history_summary(reader, &summary), 0);
    assert_in_range(summary.bytes, 1 << 20, (1 << 20) + 100000);
    assert_int_equal(summary.complete_id, 100);
    assert_int_equal(count(reader, &(struct history_filter){0}), 100);
    assert_in_range(kept_contents(reader), 20, 40);
    history_close(reader);
}

static void test_what_is_damaged_is_said(void **state)
{
    struct fixture *fixture = *state;
    struct history_reader *reader;
    GPtrArray *changes;
    GBytes *bytes;

    begin(fixture);
    add(fixture, "file", "text", NOW);
    commit(fixture);
    history_store_close(g_steal_pointer(&fixture->store));
    sqlite3 *db = place_connect(fixture->path);
    sqlite3_exec(db, "UPDATE contents SET data = x'00'", NULL, NULL, NULL);
    sqlite3_close(db);
    reader = open_reader(fixture);
    assert_int_equal(history_content(reader, 1, &bytes), -EBADMSG);
    assert_int_equal(history_content(reader, 2, &bytes), -ENOENT);
    history_close(reader);
    db = place_connect(fixture->path);
    sqlite3_exec(db, "UPDATE paths SET path = '../file'", NULL, NULL, NULL);
    sqlite3_close(db);
    reader = open_reader(fixture);
    assert_int_equal(history_list(reader, &(struct history_filter){0}, &changes), -EBADMSG);
    history_close(reader);
}

static void test_contents(void **state)
{
    g_autofree char *text = g_strnfill(10000, 'a');
    g_autofree uint8_t *packed = NULL;
    size_t size;

    (void)state;
    assert_int_equal(content_pack(text, 10000, &packed, &size), HISTORY_ZSTD);
    assert_true(size < 100);
    GBytes *bytes = content_unpack(HISTORY_ZSTD, packed, size, 10000);
    assert_memory_equal(g_bytes_get_data(bytes, NULL), text, 10000);
    g_bytes_unref(bytes);
    assert_null(content_unpack(HISTORY_ZSTD, packed, size, 9999));
    assert_null(content_unpack(HISTORY_ZSTD, packed, size - 1, 10000));
    assert_null(content_unpack(HISTORY_PLAIN, packed, size, 1 << 30));
    assert_null(content_unpack(7, packed, size, (int64_t)size));
}

static void test_patterns(void **state)
{
    struct patterns *patterns = patterns_new("!ha/manager_status,my-*,sub/*");

    (void)state;
    assert_false(patterns_skip(patterns, "ha/manager_status"));
    assert_true(patterns_skip(patterns, "ha/crm_commands"));
    assert_true(patterns_skip(patterns, "nodes/a/lrm_status"));
    assert_true(patterns_skip(patterns, "priv/lock/one"));
    assert_true(patterns_skip(patterns, "storage.cfg.tmp.123"));
    assert_true(patterns_skip(patterns, "deep/my-file"));
    assert_true(patterns_skip(patterns, "sub/deep/file"));
    assert_false(patterns_skip(patterns, "sub"));
    assert_false(patterns_skip(patterns, "storage.cfg"));
    assert_false(patterns_skip(patterns, "nodes/a/qemu-server/100.conf"));
    /* Names are bytes: these are no UTF-8. */
    assert_false(patterns_skip(patterns, "lat\xe9n"));
    assert_true(patterns_skip(patterns, "lat\xe9.tmp"));
    assert_true(patterns_skip(patterns, "nodes/\xff/lrm_status"));
    assert_true(patterns_skip(patterns, "tmp\xe9\xe9\xe9\xe9\xe9\xe9\xe9\xe9"));
    assert_true(patterns_skip(patterns, "tmp\u00e9\u00e9345678"));
    assert_false(patterns_skip(patterns, "tmp\u00e9345678"));
    assert_true(patterns_skip(patterns, "a.tmp.tmp.b"));
    assert_false(patterns_skip(patterns, "a.tmp.b.c/tmp.d"));
    patterns_free(patterns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_is_added_is_read_again, start, stop),
        cmocka_unit_test_setup_teardown(test_clocks_that_are_wrong, start, stop),
        cmocka_unit_test_setup_teardown(test_filters, start, stop),
        cmocka_unit_test_setup_teardown(test_old_changes_go_and_trees_after_them_stay, start, stop),
        cmocka_unit_test_setup_teardown(test_too_much_goes_but_not_the_last_versions, start, stop),
        cmocka_unit_test_setup_teardown(test_a_tree_that_is_too_large, start, stop),
        cmocka_unit_test_setup_teardown(test_what_is_damaged_is_said, start, stop),
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_patterns),
    };

    place_use_memory();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    place_leave_memory();
    return failed;
}
