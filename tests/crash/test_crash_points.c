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

#include "commit.h"
#include "core/apply.h"
#include "core/digest.h"
#include "core/index.h"
#include "core/state.h"
#include "ctl/tools/backup.h"
#include "ctl/tools/check.h"
#include "disk_log.h"
#include "store/finding.h"
#include "store/safety.h"
#include "store/store.h"
#include "store_place.h"

#define BIG 40000u /* bytes of a large file: ten pages, nothing more to learn from more */
#define HUGE_SIZE                                                                                  \
    600000u /* three of them are more than SQLite's cache: it writes before the commit */
#define MIXED_SEEDS 2u
#define SECONDS_A_DAY 86400
#define MEMORY_STRIDE 3u /* of the calls for memory, which are many */

/* Nothing is folded for its age alone. */
#define FOLD_DELAY 3600000u
/* Pages: so few that every few folds there is a checkpoint. */
#define FOLD_CHECKPOINTS 8u

/* Do the nodes of this test have a journal? (The program's first argument is "journal" then.) */
static bool with_journal;

/* Only every so many of all points are tried (the program's second argument): 1 for all of them.
 * Which ones changes from day to day, unless the third argument says it: 0 is the first. */
static unsigned every = 1;
static unsigned first;

/* A node's state and its database. */
struct node {
    struct place place;
    struct store_options options;
    struct store *store;
    struct state *state;
    struct draft *draft;
    uint32_t time;
    uint8_t *big;
};

/* What had been promised when an event of the disk happened. */
struct promise {
    unsigned acknowledged; /* commits */
    unsigned started;
    unsigned safe; /* commits that survive a power loss with STORE_NORMAL too */
};

/* A recording: states and promises on the way, and what the disk saw. */
struct story {
    struct node *node;
    GPtrArray *indexes; /* struct buffer: the state after so many commits */
    GArray *promises;   /* struct promise, by the events' mark */
    struct promise now;
    GPtrArray *events;
};

static void ignore(struct store_checker *checker, const struct store_finding *finding)
{
    (void)checker;
    (void)finding;
}

static int open_database(struct node *node)
{
    g_autofree char *message = NULL;
    struct tree *tree;
    int error = store_open(node->place.path, &node->options, &node->store, &tree, &message);

    if (error) {
        assert_non_null(message);
        assert_null(node->store);
        assert_null(tree);
        return error;
    }
    node->state = state_new(tree, 0);
    node->draft = draft_new(node->state);
    return 0;
}

static void close_database(struct node *node)
{
    store_close(node->store);
    draft_free(node->draft);
    state_free(node->state);
    node->store = NULL;
}

static void node_start(struct node *node, enum store_durability durability)
{
    *node = (struct node){.options = {.durability = durability,
                                      .fold_delay = with_journal ? FOLD_DELAY : 0,
                                      .checkpoint_pages = with_journal ? FOLD_CHECKPOINTS : 0},
                          .time = 1000};
    node->big = g_malloc(HUGE_SIZE);
    place_start(&node->place);
}

static void node_stop(struct node *node)
{
    if (node->store)
        close_database(node);
    place_stop(&node->place);
    g_free(node->big);
}

static bool is_index(const struct node *node, const struct buffer *expected)
{
    struct buffer *index = index_build(node->draft);
    bool same = index->capacity == expected->capacity &&
                memcmp(index->data, expected->data, index->capacity) == 0;

    buffer_unref(index);
    return same;
}

/* --- Changes of every kind, a commit each --- */

static int draft_change(struct node *node, struct change change)
{
    change.writer = 3;
    change.time = node->time++;
    return apply(node->draft, &change, NULL);
}

static int make(struct node *node, enum change_operation operation, const char *path)
{
    return draft_change(node, (struct change){.operation = operation, .path = path});
}

static int put(struct node *node, const char *path, uint32_t offset, uint32_t size, bool truncate)
{
    memset(node->big, (int)('a' + node->time % 26), size);
    return draft_change(node, (struct change){.operation = CHANGE_WRITE,
                                              .path = path,
                                              .offset = offset,
                                              .data = node->big,
                                              .size = size,
                                              .truncate = truncate});
}

