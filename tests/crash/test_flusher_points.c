/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The flusher's thread beside a writer: with each step of the disk of either as the last one before
 * a crash, in orders of the two that come from seeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "store/flusher.h"
#include "story.h"
#include "turns.h"

#define FOLD_DELAY 40u /* milliseconds: some folds come in time, others not */
#define STEP_MAX 30    /* milliseconds from one change to the next */
#define SECONDS_A_DAY 86400

/* As in test_crash_points.c: the program's first and second argument. */
static unsigned every = 1;
static unsigned first;

/* The story that is being told, for the flusher's own flushes. */
static struct story *told;

int __real_store_flush(struct store *store);
int __wrap_store_flush(struct store *store);

/* What was acknowledged when a flush began is safe when it ends. */
int __wrap_store_flush(struct store *store)
{
    unsigned acknowledged = told ? told->now.acknowledged : 0;
    int error = __real_store_flush(store);

    if (told && !error) {
        told->now.safe = MAX(told->now.safe, acknowledged);
        story_promise(told);
    }
    return error;
}

static void tell(struct story *story, uint32_t seed)
{
    struct node *node = story->node;
    GRand *random = g_rand_new_with_seed(seed);

    assert_int_equal(node_open(node), 0);
    story_remember(story);
    struct flusher *flusher = flusher_start(node->store);
    assert_non_null(flusher);
    for (unsigned i = 0; i < CHANGES_ALL; i++) {
        if (all_changes[i])
            story_commit(story, all_changes[i]);
        turns_advance((uint64_t)g_rand_int_range(random, 0, STEP_MAX));
        turns_may_change();
    }
    flusher_stop(flusher);
    node_close(node);
    story->now.safe = story->now.acknowledged;
    story_promise(story);
    story->events = disk_log_stop();
    g_rand_free(random);
}

static void record(struct story *story, struct node *node, enum store_durability durability,
                   uint32_t seed)
{
    node_start(node, durability);
    node->options.fold_delay = FOLD_DELAY;
    node->options.clock = turns_clock();
    story_start(story, node);
    turns_start(seed);
    told = story;
    disk_log_each(turns_may_change);
    tell(story, seed);
    disk_log_each(NULL);
    told = NULL;
    turns_stop();
}

/* So many events of the journal stand between others of config.db in the same fold. */
static unsigned count_beside(const GPtrArray *events)
{
    unsigned count = 0;

    for (guint i = 1; i + 1 < events->len; i++) {
        const struct disk_event *before = events->pdata[i - 1];
        const struct disk_event *event = events->pdata[i];
        const struct disk_event *after = events->pdata[i + 1];
        count += event->step == DISK_WRITE && before->step == DISK_WRITE &&
                 after->step == DISK_WRITE && before->file == after->file &&
                 event->file != before->file;
    }
    return count;
}

static void crash_everywhere(enum store_durability durability, uint32_t seed, unsigned *beside)
{
    struct node node;
    struct story story;
    unsigned points = 0;

    record(&story, &node, durability, seed);
    unsigned changes = turns_changes();
    for (guint count = (first + seed) % every; count <= story.events->len; count += every)
        points += story_check(&story, count);
    unsigned between = count_beside(story.events);
    print_message("durability %s, seed %u: %u events of the disk, %u commits, %u changes of turn, "
                  "%u writes amid a fold, %u crashes\n",
                  durability == STORE_FULL ? "full" : "normal", seed, story.events->len,
                  story.now.acknowledged, changes, between, points);
    assert_true(story.events->len > 100 && changes > 20);
    *beside += between;
    story_stop(&story);
    node_stop(&node);
}

#define SEEDS 4u

static void test_crashes(void **state)
{
    unsigned beside = 0;

    (void)state;
    for (uint32_t seed = 1; seed <= SEEDS; seed++)
        crash_everywhere(STORE_NORMAL, seed, &beside);
    assert_true(beside > 0);
}

static void test_crashes_full(void **state)
{
    unsigned beside = 0;

    (void)state;
    for (uint32_t seed = SEEDS + 1; seed <= 2 * SEEDS; seed++)
        crash_everywhere(STORE_FULL, seed, &beside);
    assert_true(beside > 0);
}

static bool is_same(const struct disk_event *a, const struct disk_event *b)
{
    return a->step == b->step && a->file == b->file && a->offset == b->offset &&
           a->mark == b->mark && (a->bytes ? a->bytes->len : 0) == (b->bytes ? b->bytes->len : 0);
}

/* A finding can be looked at again. */
static void test_order_comes_from_the_seed(void **state)
{
    struct node nodes[2];
    struct story stories[2];

    (void)state;
    for (int i = 0; i < 2; i++)
        record(&stories[i], &nodes[i], STORE_FULL, 1);
    assert_int_equal(stories[0].events->len, stories[1].events->len);
    for (guint i = 0; i < stories[0].events->len; i++)
        assert_true(is_same(stories[0].events->pdata[i], stories[1].events->pdata[i]));
    for (int i = 0; i < 2; i++) {
        story_stop(&stories[i]);
        node_stop(&nodes[i]);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_crashes_full),
        cmocka_unit_test(test_order_comes_from_the_seed),
    };

    if (argc > 1)
        every = (unsigned)MAX(atoi(argv[1]), 1);
    first = (argc > 2 ? (unsigned)atoi(argv[2]) : (unsigned)(time(NULL) / SECONDS_A_DAY)) % every;
    print_message("every %u. point, from point %u on\n", every, first);
    story_has_journal = true;
    place_use_memory();
    disk_log_install();
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    place_leave_memory();
    return result;
}
