/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The store, without and with a journal, with each of its writes, syncs, renames and deletions as
 * the last one before a crash, and with each of its calls failing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/index.h"
#include "ctl/tools/backup.h"
#include "store/safety.h"
#include "story.h"

#define SECONDS_A_DAY 86400
#define MEMORY_STRIDE 3u /* of the calls for memory, which are many */

/* Only every so many of all points are tried (the program's second argument): 1 for all of them.
 * Which ones changes from day to day, unless the third argument says it: 0 is the first. */
static unsigned every = 1;
static unsigned first;

static void move_log(struct story *story, unsigned step)
{
    if (step % 2) {
        story_flush(story);
        return;
    }
    node_close(story->node);
    assert_int_equal(node_open(story->node), 0);
    story->now.safe = story->now.acknowledged;
    story_promise(story);
}

static void tell_story(struct story *story, const change_function *changes, unsigned count)
{
    assert_int_equal(node_open(story->node), 0);
    story_remember(story);
    for (unsigned i = 0; i < count; i++) {
        if (changes[i])
            story_commit(story, changes[i]);
        else
            move_log(story, i);
        if (story_has_journal && i % 4 == 3)
            story_flush(story);
    }
    node_close(story->node);
    story->now.safe = story->now.acknowledged;
    story_promise(story);
    story->events = disk_log_stop();
}

/* At each `stride`-th event. */
static void crash_everywhere(enum store_durability durability, const change_function *changes,
                             unsigned change_count, guint stride)
{
    struct node node;
    struct story story;
    unsigned points = 0;

    node_start(&node, durability);
    story_start(&story, &node);
    tell_story(&story, changes, change_count);
    for (guint count = stride * first; count <= story.events->len; count += stride * every)
        points += story_check(&story, count);
    print_message("durability %s%s: %u events of the disk, %u commits, %u crashes\n",
                  durability == STORE_FULL ? "full" : "normal",
                  story_has_journal ? ", journal" : "", story.events->len, story.now.acknowledged,
                  points);
    assert_true(story.events->len > 100);
    story_stop(&story);
    node_stop(&node);
}

static void test_crashes(void **state)
{
    (void)state;
    crash_everywhere(STORE_NORMAL, all_changes, G_N_ELEMENTS(all_changes), 1);
}

static void test_crashes_full(void **state)
{
    (void)state;
    crash_everywhere(STORE_FULL, all_changes, G_N_ELEMENTS(all_changes), 1);
}

static void test_crashes_in_huge_commits(void **state)
{
    (void)state;
    crash_everywhere(STORE_FULL, huge_changes, G_N_ELEMENTS(huge_changes), 17);
}

/* --- Copies of the database --- */

/* A safety copy is sound, and when it is finished it has something in it. */
static void assert_kept(const char *path, const struct point *point, bool finished)
{
    struct store *store;
    struct tree *tree;
    g_autofree char *message = NULL;

    point_assert_sound(path, point);
    assert_int_equal(store_open(path, NULL, &store, &tree, &message), 0);
    if (finished)
        assert_true(tree_entry_count(tree) > 1);
    tree_free(tree);
    store_close(store);
}

/* Backups and safety copies appear as a whole or not at all. */
static void check_copies(const GPtrArray *events, const struct point *point,
                         const struct buffer *const states[2], guint first_done)
{
    struct node found;
    g_autoptr(GDir) directory = NULL;
    const char *name;

    node_start(&found, STORE_NORMAL);
    disk_log_restore(events, point->count, point->crash, point->seed, found.place.directory);
    directory = g_dir_open(found.place.directory, 0, NULL);
    while ((name = g_dir_read_name(directory))) {
        g_autofree char *path = g_build_filename(found.place.directory, name, NULL);
        if (g_str_has_prefix(name, "config.db.kept-") && !strpbrk(name + 15, ".w"))
            assert_kept(path, point, point->count == events->len);
    }
    if (point->count >= first_done) {
        point_assert_sound(found.place.path, point);
        if (!g_file_test(found.place.path, G_FILE_TEST_EXISTS))
            fail_msg("event %u of %u, crash %d: no copy", point->count, events->len, point->crash);
    }
    if (g_file_test(found.place.path, G_FILE_TEST_EXISTS)) {
        assert_int_equal(node_open(&found), 0);
        assert_true(node_is_index(&found, states[0]) || node_is_index(&found, states[1]));
    }
    node_stop(&found);
}