static int make_directories(struct node *node)
{
    static const char *const paths[] = {
        "nodes", "nodes/n1", "nodes/n1/qemu-server", "nodes/n2", "nodes/n2/qemu-server",
        "priv",  "priv/lock"};
    int error = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
        error = error ? error : make(node, CHANGE_MKDIR, paths[i]);
    return error;
}

static int make_directory(struct node *node)
{
    return make(node, CHANGE_MKDIR, "a");
}

static int make_file(struct node *node)
{
    return make(node, CHANGE_CREATE, "a/f");
}

static int write_small(struct node *node)
{
    return put(node, "a/f", 0, 10, true);
}

static int write_big(struct node *node)
{
    int error = make(node, CHANGE_CREATE, "a/big");

    return error ? error : put(node, "a/big", 0, BIG, true);
}

static int write_big_again(struct node *node)
{
    return put(node, "a/big", 0, BIG, true);
}

static int write_middle(struct node *node)
{
    return put(node, "a/big", 5000, 10000, false);
}

static int append(struct node *node)
{
    return put(node, "a/f", 10, 5000, false);
}

static int truncate_big(struct node *node)
{
    return put(node, "a/big", 100, 0, true);
}

static int set_mtime(struct node *node)
{
    return draft_change(
        node, (struct change){.operation = CHANGE_MTIME, .path = "a/f", .offset = 1234567});
}

static int make_guest(struct node *node)
{
    int error = make(node, CHANGE_CREATE, "nodes/n1/qemu-server/100.conf");

    return error ? error : put(node, "nodes/n1/qemu-server/100.conf", 0, 300, true);
}

static int move_guest(struct node *node)
{
    return draft_change(node, (struct change){.operation = CHANGE_RENAME,
                                              .path = "nodes/n1/qemu-server/100.conf",
                                              .to = "nodes/n2/qemu-server/100.conf"});
}

static int rename_over(struct node *node)
{
    return draft_change(node,
                        (struct change){.operation = CHANGE_RENAME, .path = "a/f", .to = "a/big"});
}

static int delete_file(struct node *node)
{
    return make(node, CHANGE_DELETE, "a/big");
}

static int delete_directory(struct node *node)
{
    return make(node, CHANGE_DELETE, "a");
}

static int take_lock(struct node *node)
{
    return make(node, CHANGE_MKDIR, "priv/lock/x");
}

static int unlock(struct node *node)
{
    struct change change = {.operation = CHANGE_UNLOCK, .path = "priv/lock/x"};
    int error;
    const struct entry *entry = draft_lookup(node->draft, change.path, &error);

    if (!entry)
        return -ENOENT;
    lock_digest(entry, change.digest);
    return draft_change(node, change);
}

/* What had waited when the writer came by. */
static int make_batch(struct node *node)
{
    int error = make(node, CHANGE_MKDIR, "batch");

    for (unsigned i = 0; i < 20 && !error; i++) {
        g_autofree char *path = g_strdup_printf("batch/%u", i);
        error = make(node, CHANGE_CREATE, path);
        if (!error)
            error = put(node, path, 0, 100 * i, true);
    }
    return error;
}

/* The commit of a synchronisation: some entries go, some come, some are others now. */
static int synchronise(struct node *node)
{
    g_autoptr(GPtrArray) sorted = draft_sorted(node->draft);
    uint64_t version = node->draft->root.version + 100;
    uint64_t batch = 0;

    for (guint i = 0; i < sorted->len; i++) {
        const struct entry *entry = sorted->pdata[i];
        if (strcmp(entry->name, "batch") == 0)
            batch = entry->inode;
        if (entry_is_directory(entry) || entry->parent != batch || batch == 0)
            continue;
        if (i % 3 == 0) {
            draft_remove(node->draft, entry->inode);
        } else if (i % 3 == 1) {
            struct buffer *content = buffer_copy(node->big, 7000);
            struct entry *other = entry_new(entry->inode, batch, ENTRY_FILE, entry->name,
                                            entry->name_length, content, 7000);
            buffer_unref(content);
            other->version = entry->version; /* nobody's history: a safety copy is made */
            draft_put(node->draft, other);
        }
    }
    struct entry *fresh = entry_new(version, 0, ENTRY_DIRECTORY, "fresh", 5, NULL, 0);
    fresh->version = version;
    draft_put(node->draft, fresh);
    node->draft->root = (struct root){version, 2, 5000};
    node->draft->rebuild = true;
    return 0;
}

