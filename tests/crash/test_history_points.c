/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The history beside a store with a journal: each write, sync, rename and deletion of either as the
 * last one before a crash, and each call failing. What the database has is in the history
 * afterwards, step by step (doc/history.md, "When it is written"). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "commit.h"
#include "core/apply.h"
#include "core/state.h"
#include "disk_log.h"
#include "history/batch.h"
#include "history/reader.h"
#include "store_place.h"

#define FOLD_DELAY 3600000u /* nothing is folded for its age alone */
#define FOLD_CHECKPOINTS 8u
#define STEPS 14u
#define PATHS 3u
#define FOLD_EVERY 5u
#define MIXED_SEEDS 2u
#define MEMORY_STRIDE 7u /* of the calls for memory, which are many */

/* Only every so many of all points are tried (the program's argument). */
static unsigned every = 1;

/* A node, and what the recorder's thread is in the daemon, without the thread: the disk's record is
 * one of a single thread. */
struct node {
    struct place place;
    struct store_witness witness;
    struct store *store;
    struct state *state;
    struct draft *draft;
    char *path; /* of the history */
    struct patterns *patterns;
    struct batch_writer writer;
    struct record_queue queue;
    unsigned written; /* changes that were tried, ever */
    unsigned errors;  /* that writing the history gave */
};

static void write_down(struct node *node)
{
    g_autofree char *message = NULL;
    uint64_t rows;

    if (batch_write(&node->writer, &node->queue, 0, NULL, &rows, &message) == 0) {
        record_queue_clear(&node->queue);
        return;
    }
    assert_true(disk_has_failed());
    assert_non_null(message);
    node->errors++;
}

static void take(struct node *node, struct record *record)
{
    if (!record)
        return;
    record_free(record_queue_absorb(&node->queue, record));
    record_queue_add(&node->queue, record);
}

static void on_replayed(struct store_witness *witness, const GPtrArray *effects)
{
    struct node *node = container_of(witness, struct node, witness);

    for (guint i = 0; i < effects->len; i++)
        take(node, record_of_effect(effects->pdata[i], true));
    write_down(node);
}

static bool on_folding(struct store_witness *witness, uint64_t version)
{
    (void)version;
    write_down(container_of(witness, struct node, witness));
    return true;
}

/* As the daemon starts. */
static int node_open(struct node *node)
{
    const struct store_options options = {
        .fold_delay = FOLD_DELAY, .checkpoint_pages = FOLD_CHECKPOINTS, .witness = &node->witness};
    g_autofree char *message = NULL;
    struct tree *tree;
    int error = store_open(node->place.path, &options, &node->store, &tree, &message);

    if (error)
        return error;
    take(node, record_of_tree(tree, HISTORY_FOUND, NULL));
    node->state = state_new(tree, 0);
    node->draft = draft_new(node->state);
    write_down(node);
    return 0;
}

/* As it ends. */
static void node_close(struct node *node)
{
    if (node->store) {
        write_down(node);
        store_close(node->store);
        draft_free(node->draft);
        state_free(node->state);
        node->store = NULL;
    }
    record_queue_clear(&node->queue);
    history_store_close(node->writer.store);
    node->writer.store = NULL;
}

static void node_start(struct node *node)
{
    *node = (struct node){.witness = {.replayed = on_replayed, .folding = on_folding}};
    place_start(&node->place);
    node->path = g_build_filename(node->place.directory, HISTORY_FILE, NULL);
    node->patterns = patterns_new(NULL);
    node->writer = (struct batch_writer){
        .path = node->path,
        .limits = {.bytes = 64 << 20, .age = 400 * 86400, .deleted_age = 30 * 86400},
        .patterns = node->patterns};
}

static void node_stop(struct node *node)
{
    node_close(node);
    patterns_free(node->patterns);
    g_free(node->path);
    place_stop(&node->place);
}