static void test_copies(void **unused)
{
    struct node node;
    struct place copies;
    g_autofree char *message = NULL;
    struct buffer *states[2];
    unsigned points = 0;

    (void)unused;
    node_start(&node, STORE_NORMAL);
    place_start(&copies);
    assert_int_equal(node_open(&node), 0);
    disk_log_start(copies.directory);
    assert_int_equal(change_make_batch(&node), 0);
    assert_int_equal(node_commit(&node), 0);
    states[0] = index_build(node.draft);
    assert_int_equal(tools_backup(node.place.path, copies.path, &message), 0);
    disk_log_mark(1);
    assert_int_equal(change_make_directory(&node), 0);
    assert_int_equal(node_commit(&node), 0);
    states[1] = index_build(node.draft);
    assert_int_equal(tools_backup(node.place.path, copies.path, &message), 0);
    assert_int_equal(change_synchronise(&node), 0);
    struct safety_copy copy = {0};
    assert_true(safety_keep(&copy, copies.directory, node.draft, 3, 5000));
    safety_clear(&copy);
    g_autoptr(GPtrArray) events = disk_log_stop();
    guint first_done = 0;
    while (((struct disk_event *)events->pdata[first_done])->mark == 0)
        first_done++;
    for (guint count = first; count <= events->len; count += every) {
        struct point point = {count, CRASH_KILLED, 0};
        for (point.crash = CRASH_KILLED; point.crash <= CRASH_MIXED; point.crash++, points++)
            check_copies(events, &point, (const struct buffer *const *)states, first_done);
    }
    print_message("copies: %u events of the disk, %u crashes\n", events->len, points);
    g_autofree char *names = place_names(&copies);
    assert_non_null(strstr(names, "config.db.kept-"));
    buffer_unref(states[0]);
    buffer_unref(states[1]);
    place_stop(&copies);
    node_stop(&node);
}

/* --- Errors --- */

static const change_function some_changes[] = {
    change_make_directory, change_write_big,  change_write_middle, NULL, change_make_batch, NULL,
    change_synchronise,    change_delete_file};

/* The state as the last commit that succeeded left it, and as those that failed would have. */
struct expected {
    struct buffer *state;
    GPtrArray *failed; /* struct buffer: since the last commit that succeeded */
    unsigned errors;
};

/* A commit succeeded; takes over the state. */
static void expect(struct expected *expected, struct buffer *state)
{
    buffer_unref(expected->state);
    expected->state = state;
    g_ptr_array_set_size(expected->failed, 0);
}

/* Tries a change; with an error nothing has changed. */
static void try_change(struct node *node, change_function change, struct expected *expected)
{
    if (change(node) != 0) { /* it needs what failed before */
        draft_restart(node->draft);
        return;
    }
    struct buffer *wanted = index_build(node->draft);
    if (node_commit(node) == 0) {
        expect(expected, wanted);
    } else {
        assert_true(disk_has_failed());
        assert_true(strlen(store_error(node->store)) > 0);
        g_ptr_array_add(expected->failed, wanted);
        expected->errors++;
    }
    assert_true(node_is_index(node, expected->state));
}

static void try_changes(struct node *node, struct expected *expected)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(some_changes); i++) {
        if (some_changes[i]) {
            try_change(node, some_changes[i], expected);
        } else if (store_flush(node->store) != 0) {
            assert_true(disk_has_failed());
            expected->errors++;
        }
    }
}

/* One of the commits that failed is there. */
static bool is_failed(const struct node *node, const struct expected *expected)
{
    for (guint i = 0; i < expected->failed->len; i++)
        if (node_is_index(node, expected->failed->pdata[i]))
            return true;
    return false;
}

/* Opens it when the errors have stopped. What was told to have failed may be there only if nothing
 * could be written after it (`either`), as after a crash. */
static void assert_recovers(struct node *node, const struct expected *expected, bool either)
{
    struct point point = {0};

    if (node->store)
        node_close(node);
    point_assert_sound(node->place.path, &point);
    assert_int_equal(node_open(node), 0);
    if (!node_is_index(node, expected->state))
        assert_true(either && is_failed(node, expected));
    assert_int_equal(change_make(node, CHANGE_MKDIR, "after"), 0);
    assert_int_equal(node_commit(node), 0);
}

/* One run with the errors from call `count` on. `early`: they stop before the database is closed.
 * False: there were not so many calls. */