typedef int (*change_function)(struct node *node);

/* More than the cache holds in one commit. */
static int write_huge(struct node *node)
{
    static const char *const paths[] = {"huge1", "huge2", "huge3"};
    int error = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(paths) && !error; i++) {
        if (!draft_lookup(node->draft, paths[i], &error))
            error = make(node, CHANGE_CREATE, paths[i]);
        if (!error)
            error = put(node, paths[i], 0, HUGE_SIZE, true);
    }
    return error;
}

/* NULL: something else happens there, see tell_story(). */
static const change_function all_changes[] = {
    make_directories, make_directory, make_file, write_small, write_big,        NULL,
    write_big_again,  write_middle,   append,    NULL,        truncate_big,     set_mtime,
    make_guest,       move_guest,     NULL,      rename_over, take_lock,        unlock,
    make_batch,       synchronise,    NULL,      delete_file, delete_directory, make_directory,
};

static const change_function huge_changes[] = {make_batch, write_huge, write_huge, NULL,
                                               synchronise};

static int commit(struct node *node)
{
    return commit_draft(node->store, node->state, node->draft);
}

/* --- The recording --- */

static void promise(struct story *story)
{
    g_array_append_val(story->promises, story->now);
    disk_log_mark(story->promises->len - 1);
}

static void remember_state(struct story *story)
{
    g_ptr_array_add(story->indexes, index_build(story->node->draft));
}

static void commit_change(struct story *story, change_function change)
{
    assert_int_equal(change(story->node), 0);
    remember_state(story); /* before it can be on the disk */
    story->now.started++;
    promise(story);
    assert_int_equal(commit(story->node), 0);
    assert_true(is_index(story->node, story->indexes->pdata[story->now.started]));
    story->now.acknowledged = story->now.started;
    promise(story);
}

/* Makes safe all that was acknowledged. */
static void flush(struct story *story)
{
    assert_int_equal(store_flush(story->node->store), 0);
    story->now.safe = story->now.acknowledged;
    promise(story);
}

static void move_log(struct story *story, unsigned step)
{
    if (step % 2) {
        flush(story);
        return;
    }
    close_database(story->node);
    assert_int_equal(open_database(story->node), 0);
    story->now.safe = story->now.acknowledged;
    promise(story);
}

static void free_buffer(gpointer buffer)
{
    buffer_unref(buffer);
}

static void story_start(struct story *story, struct node *node)
{
    *story = (struct story){.node = node};
    story->indexes = g_ptr_array_new_with_free_func(free_buffer);
    story->promises = g_array_new(FALSE, FALSE, sizeof(struct promise));
    disk_log_start(node->place.directory);
    promise(story);
}

static void tell_story(struct story *story, const change_function *changes, unsigned count)
{
    assert_int_equal(open_database(story->node), 0);
    remember_state(story);
    for (unsigned i = 0; i < count; i++) {
        if (changes[i])
            commit_change(story, changes[i]);
        else
            move_log(story, i);
        if (with_journal && i % 4 == 3)
            flush(story);
    }
    close_database(story->node);
    story->now.safe = story->now.acknowledged;
    promise(story);
    story->events = disk_log_stop();
}

static void story_stop(struct story *story)
{
    g_ptr_array_unref(story->indexes);
    g_array_unref(story->promises);
    g_ptr_array_unref(story->events);
}

