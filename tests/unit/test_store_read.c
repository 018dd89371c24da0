/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The door for database rows: what loads, what is refused with which words, and that a database
 * that is refused is not touched (store/read.h). */
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
#include "collector.h"
#include "core/draft.h"
#include "core/state.h"
#include "ctl/tools/check.h"
#include "store/file.h"
#include "store/read.h"
#include "store/store.h"
#include "store_place.h"

static int start(void **state)
{
    struct place *place = g_new0(struct place, 1);

    place_start(place);
    *state = place;
    return 0;
}

static int stop(void **state)
{
    place_stop(*state);
    g_free(*state);
    return 0;
}

#define WITHOUT_CHECKS "PRAGMA ignore_check_constraints=ON; "

/* ---- What loads ---- */

/* Loads and gives up the store at once. */
static struct tree *load(const struct place *place)
{
    struct store *store;
    struct tree *tree;
    g_autofree char *message = NULL;
    int error = store_open(place->path, NULL, &store, &tree, &message);

    if (error)
        fail_msg("%d: %s", error, message);
    assert_non_null(tree);
    store_close(store);
    return tree;
}

/* The tree's entries as place_rows() gives rows. */
static char *tree_rows(const struct tree *tree)
{
    GString *text = g_string_new(NULL);
    g_autoptr(GPtrArray) entries = tree_sorted(tree);

    for (guint i = 0; i < entries->len; i++) {
        const struct entry *entry = entries->pdata[i];
        g_string_append_printf(text, "%lu|%lu|%lu|%u|%u|%u|", entry->inode, entry->parent,
                               entry->version, entry->writer, entry->mtime, entry->type);
        g_string_append_len(text, entry->name, entry->name_length);
        g_string_append(text, entry->content ? "|x'" : "|NULL\n");
        for (uint32_t j = 0; entry->content && j < entry->size; j++)
            g_string_append_printf(text, "%02x", entry->content->data[j]);
        if (entry->content)
            g_string_append(text, "'\n");
    }
    return g_string_free(text, FALSE);
}

static void assert_tree_is(const struct tree *tree, const struct place *place)
{
    sqlite3 *db = place_connect(place->path);
    g_autofree char *rows =
        place_rows(db, "SELECT inode, parent, version, writer, mtime, type, name, "
                       "nullif(CAST(data AS BLOB), x'') FROM tree WHERE inode > 0 ORDER BY inode");
    g_autofree char *root = place_rows(db, "SELECT version, writer, mtime FROM tree WHERE inode=0");
    g_autofree char *loaded = tree_rows(tree);
    g_autofree char *loaded_root =
        g_strdup_printf("%lu|%u|%u\n", tree->root.version, tree->root.writer, tree->root.mtime);

    assert_string_equal(loaded, rows);
    if (*root)
        assert_string_equal(loaded_root, root);
    sqlite3_close(db);
}

static void test_vectors_load(void **state)
{
    struct place *place = *state;
    g_autoptr(GPtrArray) vectors = place_vectors();

    assert_true(vectors->len >= 20);
    for (guint i = 0; i < vectors->len; i++) {
        place_copy(vectors->pdata[i], place->path);
        struct tree *tree = load(place);
        assert_true(tree_entry_count(tree) > 1);
        assert_true(tree->root.version > 1);
        assert_tree_is(tree, place);
        tree_free(tree);
        assert_int_equal(unlink(place->path), 0);
    }
}