/* One commit of one file: made, written anew with other bytes, now and then deleted. */
static int draft_step(struct node *node)
{
    unsigned number = node->written++;
    g_autofree char *path = g_strdup_printf("file%u", number % PATHS);
    g_autofree char *text = g_strnfill(100 * (number + 1), (char)('a' + number));
    int error;
    const struct entry *entry = draft_lookup(node->draft, path, &error);
    struct change change = {.operation = entry ? CHANGE_WRITE : CHANGE_CREATE,
                            .path = path,
                            .time = 1000 + number,
                            .writer = 3};

    if (entry && number % 4 == 3) {
        change.operation = CHANGE_DELETE;
    } else if (entry) {
        change.data = (uint8_t *)text;
        change.size = (uint32_t)strlen(text);
        change.truncate = true;
    }
    return apply(node->draft, &change, NULL);
}

/* As the writer commits and publishes. */
static int step(struct node *node)
{
    assert_int_equal(draft_step(node), 0);
    g_autoptr(GPtrArray) effects = draft_take_effects(node->draft);
    int error = commit_draft(node->store, node->state, node->draft);

    for (guint i = 0; i < effects->len && !error; i++)
        take(node, record_of_effect(effects->pdata[i], false));
    return error;
}

static void tell_story(struct node *node)
{
    assert_int_equal(node_open(node), 0);
    for (unsigned i = 0; i < STEPS; i++) {
        assert_int_equal(step(node), 0);
        if (i % FOLD_EVERY == FOLD_EVERY - 1)
            assert_int_equal(store_flush(node->store), 0);
    }
    node_close(node);
}

/* --- What is found --- */

static bool is_same(struct history_reader *reader, const struct history_change *change,
                    const struct entry *entry)
{
    GBytes *bytes;

    if (!entry || entry->size != change->after.size)
        return false;
    assert_int_equal(history_content(reader, change->after.content, &bytes), 0);
    bool same = g_bytes_get_size(bytes) == entry->size &&
                (entry->size == 0 ||
                 memcmp(g_bytes_get_data(bytes, NULL), entry->content->data, entry->size) == 0);
    g_bytes_unref(bytes);
    return same;
}

/* The history can be read, and its tree is the database's. */
static struct history_reader *assert_tree(const struct node *node, const char *point)
{
    struct history_reader *reader;
    g_autofree char *message = NULL;
    GPtrArray *changes;

    if (history_open(node->path, &reader, &message))
        fail_msg("%s: %s", point, message);
    assert_int_equal(history_tree(reader, HISTORY_NOW, NULL, &changes), 0);
    guint expected = (guint)tree_entry_count(node->state->tree) - 1; /* the root is not one */
    if (changes->len != expected)
        fail_msg("%s: %u entries instead of %u", point, changes->len, expected);
    for (guint i = 0; i < changes->len; i++) {
        const struct history_change *change = changes->pdata[i];
        if (!is_same(reader, change, tree_child(node->state->tree, 0, change->path)))
            fail_msg("%s: %s is not what the database has", point, change->path);
    }
    g_ptr_array_unref(changes);
    return reader;
}

/* Each version that the database ever had is a row: nothing was left out, nor found by comparison
 * alone. */
static void assert_steps(struct history_reader *reader, const struct node *node, const char *point)
{
    uint64_t last = node->state->tree->root.version;
    g_autofree bool *seen = g_new0(bool, last + 1);
    GPtrArray *changes;

    assert_int_equal(history_list(reader, &(struct history_filter){0}, &changes), 0);
    for (guint i = 0; i < changes->len; i++) {
        const struct history_change *change = changes->pdata[i];
        if (change->version <= last && change->operation != HISTORY_FOUND)
            seen[change->version] = true;
    }
    g_ptr_array_unref(changes);
    for (uint64_t version = 2; version <= last; version++)
        if (!seen[version])
            fail_msg("%s: version %u of %u is missing", point, (unsigned)version, (unsigned)last);
}

