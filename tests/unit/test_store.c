/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config.db: what each change writes, and that it is read again as it was (store/store.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "core/apply.h"
#include "store_node.h"

static int start(void **state)
{
    struct node *node = g_new0(struct node, 1);

    node_start(node, 0);
    *state = node;
    return 0;
}

static int stop(void **state)
{
    node_stop(*state);
    g_free(*state);
    return 0;
}

/* ---- store_open(): a new database ---- */

static void test_new_database(void **state)
{
    struct node *node = *state;
    struct stat info;

    assert_int_equal(node->state->tree->root.version, 1);
    assert_int_equal(tree_entry_count(node->state->tree), 1);
    assert_int_equal(stat(node->place.path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    node_close(node);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db");
    node_assert_rows(node, "SELECT sql FROM sqlite_master", TREE_TABLE "\n");
    node_assert_rows(node, "PRAGMA journal_mode", "wal\n");
    node_assert_rows(node, "PRAGMA page_size", "4096\n");
    node_assert_rows(node, "PRAGMA encoding", "UTF-8\n");
    node_assert_rows(node, ALL_ROWS, "");
    node_open_with(node, NULL);
    assert_int_equal(node->state->tree->root.version, 1);
}

static void test_schema_is_that_of_other_implementations(void **state)
{
    struct node *node = *state;
    g_autoptr(GPtrArray) vectors = place_vectors();

    for (guint i = 0; i < vectors->len; i++) {
        g_autofree char *path = g_build_filename(node->place.directory, "vector.db", NULL);
        place_copy(vectors->pdata[i], path);
        sqlite3 *db = place_connect(path);
        g_autofree char *schema = place_rows(db, "SELECT sql FROM sqlite_master");
        sqlite3_close(db);
        assert_string_equal(schema, TREE_TABLE "\n");
    }
}

static void test_remains_of_an_unfinished_creation_are_no_harm(void **state)
{
    struct node *node = *state;
    g_autofree char *unfinished = g_strconcat(node->place.path, ".new", NULL);

    node_close(node);
    assert_int_equal(unlink(node->place.path), 0);
    assert_true(g_file_set_contents(unfinished, "half", 4, NULL));
    node_open_with(node, NULL);
    node_close(node);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db");
}

static void test_directory_that_is_missing_is_named(void **state)
{
    struct node *node = *state;
    g_autofree char *path = g_build_filename(node->place.directory, "no", "config.db", NULL);
    g_autofree char *message = NULL;
    struct store *store;
    struct tree *tree;

    assert_int_equal(store_open(path, NULL, &store, &tree, &message), -ENOENT);
    assert_non_null(strstr(message, path));
}

static void test_readable_for_others_is_made_private(void **state)
{
    struct node *node = *state;
    struct stat info;

    node_close(node);
    assert_int_equal(chmod(node->place.path, 0644), 0);
    node_open_with(node, NULL);
    assert_int_equal(stat(node->place.path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
}

/* Through another of SQLite's file layers, as a simulated disk is: on files, and in memory. */
static void test_other_file_layers(void **state)
{
    struct node *node = *state;
    static const char *const layers[] = {"unix", "memdb"};
    g_autofree char *path = g_build_filename(node->place.directory, "other.db", NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(layers); i++) {
        struct node other = {.place.path = path};
        const struct store_options options = {.vfs = layers[i]};
        sqlite3 *holder = NULL;
        node_open_with(&other, &options);
        /* What is in memory is there as long as somebody has it open. */
        assert_int_equal(sqlite3_open_v2(path, &holder, SQLITE_OPEN_READWRITE, layers[i]),
                         SQLITE_OK);
        node_change(&other, CHANGE_CREATE, "f", NULL, NULL);
        node_change(&other, CHANGE_WRITE, "f", NULL, "text");
        node_close(&other);
        node_open_with(&other, &options);
        assert_int_equal(other.state->tree->root.version, 3);
        assert_int_equal(tree_child(other.state->tree, 0, "f")->size, 4);
        node_close(&other);
        sqlite3_close(holder);
        unlink(path);
    }
    g_autofree char *names = place_names(&node->place);
    assert_null(strstr(names, "other"));
}

/* ---- store_commit(): what a change writes ---- */

static void test_rows_of_each_change(void **state)
{
    struct node *node = *state;

    node_change(node, CHANGE_MKDIR, "dir", NULL, NULL);
    node_assert_rows(node, ALL_ROWS,
                     "0|0|2|3|1000|8|__version__|NULL\n"
                     "2|0|2|3|1000|4|dir|NULL\n");
    node_change(node, CHANGE_CREATE, "dir/file", NULL, NULL);
    node_assert_rows(node, ALL_ROWS,
                     "0|0|3|3|1001|8|__version__|NULL\n"
                     "2|0|2|3|1000|4|dir|NULL\n"
                     "3|2|3|3|1001|8|file|NULL\n");
    node->writer = 9;
    node_change(node, CHANGE_WRITE, "dir/file", NULL, "ab");
    node_assert_rows(node, ALL_ROWS,
                     "0|0|4|9|1002|8|__version__|NULL\n"
                     "2|0|2|3|1000|4|dir|NULL\n"
                     "3|2|4|9|1002|8|file|x'6162'\n");
    node_draft(node, CHANGE_MTIME, "dir", NULL, NULL, 77);
    assert_int_equal(node_commit(node), 0);
    node_assert_rows(node, ALL_ROWS,
                     "0|0|5|9|77|8|__version__|NULL\n"
                     "2|0|5|9|77|4|dir|NULL\n"
                     "3|2|4|9|1002|8|file|x'6162'\n");
    node_change(node, CHANGE_CREATE, "new", NULL, NULL);
    node_change(node, CHANGE_WRITE, "new", NULL, "c");
    node_change(node, CHANGE_RENAME, "new", "dir/file", NULL);
    node_assert_rows(node, ALL_ROWS,
                     "0|0|8|9|1006|8|__version__|NULL\n"
                     "2|0|5|9|77|4|dir|NULL\n"
                     "6|2|8|9|1006|8|file|x'63'\n");
    node_change(node, CHANGE_WRITE, "dir/file", NULL, "");
    node_assert_rows(node, ALL_ROWS,
                     "0|0|9|9|1007|8|__version__|NULL\n"
                     "2|0|5|9|77|4|dir|NULL\n"
                     "6|2|9|9|1007|8|file|NULL\n");
    node_change(node, CHANGE_DELETE, "dir/file", NULL, NULL);
    node_change(node, CHANGE_DELETE, "dir", NULL, NULL);
    node_assert_rows(node, ALL_ROWS, "0|0|11|9|1009|8|__version__|NULL\n");
    node_assert_intact(node);
}

/* Zeros that a truncation makes of an empty file are a size without bytes, and are not stored. */
static void test_hole_is_not_stored(void **state)
{
    struct node *node = *state;
    struct change hole = {.operation = CHANGE_WRITE, .truncate = true, .path = "f", .offset = 50};

    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    assert_int_equal(apply(node->draft, &hole, NULL), 0);
    assert_int_equal(node_commit(node), 0);
    assert_int_equal(tree_child(node->state->tree, 0, "f")->size, 50);
    node_assert_rows(node, "SELECT name, typeof(data) FROM tree WHERE inode = 2", "f|null\n");
}

/* Many changes of one draft are one transaction, and only their outcome is written. */
static void test_batch_is_one_transaction(void **state)
{
    struct node *node = *state;
    sqlite3 *other = place_connect(node->place.path);

    node_draft(node, CHANGE_MKDIR, "d", NULL, NULL, 0);
    node_draft(node, CHANGE_CREATE, "d/a", NULL, NULL, 0);
    node_draft(node, CHANGE_WRITE, "d/a", NULL, "x", 1);
    node_draft(node, CHANGE_CREATE, "gone", NULL, NULL, 0);
    node_draft(node, CHANGE_DELETE, "gone", NULL, NULL, 0);
    g_autofree char *before = place_rows(other, "PRAGMA data_version");
    g_autofree char *nothing = place_rows(other, ALL_ROWS);
    assert_string_equal(nothing, "");
    assert_int_equal(node_commit(node), 0);
    g_autofree char *after = place_rows(other, "PRAGMA data_version");
    assert_string_not_equal(after, before);
    sqlite3_close(other);
    node_assert_rows(node, ALL_ROWS,
                     "0|0|6|3|1004|8|__version__|NULL\n"
                     "2|0|2|3|1000|4|d|NULL\n"
                     "3|2|4|3|1002|8|a|x'78'\n");
}

static void test_name_is_stored_as_text_of_its_bytes(void **state)
{
    struct node *node = *state;
    g_autofree char *longest = g_strnfill(1024, 'n');

    node_change(node, CHANGE_CREATE, "\xff\xc3(\x80", NULL, NULL);
    node_change(node, CHANGE_CREATE, "it's", NULL, NULL);
    draft_put(node->draft, entry_new(70, 0, ENTRY_FILE, longest, 1024, NULL, 0));
    node->draft->root.version = 70;
    assert_int_equal(node_commit(node), 0);
    node_assert_rows(node,
                     "SELECT typeof(name), hex(substr(CAST(name AS BLOB), 1, 5)), "
                     "length(CAST(name AS BLOB)) FROM tree WHERE inode > 0",
                     "text|FFC32880|4\ntext|69742773|4\ntext|6E6E6E6E6E|1024\n");
    node_reopen(node);
    assert_non_null(tree_child(node->state->tree, 0, "\xff\xc3(\x80"));
    assert_non_null(tree_child(node->state->tree, 0, longest));
}

/* ---- store_open(): reading it again ---- */

#define BYTES_MAX 200000u

static void random_change(struct node *node, uint32_t *seed)
{
    static const char *const names[] = {"a", "b", "nodes", "\xe4", "100.conf", "qemu-server"};
    static uint8_t bytes[BYTES_MAX];
    g_autofree char *path =
        g_strdup_printf("%s/%s", names[next_random(seed) % 6], names[next_random(seed) % 6]);
    g_autofree char *other =
        g_strdup_printf("%s/%s", names[next_random(seed) % 6], names[next_random(seed) % 6]);
    uint32_t size = next_random(seed) % (next_random(seed) % 10 == 0 ? BYTES_MAX : 300);

    if (next_random(seed) % 4 == 0)
        *strchr(path, '/') = '\0';
    memset(bytes, (int)next_random(seed), size);
    struct change change = {.operation = (enum change_operation)(1 + next_random(seed) % 6),
                            .truncate = next_random(seed) % 2,
                            .writer = next_random(seed) % 5,
                            .time = next_random(seed),
                            .offset = next_random(seed) % 100,
                            .size = size,
                            .path = path,
                            .to = other,
                            .data = bytes};
    if (change.operation != CHANGE_WRITE && change.operation != CHANGE_MTIME)
        change.offset = 0;
    apply(node->draft, &change, NULL);
}

static void test_random_changes_are_read_again(void **state)
{
    struct node *node = *state;
    uint32_t seed = 4711;

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 100; i++) {
            random_change(node, &seed);
            if (next_random(&seed) % 3 == 0)
                assert_int_equal(node_commit(node), 0);
        }
        assert_int_equal(node_commit(node), 0);
        if (round % 3 == 0)
            assert_int_equal(store_flush(node->store), 0);
        g_autofree char *before = tree_description(node->state->tree);
        assert_true(strlen(before) > 40);
        node_reopen(node);
        g_autofree char *after = tree_description(node->state->tree);
        assert_string_equal(after, before);
        node_assert_intact(node);
    }
}

/* What others stored, loaded and written by us, has the rows that they wrote. */
static void test_vectors_are_written_as_they_were(void **state)
{
    struct node *node = *state;
    g_autoptr(GPtrArray) vectors = place_vectors();

    for (guint i = 0; i < vectors->len; i++) {
        sqlite3 *original;
        g_autofree char *path = g_build_filename(node->place.directory, "vector.db", NULL);
        place_copy(vectors->pdata[i], path);
        original = place_connect(path);
        g_autofree char *rows = place_rows(
            original, "SELECT inode, parent, version, writer, mtime, CASE inode WHEN 0 THEN "
                      "8 ELSE type END, name, nullif(data, x'') FROM tree ORDER BY inode");
        sqlite3_close(original);
        struct node loaded = {.place.path = path};
        node_open_with(&loaded, NULL);
        g_autoptr(GPtrArray) entries = tree_sorted(loaded.state->tree);
        for (guint j = 0; j < entries->len; j++)
            draft_put(node->draft, entry_ref(entries->pdata[j]));
        node->draft->root = loaded.state->tree->root;
        assert_int_equal(node_commit(node), 0);
        node_assert_rows(node, ALL_ROWS, rows);
        node_close(&loaded);
        node_close(node);
        unlink(path);
        unlink(node->place.path);
        node_open_with(node, NULL);
    }
}

/* As a synchronisation's commit: one draft with everything. */
static void test_large_commit(void **state)
{
    struct node *node = *state;
    struct buffer *content = buffer_new(1048576);

    memset(content->data, 'z', content->capacity);
    for (uint64_t inode = 2; inode < 5002; inode++) {
        g_autofree char *name = g_strdup_printf("f%lu", inode);
        bool large = inode % 250 == 0;
        draft_put(node->draft, entry_new(inode, 0, ENTRY_FILE, name, strlen(name), content,
                                         large ? content->capacity : 700));
    }
    node->draft->root.version = 5001;
    buffer_unref(content);
    assert_int_equal(node_commit(node), 0);
    g_autofree char *before = tree_description(node->state->tree);
    node_reopen(node);
    g_autofree char *after = tree_description(node->state->tree);
    assert_string_equal(after, before);
    node_assert_intact(node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_new_database, start, stop),
        cmocka_unit_test_setup_teardown(test_schema_is_that_of_other_implementations, start, stop),
        cmocka_unit_test_setup_teardown(test_remains_of_an_unfinished_creation_are_no_harm, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_directory_that_is_missing_is_named, start, stop),
        cmocka_unit_test_setup_teardown(test_readable_for_others_is_made_private, start, stop),
        cmocka_unit_test_setup_teardown(test_other_file_layers, start, stop),
        cmocka_unit_test_setup_teardown(test_rows_of_each_change, start, stop),
        cmocka_unit_test_setup_teardown(test_hole_is_not_stored, start, stop),
        cmocka_unit_test_setup_teardown(test_batch_is_one_transaction, start, stop),
        cmocka_unit_test_setup_teardown(test_name_is_stored_as_text_of_its_bytes, start, stop),
        cmocka_unit_test_setup_teardown(test_random_changes_are_read_again, start, stop),
        cmocka_unit_test_setup_teardown(test_vectors_are_written_as_they_were, start, stop),
        cmocka_unit_test_setup_teardown(test_large_commit, start, stop),
    };

    log_detach(); /* failures are expected */
    place_use_memory();
    int failures = cmocka_run_group_tests_name("store", tests, NULL, NULL);
    place_leave_memory();
    return failures;
}