/* Each of these is unusual and must load: BASE altered by the SQL. */
static const char *const unusual[] = {
    "",
    "UPDATE tree SET type = 4 WHERE inode = 0",
    "UPDATE tree SET data = 'text' WHERE inode = 2",
    "UPDATE tree SET data = x'' WHERE inode = 2",
    "UPDATE tree SET data = CAST(x'ff00fe0a' AS TEXT) WHERE inode = 2",
    "UPDATE tree SET data = zeroblob(3000000) WHERE inode = 2",
    "UPDATE tree SET name = CAST(x'ff2e80' AS TEXT) WHERE inode = 2",
    "UPDATE tree SET name = replace(hex(zeroblob(512)), '0', 'n') WHERE inode = 2",
    "UPDATE tree SET name = replace(hex(zeroblob(600000)), '0', 'n') WHERE inode = 2",
    "INSERT INTO tree VALUES (30, 7, 30, 1, 1, 8, 'openvz', NULL)",
    "UPDATE tree SET mtime = 4294967295, writer = 4294967295 WHERE inode = 2",
    "UPDATE tree SET version = 9223372036854775807 WHERE inode = 2",
    "UPDATE tree SET inode = 30 WHERE inode = 4; UPDATE tree SET parent = 30 WHERE parent = 4",
    "UPDATE tree SET name = '.version' WHERE inode = 2",
    "DELETE FROM tree WHERE inode = 0",
    "DELETE FROM tree",
    "DELETE FROM tree WHERE inode > 0",
    "INSERT INTO tree VALUES (30, 6, 30, 1, 1, 8, '0100.conf', NULL)",
    "INSERT INTO tree VALUES (30, 6, 30, 1, 1, 4, '200.conf', NULL)",
    "INSERT INTO tree VALUES (30, 7, 30, 1, 1, 8, 'lxc2', NULL)",
    "UPDATE tree SET name = 'x,conf' WHERE inode = 2",
    "CREATE TABLE other (x); CREATE INDEX names ON tree (name)",
    "PRAGMA journal_mode=WAL",
    "PRAGMA journal_mode=PERSIST; UPDATE tree SET mtime = 5 WHERE inode = 2",
};

static void test_unusual_databases_load(void **state)
{
    struct place *place = *state;

    for (size_t i = 0; i < G_N_ELEMENTS(unusual); i++) {
        place_run(place, BASE);
        place_run(place, unusual[i]);
        struct tree *tree = load(place);
        assert_tree_is(tree, place);
        tree_free(tree);
        assert_int_equal(unlink(place->path), 0);
        g_autofree char *names = place_names(place);
        assert_true(strcmp(names, "") == 0 || strcmp(names, "config.db-journal") == 0);
        g_autofree char *journal = g_strconcat(place->path, "-journal", NULL);
        unlink(journal);
    }
}

static void test_database_without_rows_is_version_1(void **state)
{
    struct place *place = *state;

    place_run(place, "PRAGMA journal_mode=WAL"); /* a crash before the table was made */
    struct tree *tree = load(place);
    assert_int_equal(tree->root.version, 1);
    assert_int_equal(tree->root.writer, 0);
    assert_int_equal(tree->root.mtime, 0);
    assert_int_equal(tree_entry_count(tree), 1);
    tree_free(tree);
}

/* ---- What is refused ---- */