/* --- What is found after a crash --- */

/* One crash: how, and at which event. */
struct point {
    guint count; /* events that happened */
    enum disk_crash crash;
    uint32_t seed;
};

static void assert_sound(const char *path, const struct point *point)
{
    struct store_checker checker = {.found = ignore};
    int error = tools_check(path, NULL, &checker);

    if (error && error != -ENOENT)
        fail_msg("event %u, crash %d, seed %u: %d", point->count, point->crash, point->seed, error);
}

/* The states between which the loaded one must be. */
static void find_bounds(const struct story *story, const struct point *point, unsigned *least,
                        unsigned *most)
{
    guint mark = story->promises->len - 1;
    bool power = point->crash == CRASH_POWER || point->crash == CRASH_MIXED;
    /* What was done on the way to the next event counts too, unless the last one was cut off. */
    guint event = point->crash == CRASH_TORN ? point->count - 1 : point->count;

    if (event < story->events->len)
        mark = ((const struct disk_event *)story->events->pdata[event])->mark;
    const struct promise *made = &g_array_index(story->promises, struct promise, mark);
    *most = made->started;
    *least = made->acknowledged;
    if (power && story->node->options.durability == STORE_NORMAL)
        *least = made->safe;
}

static void assert_state(const struct story *story, const struct node *found,
                         const struct point *point)
{
    unsigned least;
    unsigned most;

    find_bounds(story, point, &least, &most);
    for (unsigned i = least; i <= most; i++)
        if (is_index(found, story->indexes->pdata[i]))
            return;
    for (unsigned i = 0; i < story->indexes->len; i++)
        if (is_index(found, story->indexes->pdata[i]))
            fail_msg("event %u, crash %d, seed %u: state %u instead of %u to %u", point->count,
                     point->crash, point->seed, i, least, most);
    fail_msg("event %u, crash %d, seed %u: a state that never was", point->count, point->crash,
             point->seed);
}

/* A journal that goes with its database is never put into quarantine: only power loss without syncs
 * parts them. */
static void assert_no_quarantine(const struct story *story, const struct node *found,
                                 const struct point *point)
{
    bool power = point->crash == CRASH_POWER || point->crash == CRASH_MIXED;
    g_autofree char *names = place_names(&found->place);

    if ((!power || story->node->options.durability == STORE_FULL) && strstr(names, ".journal."))
        fail_msg("event %u, crash %d, seed %u: %s", point->count, point->crash, point->seed, names);
}

/* The database loads as it should, and takes changes again. */
static void check_point(const struct story *story, const struct point *point)
{
    struct node found;

    node_start(&found, story->node->options.durability);
    disk_log_restore(story->events, point->count, point->crash, point->seed, found.place.directory);
    assert_sound(found.place.path, point);
    if (open_database(&found))
        fail_msg("event %u, crash %d, seed %u: does not load", point->count, point->crash,
                 point->seed);
    assert_state(story, &found, point);
    assert_no_quarantine(story, &found, point);
    assert_int_equal(make(&found, CHANGE_MKDIR, "after"), 0);
    struct buffer *after = index_build(found.draft);
    assert_int_equal(commit(&found), 0);
    close_database(&found);
    assert_int_equal(open_database(&found), 0);
    assert_true(is_index(&found, after));
    buffer_unref(after);
    node_stop(&found);
}

