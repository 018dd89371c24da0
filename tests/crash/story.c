/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stories that are told to a store while the disk is recorded. */
#include "story.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "commit.h"
#include "core/apply.h"
#include "core/digest.h"
#include "core/index.h"
#include "ctl/tools/check.h"
#include "store/finding.h"

#define BIG 40000u /* bytes of a large file: ten pages, nothing more to learn from more */
#define HUGE_SIZE                                                                                  \
    600000u /* three of them are more than SQLite's cache: it writes before the commit */
#define MIXED_SEEDS 2u
#define PROMISES_MANY 4096u /* more than there are (disk_log.c, EVENTS_MANY) */

/* Nothing is folded for its age alone. */
#define FOLD_DELAY 3600000u
/* Pages: so few that every few folds there is a checkpoint. */
#define FOLD_CHECKPOINTS 8u

bool story_has_journal;

static void ignore(struct store_checker *checker, const struct store_finding *finding)
{
    (void)checker;
    (void)finding;
}

int node_open(struct node *node)
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

void node_close(struct node *node)
{
    store_close(node->store);
    draft_free(node->draft);
    state_free(node->state);
    node->store = NULL;
}

void node_start(struct node *node, enum store_durability durability)
{
    *node = (struct node){.options = {.durability = durability,
                                      .fold_delay = story_has_journal ? FOLD_DELAY : 0,
                                      .checkpoint_pages = story_has_journal ? FOLD_CHECKPOINTS : 0},
                          .time = 1000};
    node->big = g_malloc(HUGE_SIZE);
    place_start(&node->place);
}

void node_stop(struct node *node)
{
    if (node->store)
        node_close(node);
    place_stop(&node->place);
    g_free(node->big);
}

bool node_is_index(const struct node *node, const struct buffer *expected)
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

int change_make(struct node *node, enum change_operation operation, const char *path)
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

int change_make_directories(struct node *node)
{
    static const char *const paths[] = {
        "nodes", "nodes/n1", "nodes/n1/qemu-server", "nodes/n2", "nodes/n2/qemu-server",
        "priv",  "priv/lock"};
    int error = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
        error = error ? error : change_make(node, CHANGE_MKDIR, paths[i]);
    return error;
}

int change_make_directory(struct node *node)
{
    return change_make(node, CHANGE_MKDIR, "a");
}

static int make_file(struct node *node)
{
    return change_make(node, CHANGE_CREATE, "a/f");
}

static int write_small(struct node *node)
{
    return put(node, "a/f", 0, 10, true);
}

int change_write_big(struct node *node)
{
    int error = change_make(node, CHANGE_CREATE, "a/big");

    return error ? error : put(node, "a/big", 0, BIG, true);
}

static int write_big_again(struct node *node)
{
    return put(node, "a/big", 0, BIG, true);
}

int change_write_middle(struct node *node)
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

int change_make_guest(struct node *node)
{
    int error = change_make(node, CHANGE_CREATE, "nodes/n1/qemu-server/100.conf");

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

int change_delete_file(struct node *node)
{
    return change_make(node, CHANGE_DELETE, "a/big");
}

static int delete_directory(struct node *node)
{
    return change_make(node, CHANGE_DELETE, "a");
}

int change_take_lock(struct node *node)
{
    return change_make(node, CHANGE_MKDIR, "priv/lock/x");
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
int change_make_batch(struct node *node)
{
    int error = change_make(node, CHANGE_MKDIR, "batch");

    for (unsigned i = 0; i < 20 && !error; i++) {
        g_autofree char *path = g_strdup_printf("batch/%u", i);
        error = change_make(node, CHANGE_CREATE, path);
        if (!error)
            error = put(node, path, 0, 100 * i, true);
    }
    return error;
}

/* The commit of a synchronisation: some entries go, some come, some are others now. */
int change_synchronise(struct node *node)
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

/* More than the cache holds in one commit. */
static int write_huge(struct node *node)
{
    static const char *const paths[] = {"huge1", "huge2", "huge3"};
    int error = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(paths) && !error; i++) {
        if (!draft_lookup(node->draft, paths[i], &error))
            error = change_make(node, CHANGE_CREATE, paths[i]);
        if (!error)
            error = put(node, paths[i], 0, HUGE_SIZE, true);
    }
    return error;
}

/* NULL: something else happens there, see tell_story(). */
const change_function all_changes[CHANGES_ALL] = {
    change_make_directories,
    change_make_directory,
    make_file,
    write_small,
    change_write_big,
    NULL,
    write_big_again,
    change_write_middle,
    append,
    NULL,
    truncate_big,
    set_mtime,
    change_make_guest,
    move_guest,
    NULL,
    rename_over,
    change_take_lock,
    unlock,
    change_make_batch,
    change_synchronise,
    NULL,
    change_delete_file,
    delete_directory,
    change_make_directory,
};

const change_function huge_changes[CHANGES_HUGE] = {change_make_batch, write_huge, write_huge, NULL,
                                                    change_synchronise};

int node_commit(struct node *node)
{
    return commit_draft(node->store, node->state, node->draft);
}

/* --- The recording --- */

void story_promise(struct story *story)
{
    g_array_append_val(story->promises, story->now);
    disk_log_mark(story->promises->len - 1);
}

void story_remember(struct story *story)
{
    g_ptr_array_add(story->indexes, index_build(story->node->draft));
}

void story_commit(struct story *story, change_function change)
{
    assert_int_equal(change(story->node), 0);
    story_remember(story); /* before it can be on the disk */
    story->now.started++;
    story_promise(story);
    assert_int_equal(node_commit(story->node), 0);
    assert_true(node_is_index(story->node, story->indexes->pdata[story->now.started]));
    story->now.acknowledged = story->now.started;
    story_promise(story);
}

/* Makes safe all that was acknowledged. */
void story_flush(struct story *story)
{
    assert_int_equal(store_flush(story->node->store), 0);
    story->now.safe = story->now.acknowledged;
    story_promise(story);
}

void buffer_destroy(gpointer buffer)
{
    buffer_unref(buffer);
}

void story_start(struct story *story, struct node *node)
{
    *story = (struct story){.node = node};
    story->indexes = g_ptr_array_new_with_free_func(buffer_destroy);
    story->promises = g_array_sized_new(FALSE, FALSE, sizeof(struct promise), PROMISES_MANY);
    disk_log_start(node->place.directory);
    story_promise(story);
}

void story_stop(struct story *story)
{
    g_ptr_array_unref(story->indexes);
    g_array_unref(story->promises);
    g_ptr_array_unref(story->events);
}

/* --- What is found after a crash --- */

void point_assert_sound(const char *path, const struct point *point)
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
        if (node_is_index(found, story->indexes->pdata[i]))
            return;
    for (unsigned i = 0; i < story->indexes->len; i++)
        if (node_is_index(found, story->indexes->pdata[i]))
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
    point_assert_sound(found.place.path, point);
    if (node_open(&found))
        fail_msg("event %u, crash %d, seed %u: does not load", point->count, point->crash,
                 point->seed);
    assert_state(story, &found, point);
    assert_no_quarantine(story, &found, point);
    assert_int_equal(change_make(&found, CHANGE_MKDIR, "after"), 0);
    struct buffer *after = index_build(found.draft);
    assert_int_equal(node_commit(&found), 0);
    node_close(&found);
    assert_int_equal(node_open(&found), 0);
    assert_true(node_is_index(&found, after));
    buffer_unref(after);
    node_stop(&found);
}

unsigned story_check(const struct story *story, guint count)
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