static const struct refused {
    const char *sql;      /* what is done to BASE */
    const char *words[4]; /* what the message must say */
} refused[] = {
    {WITHOUT_CHECKS "PRAGMA writable_schema=ON; UPDATE sqlite_master SET sql = replace(sql, 'name "
                    "TEXT NOT NULL', 'name TEXT')",
     {NULL}}, /* a step for the next one; see has_no_name() */
    {"UPDATE tree SET name = '' WHERE inode = 9", {"inode 9 has no name", "WHERE inode = 9"}},
    {"UPDATE tree SET data = x'01' WHERE inode = 5",
     {"inode 5 is a directory and has 1 bytes of data", "(nodes/a)",
      "data = NULL WHERE inode = 5"}},
    {"UPDATE tree SET type = 5 WHERE inode = 9",
     {"inode 9 has type 5", "neither 4 (directory) nor 8 (file)"}},
    {WITHOUT_CHECKS "UPDATE tree SET type = 'x' WHERE inode = 9", {"inode 9 has type unknown"}},
    {"UPDATE tree SET name = 'version' WHERE inode = 0",
     {"inode 0", "is named 'version' and not '__version__'"}},
    {"UPDATE tree SET type = 9 WHERE inode = 0", {"inode 0 has type 9"}},
    {"UPDATE tree SET parent = 77 WHERE inode = 9",
     {"inode 9 ('100.conf') lies in inode 77, which is missing", "WHERE inode = 9"}},
    {"UPDATE tree SET parent = -3 WHERE inode = 9", {"inode 9", "inode -3, which is missing"}},
    {"UPDATE tree SET parent = 2 WHERE inode = 9",
     {"inode 9 ('100.conf') lies in inode 2, which is no directory"}},
    {WITHOUT_CHECKS "UPDATE tree SET parent = 'x' WHERE inode = 9",
     {"the parent of inode 9 is no number"}},
    {"INSERT INTO tree VALUES (30, 5, 30, 1, 1, 8, 'qemu-server', NULL)",
     {"inode 6 and inode 30 have the same name 'qemu-server' in directory inode 5",
      "WHERE inode = 30"}},
    {"INSERT INTO tree VALUES (30, 8, 30, 1, 1, 8, '100.conf', NULL)",
     {"inode 9 and inode 30 are both the configuration of guest 100 ('100.conf')",
      "(nodes/b/lxc/100.conf)", "DELETE FROM tree WHERE inode = 30"}},
    {"UPDATE tree SET parent = 6 WHERE inode = 4",
     {"lies within itself and cannot be reached", "parent = 0"}},
    {"UPDATE tree SET parent = 4 WHERE inode = 4", {"directory inode 4 ('nodes') in inode 4"}},
    {"UPDATE tree SET name = 'a/b' WHERE inode = 9", {"inode 9 has a slash in its name: 'a/b'"}},
    {"UPDATE tree SET name = '.' WHERE inode = 9", {"inode 9 has a name that means another"}},
    {"UPDATE tree SET name = '..' WHERE inode = 9", {"inode 9 has a name that means another"}},
    {"UPDATE tree SET name = CAST(x'410042' AS TEXT) WHERE inode = 9",
     {"inode 9 has a zero byte in its name: 'A\\x00B'"}},
    {"UPDATE tree SET mtime = 4294967296 WHERE inode = 9",
     {"the mtime of inode 9 is 4294967296, which is not from 0 to 4294967295"}},
    {"UPDATE tree SET mtime = -1 WHERE inode = 0", {"the mtime of inode 0 is -1"}},
    {"UPDATE tree SET writer = 4294967296 WHERE inode = 9", {"the writer of inode 9"}},
    {"UPDATE tree SET version = -1 WHERE inode = 0", {"the version of inode 0 is -1"}},
    {WITHOUT_CHECKS "UPDATE tree SET version = 1.5 WHERE inode = 9",
     {"the version of inode 9 is no number"}},
    {"INSERT INTO tree VALUES (-7, 0, 30, 1, 1, 8, 'x', NULL)",
     {"inode -7 is negative", "DELETE FROM tree WHERE inode = -7"}},
    {"ALTER TABLE tree RENAME TO shrub", {"no table 'tree'"}},
    {"ALTER TABLE tree ADD COLUMN more", {"has not the columns"}},
    {"ALTER TABLE tree RENAME COLUMN writer TO author", {"has not the columns"}},
    {"ALTER TABLE tree DROP COLUMN data", {"has not the columns"}},
    {"ALTER TABLE tree RENAME TO shrub; CREATE VIEW tree AS SELECT * FROM shrub",
     {"'tree' is no ordinary table"}},
    {"CREATE TRIGGER spoiler AFTER INSERT ON tree BEGIN DELETE FROM tree; END",
     {"a trigger, 'spoiler'"}},
    {"CREATE UNIQUE INDEX names ON tree (name, inode)", {"a unique index, 'names'"}},
};

/* Opening must fail with all words, and leave everything as it was. */
static void assert_refused(const struct place *place, const char *const *words)
{
    struct store *store = (struct store *)1;
    struct tree *tree = (struct tree *)1;
    g_autofree char *message = NULL;
    g_autofree char *before = place_snapshot(place);
    int error = store_open(place->path, NULL, &store, &tree, &message);
    g_autofree char *after = place_snapshot(place);

    if (error != -EBADMSG)
        fail_msg("%d instead of a refusal: %s", error, words[0]);
    assert_null(store);
    assert_null(tree);
    assert_non_null(message);
    assert_null(strchr(message, '\n'));
    for (size_t i = 0; i < 4 && words[i]; i++) {
        if (!strstr(message, words[i]))
            fail_msg("'%s' is not in '%s'", words[i], message);
    }
    assert_non_null(strstr(message, place->path));
    assert_string_equal(after, before);
}