static unsigned check_event(const struct story *story, guint count)
{
    const struct disk_event *last = count > 0 ? story->events->pdata[count - 1] : NULL;
    struct point point = {count, CRASH_KILLED, 0};
    unsigned points = 2;

    check_point(story, &point);
    point.crash = CRASH_POWER;
    check_point(story, &point);
    point.crash = CRASH_TORN;
    if (last && last->step == DISK_WRITE) {
        check_point(story, &point);
        points++;
    }
    point.crash = CRASH_MIXED;
    for (point.seed = 1; point.seed <= MIXED_SEEDS; point.seed++, points++)
        check_point(story, &point);
    return points;
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
        points += check_event(&story, count);
    print_message("durability %s%s: %u events of the disk, %u commits, %u crashes\n",
                  durability == STORE_FULL ? "full" : "normal", with_journal ? ", journal" : "",
                  story.events->len, story.now.acknowledged, points);
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

    assert_sound(path, point);
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
        assert_sound(found.place.path, point);
        if (!g_file_test(found.place.path, G_FILE_TEST_EXISTS))
            fail_msg("event %u of %u, crash %d: no copy", point->count, events->len, point->crash);
    }
    if (g_file_test(found.place.path, G_FILE_TEST_EXISTS)) {
        assert_int_equal(open_database(&found), 0);
        assert_true(is_index(&found, states[0]) || is_index(&found, states[1]));
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
    assert_int_equal(open_database(&node), 0);
    disk_log_start(copies.directory);
    assert_int_equal(make_batch(&node), 0);
    assert_int_equal(commit(&node), 0);
    states[0] = index_build(node.draft);
    assert_int_equal(tools_backup(node.place.path, copies.path, &message), 0);
    disk_log_mark(1);
    assert_int_equal(make_directory(&node), 0);
    assert_int_equal(commit(&node), 0);
    states[1] = index_build(node.draft);
    assert_int_equal(tools_backup(node.place.path, copies.path, &message), 0);
    assert_int_equal(synchronise(&node), 0);
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
    make_directory, write_big, write_middle, NULL, make_batch, NULL, synchronise, delete_file};

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
    if (commit(node) == 0) {
        expect(expected, wanted);
    } else {
        assert_true(disk_has_failed());
        assert_true(strlen(store_error(node->store)) > 0);
        g_ptr_array_add(expected->failed, wanted);
        expected->errors++;
    }
    assert_true(is_index(node, expected->state));
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
        if (is_index(node, expected->failed->pdata[i]))
            return true;
    return false;
}

/* Opens it when the errors have stopped. What was told to have failed may be there only if nothing
 * could be written after it (`either`), as after a crash. */
static void assert_recovers(struct node *node, const struct expected *expected, bool either)
{
    struct point point = {0};

    if (node->store)
        close_database(node);
    assert_sound(node->place.path, &point);
    assert_int_equal(open_database(node), 0);
    if (!is_index(node, expected->state))
        assert_true(either && is_failed(node, expected));
    assert_int_equal(make(node, CHANGE_MKDIR, "after"), 0);
    assert_int_equal(commit(node), 0);
}

/* One run with the errors from call `count` on. `early`: they stop before the database is closed.
 * False: there were not so many calls. */
static bool run_with_errors(const char *base, unsigned count, enum disk_fault fault, bool lasting,
                            bool early, unsigned *errors)
{
    struct node node;
    struct expected expected = {.failed = g_ptr_array_new_with_free_func(free_buffer)};

    node_start(&node, count % 2 ? STORE_FULL : STORE_NORMAL);
    if (base)
        place_copy(base, node.place.path);
    assert_int_equal(open_database(&node), 0);
    expected.state = index_build(node.draft);
    close_database(&node);
    if (!base) /* the making of a database is what fails */
        place_stop(&node.place), place_start(&node.place);
    disk_fail_at(count, fault, lasting);
    if (open_database(&node) == 0) {
        try_changes(&node, &expected);
        if (early) {
            disk_fail_at(0, fault, false);
            try_change(&node, take_lock, &expected); /* needs priv/lock: refused or not */
            try_change(&node, make_guest, &expected);
            assert_int_equal(make(&node, CHANGE_MKDIR, "goes-on"), 0);
            expect(&expected, index_build(node.draft));
            assert_int_equal(commit(&node), 0);
        }
        if (!early)
            close_database(&node);
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
    assert_int_equal(open_database(base), 0);
    assert_int_equal(make_directories(base), 0);
    assert_int_equal(commit(base), 0);
    close_database(base);
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

    with_journal = argc > 1 && strcmp(argv[1], "journal") == 0;
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
