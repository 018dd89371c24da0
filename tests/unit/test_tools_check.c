/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a check lists, and that it alters nothing (ctl/tools/check.h). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "collector.h"
#include "ctl/tools/check.h"
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

static void test_check_lists_all(void **state)
{
    struct place *place = *state;
    struct collector collector;

    place_run(place, BASE);
    place_run(place, "INSERT INTO tree VALUES (30, 8, 30, 1, 1, 8, '100.conf', NULL),"
                     "(31, 0, 31, 1, 1, 8, 'priv', NULL), (32, 99, 32, 1, 1, 8, 'lost', NULL),"
                     "(33, 34, 33, 1, 1, 4, 'one', NULL), (34, 33, 34, 1, 1, 4, 'two', NULL),"
                     "(35, 34, 35, 1, 1, 8, 'below', NULL), (50, 0, 36, 1, -2, 8, 'late', NULL)");
    g_autofree char *before = place_snapshot(place);
    collector_start(&collector);
    assert_int_equal(tools_check(place->path, NULL, &collector.checker), -EBADMSG);
    assert_string_equal(
        collector.text->str,
        "50 0 late: the mtime of inode 50 is -2, which is not from 0 to 4294967295\n"
        "32 0 ?/lost: inode 32 ('lost') lies in inode 99, which is missing\n"
        "33 34 ?/one: directory inode 33 ('one') in inode 34 lies within itself and cannot be "
        "reached\n"
        "31 13 priv: inode 13 and inode 31 have the same name 'priv' in directory inode 0\n"
        "30 9 nodes/b/lxc/100.conf: inode 9 and inode 30 are both the configuration of guest 100 "
        "('100.conf')\n"
        "50 0 late: inode 50 is above the global version, 40: a new entry may be given its "
        "number\n");
    assert_int_equal(collector.refused, 5);
    assert_int_equal(collector.warnings, 1);
    g_string_free(collector.text, TRUE);
    g_autofree char *after = place_snapshot(place);
    assert_string_equal(after, before);
}

static void test_check_of_vectors_finds_nothing(void **state)
{
    struct place *place = *state;
    g_autoptr(GPtrArray) vectors = place_vectors();
    struct collector collector;

    for (guint i = 0; i < vectors->len; i++) {
        place_copy(vectors->pdata[i], place->path);
        g_autofree char *before = place_snapshot(place);
        collector_start(&collector);
        assert_int_equal(tools_check(place->path, NULL, &collector.checker), 0);
        assert_string_equal(collector.text->str, "");
        g_string_free(collector.text, TRUE);
        g_autofree char *after = place_snapshot(place);
        assert_string_equal(after, before);
    }
}

/* While a daemon works on it: its uncheckpointed changes are seen, its files are left alone. */
static void test_check_beside_a_daemon(void **state)
{
    struct place *place = *state;
    struct collector collector;

    place_run(place, BASE);
    place_run(place, "PRAGMA journal_mode=WAL");
    sqlite3 *daemon = place_connect(place->path);
    assert_int_equal(sqlite3_exec(daemon,
                                  "UPDATE tree SET name = 'a' WHERE inode = 13; BEGIN "
                                  "IMMEDIATE; UPDATE tree SET writer = -1",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    g_autofree char *before = place_names(place);
    collector_start(&collector);
    assert_int_equal(tools_check(place->path, NULL, &collector.checker), 0);
    assert_string_equal(collector.text->str, "");
    g_string_free(collector.text, TRUE);
    g_autofree char *after = place_names(place);
    assert_string_equal(after, before);
    assert_string_equal(after, "config.db config.db-shm config.db-wal");
    assert_int_equal(sqlite3_exec(daemon, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    collector_start(&collector);
    assert_int_equal(tools_check(place->path, NULL, &collector.checker), -EBADMSG);
    assert_non_null(strstr(collector.text->str, "the writer of inode 13 is -1"));
    g_string_free(collector.text, TRUE);
    sqlite3_close(daemon);
}

static void test_check_of_what_is_not_there(void **state)
{
    struct place *place = *state;
    struct collector collector;

    collector_start(&collector);
    assert_int_equal(tools_check(place->path, NULL, &collector.checker), -ENOENT);
    assert_int_equal(collector.refused, 1);
    g_string_free(collector.text, TRUE);
    g_autofree char *names = place_names(place);
    assert_string_equal(names, "");
}

static void test_check_finds_damaged_pages(void **state)
{
    struct place *place = *state;
    struct collector collector;
    g_autofree char *bytes = NULL;
    gsize size;

    place_run(place, "PRAGMA auto_vacuum=NONE;" BASE);
    place_run(place, "UPDATE tree SET data = zeroblob(40000) WHERE inode = 2; "
                     "UPDATE tree SET data = NULL WHERE inode = 2");
    assert_true(g_file_get_contents(place->path, &bytes, &size, NULL));
    bytes[39] = (char)(bytes[39] + 1); /* pages on the list of free ones: no load looks there */
    place_write(place->path, bytes, size);
    collector_start(&collector);
    assert_int_equal(tools_check(place->path, NULL, &collector.checker), -EBADMSG);
    assert_non_null(strstr(collector.text->str, "SQLite's integrity check"));
    g_string_free(collector.text, TRUE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_check_lists_all, start, stop),
        cmocka_unit_test_setup_teardown(test_check_of_vectors_finds_nothing, start, stop),
        cmocka_unit_test_setup_teardown(test_check_beside_a_daemon, start, stop),
        cmocka_unit_test_setup_teardown(test_check_of_what_is_not_there, start, stop),
        cmocka_unit_test_setup_teardown(test_check_finds_damaged_pages, start, stop),
    };

    place_use_memory();
    int failures = cmocka_run_group_tests_name("tools_check", tests, NULL, NULL);
    place_leave_memory();
    return failures;
}
