/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The flusher, and how large the WAL becomes with and without it (store/flusher.h, store_flush()).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/util.h"
#include "journal/record.h"
#include "store/flusher.h"
#include "store_node.h"

#define PATIENCE_SECONDS 60

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

/* ---- The WAL ---- */

static off_t wal_size(const struct node *node)
{
    g_autofree char *path = g_strconcat(node->place.path, "-wal", NULL);
    struct stat info;

    return stat(path, &info) == 0 ? info.st_size : 0;
}

/* As a synchronisation's commit, which goes not by the journal. */
static void change_directly(struct node *node, const char *path, const char *text)
{
    node_draft(node, CHANGE_WRITE, path, NULL, text, strlen(text));
    node->draft->rebuild = true;
    assert_int_equal(node_commit(node), 0);
}

static void test_commits_do_not_checkpoint_beside_a_journal(void **state)
{
    struct node *node = *state;
    g_autofree char *bytes = g_strnfill(100000, 'b');
    struct stat before;
    struct stat after;

    node_close(node);
    node_open_with(node, &(struct store_options){.fold_delay = FOLD_DELAY_LONG});
    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    change_directly(node, "f", "small");
    assert_int_equal(store_flush(node->store), 0);
    assert_int_equal(stat(node->place.path, &before), 0);
    for (int i = 0; i < 100; i++)
        change_directly(node, "f", bytes);
    assert_int_equal(stat(node->place.path, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_true(wal_size(node) > 100 * 100000);
    assert_int_equal(store_flush(node->store), 0);
    g_autofree char *rows = node_file_rows(node, "SELECT version FROM tree WHERE inode = 0");
    assert_string_equal(rows, "103\n");
    node_close(node);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db");
}

/* However many commits and folds, the WAL is used again and again: it stops growing, though each
 * adds a page at least to what it holds. */
static void assert_wal_is_bounded(struct node *node, uint64_t fold_delay)
{
    struct store_options options = {.fold_delay = fold_delay, .checkpoint_pages = 50};

    node_close(node);
    node_open_with(node, &options);
    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    for (int i = 0; i < 500; i++) {
        node_change(node, CHANGE_WRITE, "f", NULL, i % 2 ? "one" : "two");
        if (fold_delay > 0)
            assert_int_equal(store_flush(node->store), 0);
    }
    assert_in_range(wal_size(node), 1, 60 * 4200);
    node_assert_intact(node);
}

static void test_wal_is_bounded_by_commits(void **state)
{
    assert_wal_is_bounded(*state, 0);
}

static void test_wal_is_bounded_by_folds(void **state)
{
    assert_wal_is_bounded(*state, FOLD_DELAY_LONG);
}

/* ---- The flusher ---- */

static void test_flusher_moves_a_direct_commit(void **state)
{
    struct node *node = *state;
    g_autofree char *rows = NULL;

    node_close(node);
    node_open_with(node, &(struct store_options){.fold_delay = 10});
    struct flusher *flusher = flusher_start(node->store);
    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    change_directly(node, "f", "text");
    while (g_strcmp0(rows, "3\n") != 0) {
        g_usleep(1000);
        g_free(rows);
        rows = node_file_rows(node, "SELECT version FROM tree WHERE inode = 0");
    }
    flusher_stop(flusher);
    /* The WAL starts anew with the next commit. */
    off_t before = wal_size(node);
    change_directly(node, "f", "x");
    assert_int_equal(wal_size(node), before);
}

static void test_flusher_stops_when_idle(void **state)
{
    struct node *node = *state;

    for (int i = 0; i < 50; i++)
        flusher_stop(flusher_start(node->store));
    struct flusher *flusher = flusher_start(node->store);
    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    flusher_stop(flusher);
    node_change(node, CHANGE_DELETE, "f", NULL, NULL);
}

/* Both halves of the file, several times over. */
static void test_much_is_folded_by_itself(void **state)
{
    struct node *node = *state;
    node_close(node);
    node_open_with(node, &(struct store_options){.fold_delay = FOLD_DELAY_LONG});
    struct flusher *flusher = flusher_start(node->store);
    g_autofree uint8_t *data = g_malloc0(200000);
    g_autofree char *journal = node_beside(node, ".journal");

    assert_non_null(flusher);
    node_make(node, CHANGE_CREATE, "f");
    for (unsigned i = 0; i < 300; i++) {
        memset(data, (int)i, 200000);
        node_put(node, "f", 0, data, 200000, false);
    }
    node_assert_survives(node);
    assert_true(node_stored_version(node) > 10);
    assert_in_range(size_of(journal), 1, JOURNAL_AREAS * (size_t)JOURNAL_AREA_SIZE);
    flusher_stop(flusher);
}

static void wait_stored(const struct node *node, uint64_t version)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_SECONDS * G_TIME_SPAN_SECOND;

    while (node_stored_version(node) != version) {
        assert_true(g_get_monotonic_time() < end);
        g_usleep(1000);
    }
}

static void test_the_flusher_folds_in_time(void **state)
{
    struct node node;

    (void)state;
    node_start(&node, 100);
    struct flusher *flusher = flusher_start(node.store);
    for (unsigned i = 0; i < 5; i++) {
        g_autofree char *path = g_strdup_printf("d%u", i);
        node_make(&node, CHANGE_MKDIR, path);
        wait_stored(&node, node.state->tree->root.version);
    }
    flusher_stop(flusher);
    node_stop(&node);
}

/* ---- Who is told before a fold ---- */

struct slow_witness {
    struct store_witness witness;
    atomic_uint asked;
    atomic_bool ready;
};

static bool on_folding(struct store_witness *witness, uint64_t version)
{
    struct slow_witness *slow = container_of(witness, struct slow_witness, witness);

    assert_true(version > 1);
    atomic_fetch_add(&slow->asked, 1);
    return atomic_load(&slow->ready);
}

static void on_replayed(struct store_witness *witness, const GPtrArray *effects)
{
    (void)witness;
    (void)effects;
}

static void open_with_witness(struct node *node, struct slow_witness *slow, uint64_t fold_delay)
{
    *slow = (struct slow_witness){.witness = {.replayed = on_replayed, .folding = on_folding}};
    node_close(node);
    node_open_with(node,
                   &(struct store_options){.fold_delay = fold_delay, .witness = &slow->witness});
}

static void test_a_fold_is_put_off(void **state)
{
    struct node *node = *state;
    struct slow_witness slow;

    open_with_witness(node, &slow, FOLD_DELAY_LONG);
    uint64_t before = node_stored_version(node);
    node_make(node, CHANGE_CREATE, "f");
    for (unsigned i = 0; i < 3; i++) {
        unsigned asked = atomic_load(&slow.asked);
        assert_int_equal(store_flush(node->store), -EAGAIN);
        assert_int_equal(atomic_load(&slow.asked), asked + 1);
        assert_int_equal(node_stored_version(node), before);
        node_put(node, "f", 0, (const uint8_t *)"text", 4, true);
        node_assert_survives(node); /* the journal has it */
    }
    assert_false(store_is_failing(node->store));
    atomic_store(&slow.ready, true);
    assert_int_equal(store_flush(node->store), 0);
    assert_int_equal(node_stored_version(node), node->state->tree->root.version);
}

struct stopped_clock {
    struct clock_source source;
    atomic_uint_fast64_t milliseconds;
};

static uint64_t stopped_milliseconds(struct clock_source *source)
{
    return atomic_load(&container_of(source, struct stopped_clock, source)->milliseconds);
}

/* What is late is stored directly, after a fold; but while one is under way who commits would wait
 * for it, so there is more time then. */
static void test_nobody_waits_for_a_fold_that_takes_its_time(void **state)
{
    struct node *node = *state;
    struct stopped_clock clock = {.source.milliseconds = stopped_milliseconds, .milliseconds = 1};
    struct slow_witness slow = {.witness = {.replayed = on_replayed, .folding = on_folding}};
    const struct store_options options = {
        .fold_delay = 1000, .witness = &slow.witness, .clock = &clock.source};

    node_close(node);
    node_open_with(node, &options);
    uint64_t before = node_stored_version(node);
    node_make(node, CHANGE_CREATE, "f");
    assert_int_equal(store_flush(node->store), -EAGAIN);
    unsigned asked = atomic_load(&slow.asked);
    atomic_store(&clock.milliseconds, 1500);
    node_make(node, CHANGE_CREATE, "g");
    assert_int_equal(atomic_load(&slow.asked), asked);
    assert_int_equal(node_stored_version(node), before);
    node_assert_survives(node);
    atomic_store(&clock.milliseconds, 2500);
    node_make(node, CHANGE_CREATE, "h");
    assert_true(atomic_load(&slow.asked) > asked);
    assert_int_equal(node_stored_version(node), node->state->tree->root.version);
    node_assert_survives(node);
    atomic_store(&slow.ready, true);
    node_close(node);
    node_open_with(node, &(struct store_options){.fold_delay = FOLD_DELAY_LONG});
}

static void test_a_direct_commit_is_not_put_off(void **state)
{
    struct node *node = *state;
    struct slow_witness slow;

    open_with_witness(node, &slow, FOLD_DELAY_LONG);
    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    change_directly(node, "f", "text");
    assert_int_equal(atomic_load(&slow.asked), 1);
    assert_int_equal(node_stored_version(node), 3);
    node_change(node, CHANGE_CREATE, "g", NULL, NULL);
    node_close(node); /* nor a stop's */
    assert_int_equal(atomic_load(&slow.asked), 2);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db");
}

static void test_the_flusher_asks_again(void **state)
{
    struct node *node = *state;
    struct slow_witness slow;

    open_with_witness(node, &slow, 10);
    uint64_t before = node_stored_version(node);
    struct flusher *flusher = flusher_start(node->store);
    node_make(node, CHANGE_CREATE, "f");
    while (atomic_load(&slow.asked) < 3)
        g_usleep(1000);
    assert_int_equal(node_stored_version(node), before);
    atomic_store(&slow.ready, true);
    wait_stored(node, node->state->tree->root.version);
    flusher_stop(flusher);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_commits_do_not_checkpoint_beside_a_journal, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_wal_is_bounded_by_commits, start, stop),
        cmocka_unit_test_setup_teardown(test_wal_is_bounded_by_folds, start, stop),
        cmocka_unit_test_setup_teardown(test_flusher_moves_a_direct_commit, start, stop),
        cmocka_unit_test_setup_teardown(test_flusher_stops_when_idle, start, stop),
        cmocka_unit_test_setup_teardown(test_much_is_folded_by_itself, start, stop),
        cmocka_unit_test(test_the_flusher_folds_in_time),
        cmocka_unit_test_setup_teardown(test_a_fold_is_put_off, start, stop),
        cmocka_unit_test_setup_teardown(test_nobody_waits_for_a_fold_that_takes_its_time, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_a_direct_commit_is_not_put_off, start, stop),
        cmocka_unit_test_setup_teardown(test_the_flusher_asks_again, start, stop),
    };

    place_use_memory();
    int failures = cmocka_run_group_tests_name("flusher", tests, NULL, NULL);
    place_leave_memory();
    return failures;
}
