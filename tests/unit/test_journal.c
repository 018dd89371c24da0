/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The running journal: what goes to it and what does not, that nothing acknowledged is lost when
 * the process is killed, and what happens when config.db takes nothing (journal/journal.h). */
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
#include "store_node.h"

/* ---- What goes to it ---- */

/* A record has the bytes that were written, not the file; a rename and a touch have none at all. */
static void test_size_of_records(void **state)
{
    struct node *node = *state;
    g_autofree char *journal = node_beside(node, ".journal");
    g_autofree uint8_t *data = g_malloc0(100000);
    size_t before;

    node_make(node, CHANGE_CREATE, "f");
    node_put(node, "f", 0, data, 100000, true);
    before = size_of(journal);
    node_put(node, "f", 100000, "appended", 8, false);
    node_put(node, "f", 5000, "middle", 6, false);
    node_move(node, "f", "g");
    assert_int_equal(
        node_apply(node, (struct change){.operation = CHANGE_MTIME, .path = "g", .offset = 12345}),
        0);
    assert_int_equal(node_commit(node), 0);
    node_put(node, "g", 200, NULL, 0, true);
    assert_in_range(size_of(journal) - before, 1, 5 * 140);
    node_assert_survives(node);
}

static void test_config_db_stays_behind_and_nothing_is_lost(void **state)
{
    struct node *node = *state;
    g_autofree char *journal = node_beside(node, ".journal");
    struct stat info;

    node_make(node, CHANGE_MKDIR, "d");
    node_make(node, CHANGE_CREATE, "d/f");
    node_put_text(node, "d/f", "content");
    assert_int_equal(node_stored_version(node), 0);
    assert_int_equal(stat(journal, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    node_assert_survives(node);
    assert_int_equal(store_flush(node->store), 0);
    assert_int_equal(node_stored_version(node), 4);
    node_assert_survives(node);
    node_move(node, "d/f", "d/g");
    node_make(node, CHANGE_DELETE, "d/g");
    assert_int_equal(node_stored_version(node), 4);
    node_assert_survives(node);
}

static void test_a_clean_stop_leaves_nothing_outside(void **state)
{
    struct node *node = *state;

    node_make(node, CHANGE_MKDIR, "d");
    node_close(node);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db");
    assert_int_equal(node_stored_version(node), 2);
    node->options.fold_delay = 0;
    node_open(node);
    assert_non_null(tree_child(node->state->tree, 0, "d"));
}

static void test_no_journal(void **state)
{
    struct node node;

    (void)state;
    node_start(&node, 0);
    node_make(&node, CHANGE_MKDIR, "d");
    assert_int_equal(node_stored_version(&node), 2);
    g_autofree char *names = place_names(&node.place);
    assert_null(strstr(names, "journal"));
    node_stop(&node);
}

/* One that has a journal no more brings in what is there. */
static void test_left_behind_for_one_without_a_journal(void **state)
{
    struct node *node = *state;
    struct node left;

    node_make(node, CHANGE_MKDIR, "d");
    node_crash(node, &left);
    left.options.fold_delay = 0;
    node_open(&left);
    node_assert_same_state(node, &left);
    assert_int_equal(node_stored_version(&left), 2);
    g_autofree char *names = place_names(&left.place);
    assert_null(strstr(names, "journal"));
    node_stop(&left);
}

/* Changes of all kinds, folded now and then, and in each state killed. */
static void test_random_changes(void **state)
{
    struct node *node = *state;
    GRand *random = g_rand_new_with_seed(7);
    g_autofree uint8_t *data = g_malloc(5000);
    char path[16];
    char to[16];

    for (unsigned i = 0; i < 400; i++) {
        uint32_t size = (uint32_t)g_rand_int_range(random, 0, 5000);
        memset(data, (int)i, size);
        g_snprintf(path, sizeof(path), "f%d", g_rand_int_range(random, 0, 8));
        g_snprintf(to, sizeof(to), "f%d", g_rand_int_range(random, 0, 8));
        const struct change changes[] = {
            {.operation = CHANGE_CREATE, .path = path},
            {.operation = CHANGE_WRITE,
             .path = path,
             .data = data,
             .size = size,
             .offset = (uint32_t)g_rand_int_range(random, 0, 6000),
             .truncate = g_rand_boolean(random)},
            {.operation = CHANGE_RENAME, .path = path, .to = to},
            {.operation = CHANGE_DELETE, .path = path},
            {.operation = CHANGE_MTIME, .path = path, .offset = i},
        };
        unsigned which = (unsigned)g_rand_int_range(random, 0, 8);
        if (node_apply(node, changes[which < 5 ? which : 1]) == 0 && i % 3 != 0)
            assert_int_equal(node_commit(node), 0);
        if (i % 37 == 0)
            assert_int_equal(store_flush(node->store), 0);
        if (i % 101 == 100)
            node_synchronise(node, node->draft->root.version + 5);
        if (i % 5 == 0) {
            assert_int_equal(node_commit(node), 0);
            node_assert_survives(node);
        }
    }
    g_rand_free(random);
}

/* A full area does not wait for the flusher, which there is not. */
static void test_a_full_journal_goes_on(void **state)
{
    struct node *node = *state;
    g_autofree uint8_t *data = g_malloc0(1000000);

    node_make(node, CHANGE_CREATE, "f");
    for (unsigned i = 0; i < 30; i++) {
        memset(data, (int)i, 1000000);
        node_put(node, "f", 0, data, 1000000, false);
        if (i % 7 == 6)
            node_assert_survives(node);
    }
    node_assert_survives(node);
}

static void test_large_drafts_go_to_config_db(void **state)
{
    struct node *node = *state;
    g_autofree uint8_t *data = g_malloc0(1000000);
    char path[16];

    node_make(node, CHANGE_MKDIR, "before");
    for (unsigned i = 0; i < 6; i++) {
        g_snprintf(path, sizeof(path), "f%u", i);
        assert_int_equal(
            node_apply(node, (struct change){.operation = CHANGE_CREATE, .path = path}), 0);
        assert_int_equal(node_apply(node, (struct change){.operation = CHANGE_WRITE,
                                                          .path = path,
                                                          .data = data,
                                                          .size = 1000000}),
                         0);
    }
    assert_int_equal(node_commit(node), 0);
    assert_int_equal(node_stored_version(node), node->state->tree->root.version);
    node_assert_survives(node);
    node_make(node, CHANGE_MKDIR, "after");
    node_assert_survives(node);
}

static void test_a_synchronisation_goes_to_config_db(void **state)
{
    struct node *node = *state;

    node_make(node, CHANGE_MKDIR, "before");
    node_synchronise(node, 50);
    assert_int_equal(node_stored_version(node), 50);
    node_assert_survives(node);
    node_make(node, CHANGE_MKDIR, "after");
    assert_int_equal(node_stored_version(node), 50);
    node_assert_survives(node);
}

/* Without a flusher, too, config.db is never further behind than was promised. */
static void test_who_finds_it_late_folds(void **state)
{
    struct node node;

    (void)state;
    node_start(&node, 1);
    node_make(&node, CHANGE_MKDIR, "first");
    g_usleep(3000);
    node_make(&node, CHANGE_MKDIR, "second");
    assert_int_equal(node_stored_version(&node), 3);
    node_stop(&node);
}

/* ---- Errors ---- */

static sqlite3 *lock(const struct node *node)
{
    sqlite3 *other = place_connect(node->place.path);

    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return other;
}

/* Another program's lock holds nobody up, until config.db would be too far behind. */
static void test_changes_are_refused_when_they_cannot_be_brought_in(void **state)
{
    struct node node;

    (void)state;
    node_start(&node, FOLD_DELAY_LONG);
    sqlite3 *other = lock(&node);
    node_make(&node, CHANGE_MKDIR, "first");
    assert_int_equal(store_flush(node.store), -EBUSY);
    node_make(&node, CHANGE_MKDIR, "second");
    node_assert_survives(&node);
    sqlite3_close(other);
    node_close(&node);

    node.options.fold_delay = 1;
    node_open(&node);
    node_make(&node, CHANGE_MKDIR, "third");
    other = lock(&node);
    g_usleep(3000);
    assert_int_equal(
        node_apply(&node, (struct change){.operation = CHANGE_MKDIR, .path = "fourth"}), 0);
    assert_int_equal(node_commit(&node), -EIO);
    assert_non_null(strstr(store_error(node.store), "locked"));
    node_assert_survives(&node);
    sqlite3_close(other);
    node_make(&node, CHANGE_MKDIR, "fourth");
    assert_int_equal(node_stored_version(&node), 5);
    node_stop(&node);
}

/* What config.db does not take at the start stays in the journal, and is refused to grow. */
static void test_a_start_that_cannot_bring_in(void **state)
{
    struct node *node = *state;
    struct node left;

    node_make(node, CHANGE_MKDIR, "first");
    node_crash(node, &left);
    /* A connection of its own finds the lock; the check before it only reads. */
    sqlite3 *other = lock(&left);
    node_open(&left);
    node_assert_same_state(node, &left);
    assert_int_equal(
        node_apply(&left, (struct change){.operation = CHANGE_MKDIR, .path = "second"}), 0);
    assert_int_equal(node_commit(&left), -EIO);
    node_assert_survives(&left);
    sqlite3_close(other);
    node_make(&left, CHANGE_MKDIR, "second");
    assert_int_equal(node_stored_version(&left), 3);
    node_make(&left, CHANGE_MKDIR, "third");
    assert_int_equal(node_stored_version(&left), 3);
    node_assert_survives(&left);
    node_stop(&left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_size_of_records, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_config_db_stays_behind_and_nothing_is_lost,
                                        node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_a_clean_stop_leaves_nothing_outside, node_set_up,
                                        node_tear_down),
        cmocka_unit_test(test_no_journal),
        cmocka_unit_test_setup_teardown(test_left_behind_for_one_without_a_journal, node_set_up,
                                        node_tear_down),
        cmocka_unit_test_setup_teardown(test_random_changes, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_a_full_journal_goes_on, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_large_drafts_go_to_config_db, node_set_up,
                                        node_tear_down),
        cmocka_unit_test_setup_teardown(test_a_synchronisation_goes_to_config_db, node_set_up,
                                        node_tear_down),
        cmocka_unit_test(test_who_finds_it_late_folds),
        cmocka_unit_test(test_changes_are_refused_when_they_cannot_be_brought_in),
        cmocka_unit_test_setup_teardown(test_a_start_that_cannot_bring_in, node_set_up,
                                        node_tear_down),
    };

    log_detach(); /* failures are expected */
    place_use_memory();
    int failures = cmocka_run_group_tests_name("journal", tests, NULL, NULL);
    place_leave_memory();
    return failures;
}