static void check_point(const GPtrArray *events, guint count, enum disk_crash crash, uint32_t seed)
{
    g_autofree char *point =
        g_strdup_printf("event %u of %u, crash %d, seed %u", count, events->len, (int)crash, seed);
    struct node found;

    node_start(&found);
    disk_log_restore(events, count, crash, seed, found.place.directory);
    if (node_open(&found))
        fail_msg("%s: does not load", point);
    found.written = 2 * STEPS;
    assert_int_equal(step(&found), 0);
    write_down(&found);
    struct history_reader *reader = assert_tree(&found, point);
    g_autofree char *names = place_names(&found.place);
    /* It is a damaged file only if power loss came while it was made. */
    if (!strstr(names, ".damaged"))
        assert_steps(reader, &found, point);
    else if (crash == CRASH_KILLED || crash == CRASH_TORN)
        fail_msg("%s: set aside", point);
    history_close(reader);
    node_stop(&found);
}

static void test_crashes(void **state)
{
    struct node node;
    unsigned points = 0;

    (void)state;
    node_start(&node);
    disk_log_start(node.place.directory);
    tell_story(&node);
    g_autoptr(GPtrArray) events = disk_log_stop();
    for (guint count = 0; count <= events->len; count += every) {
        for (enum disk_crash crash = CRASH_KILLED; crash <= CRASH_POWER; crash++, points++)
            check_point(events, count, crash, 0);
        for (uint32_t seed = 1; seed <= MIXED_SEEDS; seed++, points++)
            check_point(events, count, CRASH_MIXED, seed);
    }
    print_message("history: %u events of the disk, %u crashes\n", events->len, points);
    assert_true(events->len > 100);
    node_stop(&node);
}

/* --- Errors --- */

/* One run with errors from call `count` on; false: there were not so many calls. */
static bool run_with_errors(unsigned count, enum disk_fault fault, bool lasting, unsigned *errors)
{
    g_autofree char *point = g_strdup_printf("error at call %u", count);
    struct node node;

    node_start(&node);
    assert_int_equal(node_open(&node), 0);
    assert_int_equal(step(&node), 0);
    node_close(&node);
    disk_fail_at(count, fault, lasting);
    if (node_open(&node) == 0) {
        for (unsigned i = 0; i < STEPS; i++) {
            if (step(&node) != 0)
                assert_true(disk_has_failed());
            if (i % FOLD_EVERY == FOLD_EVERY - 1)
                store_flush(node.store);
        }
    }
    node_close(&node);
    bool reached = disk_has_failed();
    disk_fail_at(0, fault, false);
    *errors += node.errors;
    assert_int_equal(node_open(&node), 0);
    assert_int_equal(step(&node), 0);
    write_down(&node);
    history_close(assert_tree(&node, point));
    node_stop(&node);
    return reached;
}

static void fail_everywhere(enum disk_fault fault, bool lasting, unsigned stride)
{
    unsigned runs = 0;
    unsigned errors = 0;

    for (unsigned count = 1; run_with_errors(count, fault, lasting, &errors);
         count += stride * every)
        runs++;
    print_message("history, fault %d, %s: %u runs, %u errors\n", (int)fault,
                  lasting ? "from a call on" : "a single one", runs, errors);
    assert_true(runs * every > 50 && errors > 0);
}

static void test_errors(void **state)
{
    (void)state;
    fail_everywhere(FAULT_ERROR, false, 1);
    fail_everywhere(FAULT_ERROR, true, 1);
}

static void test_full_disk(void **state)
{
    (void)state;
    fail_everywhere(FAULT_FULL, false, 1);
    fail_everywhere(FAULT_FULL, true, 1);
}

static void test_no_memory(void **state)
{
    (void)state;
    fail_everywhere(FAULT_MEMORY, false, MEMORY_STRIDE);
    fail_everywhere(FAULT_MEMORY, true, MEMORY_STRIDE);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_no_memory),
    };

    if (argc > 1)
        every = (unsigned)MAX(atoi(argv[1]), 1);
    place_use_memory();
    disk_log_install();
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    place_leave_memory();
    return result;
}