/* Leaves the change in a log beside the database, as a daemon that was killed does. */
static void run_and_crash(const struct place *place, const char *sql, bool with_index)
{
    sqlite3 *db = place_connect(place->path);
    g_autofree char *log = g_strconcat(place->path, "-wal", NULL);
    g_autofree char *index = g_strconcat(place->path, "-shm", NULL);
    g_autofree char *index_copy = g_strconcat(place->path, "-copy", NULL);
    struct stat info;

    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    assert_int_equal(sqlite3_exec(db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL), SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    if (with_index)
        place_copy(index, index_copy);
    sqlite3_close(db);
    if (with_index)
        assert_int_equal(rename(index_copy, index), 0);
    assert_int_equal(stat(log, &info), 0);
    assert_true(info.st_size > 0);
}

static void remove_all(struct place *place)
{
    place_stop(place);
    place_start(place);
}

enum form { ROLLBACK_JOURNAL, CLEAN_LOG, CRASHED, CRASHED_WITH_INDEX, FORMS };

static void make_form(const struct place *place, const char *sql, enum form form)
{
    place_run(place, BASE);
    switch (form) {
    case ROLLBACK_JOURNAL:
        place_run(place, sql);
        break;
    case CLEAN_LOG:
        place_run(place, "PRAGMA journal_mode=WAL");
        place_run(place, sql);
        break;
    default:
        run_and_crash(place, sql, form == CRASHED_WITH_INDEX);
        break;
    }
}

static void test_refusals(void **state)
{
    struct place *place = *state;

    for (size_t i = 1; i < G_N_ELEMENTS(refused); i++) {
        for (enum form form = 0; form < FORMS; form++) {
            make_form(place, refused[i].sql, form);
            assert_refused(place, refused[i].words);
            remove_all(place);
        }
    }
}

static void test_row_without_name_is_refused(void **state)
{
    struct place *place = *state;
    const char *words[4] = {"inode 9 has no name"};

    place_run(place, BASE);
    place_run(place, refused[0].sql);
    place_run(place, "UPDATE tree SET name = NULL WHERE inode = 9");
    assert_refused(place, words);
}

/* A crash in the middle loads, and what the log held is there. */
static void test_log_of_a_crash_is_read(void **state)
{
    struct place *place = *state;

    for (enum form form = CRASHED; form < FORMS; form++) {
        make_form(place, "UPDATE tree SET data = x'77' WHERE inode = 2", form);
        struct tree *tree = load(place);
        assert_int_equal(tree_entry(tree, 2)->content->data[0], 0x77);
        tree_free(tree);
        g_autofree char *names = place_names(place);
        assert_string_equal(names, "config.db");
        remove_all(place);
    }
}

static void test_many_problems_are_counted(void **state)
{
    struct place *place = *state;
    const char *words[4] = {"inode 11", "; and 2 more", "pmxcfsctl db check --repair"};

    place_run(place, BASE);
    place_run(place, "UPDATE tree SET type = 6 WHERE inode IN (2, 9, 11);"
                     "UPDATE tree SET writer = -1 WHERE inode IN (5, 13)");
    /* In the order of the rows: 2, 5, 9, and then 11 and 13 are counted only. */
    words[0] = "inode 9";
    assert_refused(place, words);
}

static void test_what_is_no_database_is_refused(void **state)
{
    struct place *place = *state;
    const char *no_database[4] = {"not a database"};
    const char *small[4] = {"is no database, with a size of 16 bytes"};
    const char *empty[4] = {"is no database, with a size of 0 bytes", "remove it"};

    place_write(place->path, "keyboard: en-us\n", 16);
    assert_refused(place, small);
    g_autofree char *noise = g_malloc(50000);
    memset(noise, 0x5a, 50000);
    place_write(place->path, noise, 50000);
    assert_refused(place, no_database);
    place_write(place->path, "", 0);
    assert_refused(place, empty);
}

/* Cut anywhere: never loaded, never touched. */
static void test_truncated_database_is_refused(void **state)
{
    struct place *place = *state;
    g_autofree char *bytes = NULL;
    const char *words[4] = {"cannot", NULL};
    gsize size;

    place_run(place, BASE);
    place_run(place,
              "PRAGMA journal_mode=WAL; UPDATE tree SET data = zeroblob(9000) WHERE inode=2");
    assert_true(g_file_get_contents(place->path, &bytes, &size, NULL));
    assert_true(size >= 3 * 4096);
    for (gsize length = 1; length < size; length += length < 120 ? 1 : 509) {
        place_write(place->path, bytes, length);
        words[0] = length < 100 ? "config.db" : "restore a backup";
        assert_refused(place, words);
    }
    words[0] = "is truncated";
    place_write(place->path, bytes, size - 1);
    assert_refused(place, words);
}

static void test_empty_database_with_its_log_is_refused(void **state)
{
    struct place *place = *state;
    const char *words[4] = {"is no database"};

    make_form(place, "UPDATE tree SET data = x'77' WHERE inode = 2", CRASHED);
    place_write(place->path, "", 0);
    assert_refused(place, words);
}

static unsigned count_orphaned(const struct place *place)
{
    GDir *directory = g_dir_open(place->directory, 0, NULL);
    unsigned count = 0;
    const char *name;

    while ((name = g_dir_read_name(directory)))
        count += g_str_has_prefix(name, "config.db-wal.orphaned-");
    g_dir_close(directory);
    return count;
}

/* Whoever took the database away wants a new one, into which the log must not go. */
static void test_log_without_its_database_is_set_aside(void **state)
{
    struct place *place = *state;
    struct store_options options = {0};
    struct store *store;
    struct tree *tree;
    g_autofree char *message = NULL;

    make_form(place, "UPDATE tree SET data = x'77' WHERE inode = 2", CRASHED);
    assert_int_equal(unlink(place->path), 0);
    /* Tools that only look leave it where it is. */
    assert_int_equal(file_require_present(place->path, NULL, &message), -EBADMSG);
    assert_non_null(strstr(message, "is missing, but"));
    assert_int_equal(count_orphaned(place), 0);
    g_clear_pointer(&message, g_free);
    assert_int_equal(store_open(place->path, &options, &store, &tree, &message), 0);
    assert_int_equal(tree->root.version, 1);
    assert_int_equal(count_orphaned(place), 1);
    tree_free(tree);
    store_close(store);
    assert_int_equal(store_open(place->path, &options, &store, &tree, &message), 0);
    assert_int_equal(tree->root.version, 1);
    assert_int_equal(count_orphaned(place), 1);
    tree_free(tree);
    store_close(store);
}

static void test_directory_is_refused(void **state)
{
    struct place *place = *state;
    const char *words[4] = {"is not a regular file"};

    assert_int_equal(mkdir(place->path, 0700), 0);
    assert_refused(place, words);
}

static void test_encoding_is_refused(void **state)
{
    struct place *place = *state;
    const char *words[4] = {"encoded as UTF-16"};

    place_run(place, "PRAGMA encoding='UTF-16le';" BASE);
    assert_refused(place, words);
}

/* ---- Bytes from anywhere ---- */

/* A database in memory must give a tree or a reason. */
static void check_bytes(const char *bytes, size_t size)
{
    struct collector collector;
    struct tree *tree = NULL;
    sqlite3 *db;
    unsigned char *copy = sqlite3_malloc64(size);

    memcpy(copy, bytes, size);
    /* A database in memory cannot have a log; the flag would make it unreadable. */
    copy[18] = copy[18] == 2 ? 1 : copy[18];
    copy[19] = copy[19] == 2 ? 1 : copy[19];
    assert_int_equal(sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_deserialize(db, "main", copy, (int64_t)size, (int64_t)size,
                                         SQLITE_DESERIALIZE_FREEONCLOSE),
                     SQLITE_OK);
    collector_start(&collector);
    int error = store_read_connection(db, &collector.checker, &tree);
    assert_true((error == 0) == (tree != NULL));
    assert_true((error == 0) == (collector.refused == 0));
    tree_free(tree);
    g_string_free(collector.text, TRUE);
    sqlite3_close(db);
}

static void test_altered_bytes_do_no_harm(void **state)
{
    g_autoptr(GPtrArray) vectors = place_vectors();
    uint32_t seed = 20;

    (void)state;
    for (guint i = 0; i < vectors->len; i++) {
        g_autofree char *bytes = NULL;
        gsize size;
        assert_true(g_file_get_contents(vectors->pdata[i], &bytes, &size, NULL));
        check_bytes(bytes, size);
        for (int round = 0; round < 60; round++) {
            g_autofree char *altered = g_memdup2(bytes, size);
            uint32_t count = 1 + next_random(&seed) % 8;
            for (uint32_t j = 0; j < count; j++)
                altered[next_random(&seed) % MIN(size, 8192)] = (char)next_random(&seed);
            check_bytes(altered, size);
        }
    }
}

/* A row number that is altered below SQLite: rows that do not ascend would have no sure end. */
static void test_rows_that_do_not_ascend_are_refused(void **state)
{
    struct place *place = *state;
    const char *words[4] = {"the table is damaged", "comes after inode 11", "restore a backup"};
    g_autofree char *bytes = NULL;
    gsize size;
    int found = 0;

    place_run(place, BASE);
    assert_true(g_file_get_contents(place->path, &bytes, &size, NULL));
    for (gsize i = 4096; i < size && !found; i++) {
        struct collector collector;
        if (bytes[i] != 13)
            continue;
        bytes[i] = 3;
        place_write(place->path, bytes, size);
        collector_start(&collector);
        assert_true(tools_check(place->path, NULL, &collector.checker) <= 0);
        found += strstr(collector.text->str, "comes after") != NULL;
        g_string_free(collector.text, TRUE);
        bytes[i] = 13;
    }
    assert_int_equal(found, 1);
    assert_refused(place, words);
}

/* A hundred thousand directories, each in the one before. */
static void test_deep_trees_load(void **state)
{
    struct place *place = *state;

    place_run(place, BASE);
    place_run(place,
              "DELETE FROM tree WHERE inode > 0;"
              "WITH RECURSIVE n(i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM n LIMIT 100000) "
              "INSERT INTO tree SELECT i, CASE i WHEN 2 THEN 0 ELSE i - 1 END, i, 1, 1, 4, "
              "'d', NULL FROM n; UPDATE tree SET version = 200000 WHERE inode = 0");
    struct tree *tree = load(place);
    assert_int_equal(tree_entry_count(tree), 100001);
    struct state *loaded = state_new(tree, 0);
    struct draft *draft = draft_new(loaded);
    g_autofree char *problem = NULL;
    assert_int_equal(draft_check(draft, &problem), 0);
    draft_free(draft);
    state_free(loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_vectors_load, start, stop),
        cmocka_unit_test_setup_teardown(test_unusual_databases_load, start, stop),
        cmocka_unit_test_setup_teardown(test_database_without_rows_is_version_1, start, stop),
        cmocka_unit_test_setup_teardown(test_refusals, start, stop),
        cmocka_unit_test_setup_teardown(test_row_without_name_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(test_log_of_a_crash_is_read, start, stop),
        cmocka_unit_test_setup_teardown(test_many_problems_are_counted, start, stop),
        cmocka_unit_test_setup_teardown(test_what_is_no_database_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(test_truncated_database_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(test_empty_database_with_its_log_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(test_log_without_its_database_is_set_aside, start, stop),
        cmocka_unit_test_setup_teardown(test_directory_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(test_encoding_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(test_altered_bytes_do_no_harm, start, stop),
        cmocka_unit_test_setup_teardown(test_rows_that_do_not_ascend_are_refused, start, stop),
        cmocka_unit_test_setup_teardown(test_deep_trees_load, start, stop),
    };

    log_detach(); /* warnings are expected */
    place_use_memory();
    int failures = cmocka_run_group_tests_name("store_read", tests, NULL, NULL);
    place_leave_memory();
    return failures;
}