static bool run_with_errors(const char *base, unsigned count, enum disk_fault fault, bool lasting,
                            bool early, unsigned *errors)
{
    struct node node;
    struct expected expected = {.failed = g_ptr_array_new_with_free_func(buffer_destroy)};

    node_start(&node, count % 2 ? STORE_FULL : STORE_NORMAL);
    if (base)
        place_copy(base, node.place.path);
    assert_int_equal(node_open(&node), 0);
    expected.state = index_build(node.draft);
    node_close(&node);
    if (!base) /* the making of a database is what fails */
        place_stop(&node.place), place_start(&node.place);
    disk_fail_at(count, fault, lasting);
    if (node_open(&node) == 0) {
        try_changes(&node, &expected);
        if (early) {
            disk_fail_at(0, fault, false);
            try_change(&node, change_take_lock, &expected); /* needs priv/lock: refused or not */
            try_change(&node, change_make_guest, &expected);
            assert_int_equal(change_make(&node, CHANGE_MKDIR, "goes-on"), 0);
            expect(&expected, index_build(node.draft));
            assert_int_equal(node_commit(&node), 0);
        }
        if (!early)
            node_close(&node);
    } else {
        assert_true(disk_has_failed());
        expected.errors++;
    }
    bool reached = early || disk_has_failed();
    disk_fail_at(0, fault, false);
    assert_recovers(&node, &expected, !early);
    *errors += expected.errors;
    buffer_unref(expected.state);
    g_ptr_array_unref(expected.failed);
    node_stop(&node);
    return reached;
}

/* A database with something in it, closed. */
static void make_base(struct node *base)
{
    node_start(base, STORE_NORMAL);
    assert_int_equal(node_open(base), 0);
    assert_int_equal(change_make_directories(base), 0);
    assert_int_equal(node_commit(base), 0);
    node_close(base);
}

/* At each `stride`-th call. */
static void fail_everywhere(enum disk_fault fault, bool lasting, unsigned stride)
{
    static const char *const names[] = {
        [FAULT_ERROR] = "EIO", [FAULT_FULL] = "ENOSPC", [FAULT_MEMORY] = "no memory"};
    struct node base;
    unsigned runs = 0;
    unsigned errors = 0;
    const unsigned begin = 1 + stride * first;
    unsigned count = begin;
    unsigned step = stride * every;

    make_base(&base);
    for (; run_with_errors(base.place.path, count, fault, lasting, false, &errors); count += step)
        runs += run_with_errors(base.place.path, count, fault, lasting, true, &errors) + 1;
    unsigned last = 100 * step;
    for (count = begin; count < last; count += step, runs++)
        if (!run_with_errors(NULL, count, fault, lasting, false, &errors))
            break;
    print_message("%s, %s: %u runs, %u errors told\n", names[fault],
                  lasting ? "from a call on" : "a single one", runs, errors);
    assert_true(runs * every > 100 && errors * every > 50);
    node_stop(&base);
}

static void test_errors(void **state)
{
    (void)state;
    fail_everywhere(FAULT_ERROR, false, 1);
}

static void test_lasting_errors(void **state)
{
    (void)state;
    fail_everywhere(FAULT_ERROR, true, 1);
}

static void test_full_disk(void **state)
{
    (void)state;
    fail_everywhere(FAULT_FULL, false, 1);
}

static void test_lasting_full_disk(void **state)
{
    (void)state;
    fail_everywhere(FAULT_FULL, true, 1);
}

static void test_no_memory(void **state)
{
    (void)state;
    fail_everywhere(FAULT_MEMORY, false, MEMORY_STRIDE);
}

static void test_lasting_lack_of_memory(void **state)
{
    (void)state;
    fail_everywhere(FAULT_MEMORY, true, MEMORY_STRIDE);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_crashes_full),
        cmocka_unit_test(test_crashes_in_huge_commits),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_lasting_errors),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_lasting_full_disk),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_lasting_lack_of_memory),
    };

    story_has_journal = argc > 1 && strcmp(argv[1], "journal") == 0;
    if (argc > 2)
        every = (unsigned)MAX(atoi(argv[2]), 1);
    first = (argc > 3 ? (unsigned)atoi(argv[3]) : (unsigned)(time(NULL) / SECONDS_A_DAY)) % every;
    print_message("every %u. point, from point %u on\n", every, first);
    place_use_memory();
    disk_log_install();
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    place_leave_memory();
    return result;
}
