/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unit tests of the kernel's nodes: what one shows while others and this node itself change its
 * file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/buffer.h"
#include "core/draft.h"
#include "core/tree.h"
#include "kernel/node.h"

#define INODE 7u
#define THREAD 4711
#define NOW 1000u
#define OLD "old"
#define NEW "a newer content"

/* A tree with one file, and the kernel's node of it. */
struct fixture {
    struct kernel_metrics metrics;
    struct node_table table;
    struct tree *tree;
    struct node *node;
    const char *path; /* its path, as changes tell it */
};

static struct entry *file_with(const char *text)
{
    struct buffer *content = buffer_copy(text, (uint32_t)strlen(text));
    struct entry *entry = entry_new(INODE, 0, ENTRY_FILE, "f", 1, content, content->capacity);

    buffer_unref(content);
    return entry;
}

static int set_up(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    node_table_init(&fixture->table, &fixture->metrics);
    fixture->tree = tree_new();
    tree_put(fixture->tree, file_with(OLD));
    fixture->node = node_look_up(&fixture->table, INODE);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    g_autoptr(GPtrArray) ended = node_take_ended(&fixture->table);

    for (guint i = 0; i < ended->len; i++)
        node_unpin(&fixture->table, ended->pdata[i]);
    node_forget(&fixture->table, fixture->node, 1);
    assert_int_equal(counter_get(&fixture->metrics.nodes_freed),
                     counter_get(&fixture->metrics.nodes_made));
    node_table_destroy(&fixture->table);
    tree_free(fixture->tree);
    g_free(fixture);
    return 0;
}

/* The file gets that content (NULL: it is deleted), asked for through `origin`. */
static void publish(struct fixture *fixture, const char *text, const void *origin)
{
    struct entry *before = entry_ref(tree_entry(fixture->tree, INODE));
    struct entry *after = text ? file_with(text) : NULL;
    struct effect effect = {
        .operation = text ? CHANGE_WRITE : CHANGE_DELETE,
        .truncated = true,
        .origin = origin,
        .path = fixture->path,
        .before = before,
        .after = after,
    };
    g_autoptr(GPtrArray) effects = g_ptr_array_new();

    g_ptr_array_add(effects, &effect);
    node_table_publishing(&fixture->table, effects, false);
    tree_remove(fixture->tree, INODE);
    if (after)
        tree_put(fixture->tree, entry_ref(after));
    entry_unref(before);
    entry_unref(after);
}

static void settle(struct fixture *fixture)
{
    node_settle(&fixture->table, fixture->node, fixture->node->foreign);
}

static uint32_t size_shown(struct fixture *fixture)
{
    struct node_view view;

    node_view(&fixture->table, fixture->node, fixture->tree, &view);
    uint32_t size = view.emptied ? 0 : view.entry->size;
    entry_unref(view.entry);
    return size;
}

static void assert_page(struct fixture *fixture, const char *expected)
{
    char page[64] = {0};
    size_t size = node_read(&fixture->table, fixture->node, fixture->tree, false, 0, sizeof(page),
                            (uint8_t *)page);

    assert_int_equal(size, strlen(expected));
    assert_string_equal(page, expected);
}

static void test_others_change(void **state)
{
    struct fixture *fixture = *state;

    publish(fixture, NEW, NULL);
    assert_true(node_has_older(&fixture->table, fixture->node));
    assert_int_equal(size_shown(fixture), strlen(OLD));
    assert_page(fixture, OLD "ewer content"); /* no page ends before that of either */
    node_show_newer(&fixture->table, fixture->node, NOW);
    assert_int_equal(size_shown(fixture), strlen(NEW));
    assert_page(fixture, NEW);
    settle(fixture);
    assert_false(node_has_older(&fixture->table, fixture->node));
}

/* A page that ends early makes the kernel shorten the file: so it must, once the newer is shown. */
static void test_pages_of_a_shorter_version(void **state)
{
    struct fixture *fixture = *state;

    publish(fixture, "x", NULL);
    assert_page(fixture, OLD);
    node_show_newer(&fixture->table, fixture->node, NOW);
    assert_page(fixture, "x");
    node_begin_drop(&fixture->table, fixture->node, NOW);
    assert_page(fixture, "xld"); /* the kernel is told of it in just that moment */
    settle(fixture);
    assert_page(fixture, "x");
}

/* What the kernel has stays the oldest that is shown, whatever comes after. */
static void test_several_changes_are_one_turn(void **state)
{
    struct fixture *fixture = *state;

    publish(fixture, NEW, NULL);
    publish(fixture, "third", NULL);
    assert_int_equal(size_shown(fixture), strlen(OLD));
    node_show_newer(&fixture->table, fixture->node, NOW);
    assert_page(fixture, "third");
    publish(fixture, "4", NULL); /* another turn begins */
    assert_int_equal(size_shown(fixture), strlen("third"));
    settle(fixture); /* of the first */
    assert_true(node_has_older(&fixture->table, fixture->node));
}

static void test_who_asks_waits(void **state)
{
    struct fixture *fixture = *state;

    node_hold_askers(&fixture->table, fixture->node, 100);
    assert_false(node_holds_askers(&fixture->table, fixture->node, 100)); /* nothing is older */
    publish(fixture, NEW, NULL);
    node_hold_askers(&fixture->table, fixture->node, 100);
    assert_false(node_holds_askers(&fixture->table, fixture->node, 99));
    assert_true(node_holds_askers(&fixture->table, fixture->node, 100));
    node_show_newer(&fixture->table, fixture->node, NOW);
    assert_true(node_holds_askers(&fixture->table, fixture->node, 100)); /* pages may be older */
    node_hold_askers(&fixture->table, fixture->node, 0);
    assert_false(node_holds_askers(&fixture->table, fixture->node, 100));
}

static void test_equal_sizes_wait_for_nobody(void **state)
{
    struct fixture *fixture = *state;

    publish(fixture, "dlo", NULL);
    node_hold_askers(&fixture->table, fixture->node, 1);
    assert_true(node_has_older(&fixture->table, fixture->node));
    assert_false(node_shows_other_size(&fixture->table, fixture->node));
    assert_false(node_holds_askers(&fixture->table, fixture->node, 1));
}

/* Who writes sees it at once, whatever others wrote before. */
static void test_own_change(void **state)
{
    struct fixture *fixture = *state;
    struct own_write write = {.offset = 1, .size = 2, .data = (const uint8_t *)"WW"};

    publish(fixture, NEW, NULL);
    assert_false(node_begin_change(&fixture->table, fixture->node, &write));
    assert_page(fixture, "oWWewer content");
    publish(fixture, "aWWnewer content", fixture->node);
    assert_int_equal(size_shown(fixture), strlen("aWWnewer content"));
    assert_false(node_end_change(&fixture->table, fixture->node, false, NOW));
    assert_page(fixture, "aWWnewer content");
}

static void begin_shortening(struct fixture *fixture, uint32_t size)
{
    node_begin_shortening(&fixture->table, fixture->node, fixture->tree, THREAD, size);
}

/* Until the kernel has the answer it goes by the old size: no page may end before that. */
static void test_own_truncation(void **state)
{
    struct fixture *fixture = *state;
    struct shortening shortening;

    begin_shortening(fixture, 1);
    assert_false(node_begin_change(&fixture->table, fixture->node, NULL));
    publish(fixture, "x", fixture->node);
    assert_int_equal(size_shown(fixture), 1);
    assert_page(fixture, OLD);
    assert_true(node_end_change(&fixture->table, fixture->node, false, NOW));
    assert_page(fixture, OLD);
    assert_true(node_is_shortened(&fixture->table, fixture->node, &shortening));
    assert_int_equal(shortening.size, 1);
    assert_int_equal(shortening.thread, THREAD);
    node_begin_drop(&fixture->table, fixture->node, NOW);
    assert_page(fixture, OLD);
    node_end_shortening(&fixture->table, fixture->node, shortening.number + 1); /* of another one */
    assert_page(fixture, OLD);
    node_end_shortening(&fixture->table, fixture->node, shortening.number);
    assert_page(fixture, "x");
    assert_false(node_is_shortened(&fixture->table, fixture->node, &shortening));
}

/* The next one is asked for before anybody knows that the kernel has taken the first. */
static void test_own_truncations_in_a_row(void **state)
{
    struct fixture *fixture = *state;
    struct shortening shortening;

    begin_shortening(fixture, 2);
    publish(fixture, "xy", fixture->node);
    node_end_change(&fixture->table, fixture->node, false, NOW);
    assert_true(node_is_shortened(&fixture->table, fixture->node, &shortening));
    uint64_t first = shortening.number;
    begin_shortening(fixture, 1); /* one at a time is under way: so the first was taken */
    publish(fixture, "z", fixture->node);
    assert_page(fixture, "xy");
    node_end_shortening(&fixture->table, fixture->node, first);
    assert_page(fixture, "xy");
    assert_true(node_is_shortened(&fixture->table, fixture->node, &shortening));
    assert_true(shortening.number > first);
    assert_int_equal(shortening.size, 1);
}

/* An open has emptied the file, but its thread has had no processor yet: the kernel shows as much
 * as there was before, whatever others and the truncation itself make of the file. */
static void test_others_change_while_a_truncation_is_answered(void **state)
{
    struct fixture *fixture = *state;
    struct own_write write = {.offset = 0, .size = 1, .data = (const uint8_t *)"W"};

    begin_shortening(fixture, 0);
    assert_true(node_truncate(&fixture->table, fixture->node,
                              &(struct emptying){.opener = 5, .now = NOW, .due = NOW + 100}));
    publish(fixture, "x", NULL);
    assert_page(fixture, OLD);
    assert_int_equal(node_meet(&fixture->table, fixture->node, NOW + 100), NODE_SEND);
    publish(fixture, "", fixture->node);
    assert_page(fixture, OLD);
    assert_true(node_end_truncation(&fixture->table, fixture->node));
    publish(fixture, NEW, NULL);
    node_show_newer(&fixture->table, fixture->node, NOW);
    assert_page(fixture, OLD "ewer content");
    settle(fixture);
    assert_page(fixture, OLD "ewer content");
    node_begin_change(&fixture->table, fixture->node, &write); /* so it was taken */
    assert_page(fixture, "W newer content");
    node_end_change(&fixture->table, fixture->node, false, NOW);
    assert_page(fixture, NEW);
    node_unpin(&fixture->table, fixture->node);
}

/* It asks for a truncation while others' version is turned over. */
static void test_truncation_during_a_turn(void **state)
{
    struct fixture *fixture = *state;

    publish(fixture, "x", NULL);
    begin_shortening(fixture, 0);
    node_show_newer(&fixture->table, fixture->node, NOW);
    assert_page(fixture, OLD);
    begin_shortening(fixture, 0); /* the kernel has the size of either */
    assert_page(fixture, "xld");
    settle(fixture);
    assert_page(fixture, "x");
}

/* The kernel has not taken a size since the first version, whose end no page may come before. */
static void test_own_write_between_shorter_versions(void **state)
{
    struct fixture *fixture = *state;
    struct own_write write = {.offset = 0, .size = 1, .data = (const uint8_t *)"W"};

    publish(fixture, "xy", NULL);
    node_begin_change(&fixture->table, fixture->node, &write);
    publish(fixture, "Wy", fixture->node);
    node_end_change(&fixture->table, fixture->node, false, NOW);
    assert_page(fixture, "Wyd");
    publish(fixture, "z", NULL);
    assert_page(fixture, "Wyd");
    node_show_newer(&fixture->table, fixture->node, NOW);
    assert_page(fixture, "zyd");
    settle(fixture);
    assert_page(fixture, "z");
}

/* The kernel has taken the size of what was newest when a turn ended, not of what came since. */
static void test_changes_while_the_size_is_taken(void **state)
{
    struct fixture *fixture = *state;

    publish(fixture, NEW, NULL);
    uint64_t foreign = node_show_newer(&fixture->table, fixture->node, NOW);
    publish(fixture, "x", NULL);
    assert_page(fixture, NEW); /* the kernel keeps this page, ... */
    publish(fixture, "y", fixture->node);
    node_settle(&fixture->table, fixture->node, foreign);
    assert_true(
        node_has_older(&fixture->table, fixture->node)); /* ... unless it is told to drop it */
    assert_page(fixture, "y newer content");
    settle(fixture);
    assert_page(fixture, "y");
}

/* While an own change of the size may be under way, the kernel does not shorten the file. */
static void test_pages_of_a_shorter_version_after_an_own_change(void **state)
{
    struct fixture *fixture = *state;

    publish(fixture, OLD, fixture->node);
    node_end_change(&fixture->table, fixture->node, false, NOW);
    publish(fixture, "x", NULL);
    node_show_newer(&fixture->table, fixture->node, NOW - 1); /* threads' clocks are not in order */
    assert_page(fixture, "xld");
    publish(fixture, "y", NULL);
    node_show_newer(&fixture->table, fixture->node, NOW + 999);
    assert_page(fixture, "yld");
    settle(fixture);
    publish(fixture, "", NULL);
    node_show_newer(&fixture->table, fixture->node, NOW + 1000);
    assert_page(fixture, "");
}

static void test_truncation_waits(void **state)
{
    struct fixture *fixture = *state;
    struct own_write write = {.offset = 0, .size = 1, .data = (const uint8_t *)"W"};

    assert_true(node_truncate(&fixture->table, fixture->node,
                              &(struct emptying){.opener = 5, .now = 10, .due = 110}));
    assert_int_equal(size_shown(fixture), 0);
    publish(fixture, NEW, NULL); /* it stays empty here, and will be there */
    assert_int_equal(size_shown(fixture), 0);
    assert_false(node_has_older(&fixture->table, fixture->node));
    assert_int_equal(node_meet(&fixture->table, fixture->node, 109), NODE_STAYS);
    assert_true(node_begin_change(&fixture->table, fixture->node, &write));
    publish(fixture, "W", fixture->node);
    node_end_change(&fixture->table, fixture->node, false, NOW);
    assert_int_equal(size_shown(fixture), 1);
    assert_int_equal(node_meet(&fixture->table, fixture->node, 110), NODE_DONE);
    node_unpin(&fixture->table, fixture->node);
}

static void test_a_truncation_fails(void **state)
{
    struct fixture *fixture = *state;

    node_truncate(&fixture->table, fixture->node,
                  &(struct emptying){.opener = 5, .now = 10, .due = 110});
    assert_int_equal(node_meet(&fixture->table, fixture->node, 110), NODE_SEND);
    node_end_change(&fixture->table, fixture->node, true, NOW);
    assert_int_equal(size_shown(fixture), strlen(OLD));
    node_unpin(&fixture->table, fixture->node);
}

/* The rest of the table in node.c: a step that is not in it would end the program. */
static void test_truncations_follow_each_other(void **state)
{
    struct fixture *fixture = *state;
    struct node_table *table = &fixture->table;
    struct node *node = fixture->node;

    assert_true(node_truncate(table, node, &(struct emptying){.opener = 5, .now = 10, .due = 110}));
    assert_false(node_truncate(
        table, node,
        &(struct emptying){.opener = 6, .now = 20, .due = 120})); /* it waits already */
    assert_int_equal(node_waits_for(table, node), 6);
    assert_true(node_begin_change(table, node, NULL));
    assert_false(node_table_waits(table));
    assert_false(node_truncate(
        table, node,
        &(struct emptying){.opener = 7, .now = 30, .due = 130})); /* the one before is under way */
    publish(fixture, "", node);
    assert_int_equal(node_waits_for(table, node), 7);
    publish(fixture, NULL, NULL);
    assert_false(node_table_waits(table)); /* gone: there is nothing to send */
    assert_false(
        node_truncate(table, node, &(struct emptying){.opener = 8, .now = 40, .due = 140}));
    assert_int_equal(node_meet(table, node, 140), NODE_DONE);
    node_unpin(table, node);
}

static void test_truncation_of_what_is_gone(void **state)
{
    struct fixture *fixture = *state;

    publish(fixture, NULL, NULL);
    assert_false(node_truncate(&fixture->table, fixture->node,
                               &(struct emptying){.opener = 5, .now = 10, .due = 110}));
    assert_true(node_is_emptied(&fixture->table, fixture->node));
    assert_false(node_table_waits(&fixture->table));
}

/* A page that is read again while an own write is under way may lack it. */
static void test_pages_that_were_read_again(void **state)
{
    struct fixture *fixture = *state;
    struct own_write write = {.offset = 0, .size = 1, .data = (const uint8_t *)"W"};

    entry_unref(node_content(&fixture->table, fixture->node, fixture->tree));
    node_begin_change(&fixture->table, fixture->node, &write);
    assert_false(node_end_change(&fixture->table, fixture->node, false, NOW));
    node_begin_drop(&fixture->table, fixture->node, NOW);
    entry_unref(node_content(&fixture->table, fixture->node, fixture->tree));
    node_begin_change(&fixture->table, fixture->node, &write);
    assert_true(node_end_change(&fixture->table, fixture->node, false, NOW));
    node_begin_change(&fixture->table, fixture->node, &write);
    assert_false(node_end_change(&fixture->table, fixture->node, false, NOW));
}

static void begin_write(struct fixture *fixture, struct own_write *write)
{
    assert_false(node_begin_change(&fixture->table, fixture->node, write));
}

/* The kernel waits for the page of the first write before it drops any; by then it has filled one
 * for the second. */
static void test_a_write_that_ends_during_a_drop(void **state)
{
    struct fixture *fixture = *state;
    struct own_write first = {.offset = 0, .size = 1, .data = (const uint8_t *)"1"};
    struct own_write second = {.offset = 1, .size = 1, .data = (const uint8_t *)"2"};

    begin_write(fixture, &first);
    node_begin_drop(&fixture->table, fixture->node, NOW);
    publish(fixture, "1ld", fixture->node);
    assert_false(node_end_change(&fixture->table, fixture->node, false, NOW + 1));
    node_end_drop(&fixture->table, fixture->node, NOW + 2);
    entry_unref(node_content(&fixture->table, fixture->node, fixture->tree)); /* lacks the second */
    begin_write(fixture, &second);
    publish(fixture, "12d", fixture->node);
    assert_true(node_end_change(&fixture->table, fixture->node, false, NOW + 3));
    begin_write(fixture, &first);
    assert_false(node_end_change(&fixture->table, fixture->node, false, NOW + 4));
}

/* What counts is when the write was asked for, not how long the group took for it. */
static void test_a_write_that_takes_long(void **state)
{
    struct fixture *fixture = *state;
    struct own_write write = {
        .offset = 0, .size = 1, .data = (const uint8_t *)"W", .heard = NOW + 1};

    node_begin_drop(&fixture->table, fixture->node, NOW);
    node_end_drop(&fixture->table, fixture->node, NOW);
    entry_unref(node_content(&fixture->table, fixture->node, fixture->tree));
    begin_write(fixture, &write);
    assert_true(node_end_change(&fixture->table, fixture->node, false, NOW + 29000));
    node_begin_drop(&fixture->table, fixture->node, NOW);
    node_end_drop(&fixture->table, fixture->node, NOW);
    entry_unref(node_content(&fixture->table, fixture->node, fixture->tree));
    write.heard = NOW + 29000;
    begin_write(fixture, &write);
    assert_false(node_end_change(&fixture->table, fixture->node, false, NOW + 29000));
}

/* Who has a deleted file open goes on seeing what it was; its name leads to another node. */
static void test_gone(void **state)
{
    struct fixture *fixture = *state;

    publish(fixture, NULL, NULL);
    assert_true(node_is_gone(&fixture->table, fixture->node));
    assert_int_equal(size_shown(fixture), strlen(OLD));
    assert_page(fixture, OLD);
    assert_null(node_find(&fixture->table, INODE));
    assert_false(node_holds_askers(&fixture->table, fixture->node, 1));
}

/* It has no path any more: whose it was is remembered. What is not known is taken for private. */
static void assert_gone_from(void **state, const char *path, bool private)
{
    struct fixture *fixture = *state;
    struct node_view view;

    fixture->path = path;
    publish(fixture, NULL, NULL);
    node_view(&fixture->table, fixture->node, fixture->tree, &view);
    assert_true(view.gone);
    assert_int_equal(view.private, private);
    entry_unref(view.entry);
}

static void test_gone_from_a_public_path(void **state)
{
    assert_gone_from(state, "f", false);
}

static void test_gone_from_a_private_path(void **state)
{
    assert_gone_from(state, "nodes/a/priv/f", true);
}

static void test_gone_from_an_unknown_path(void **state)
{
    assert_gone_from(state, NULL, true);
}

static void assert_ended(struct fixture *fixture, guint expected)
{
    g_autoptr(GPtrArray) ended = node_take_ended(&fixture->table);

    assert_int_equal(ended->len, expected);
    for (guint i = 0; i < ended->len; i++) {
        assert_ptr_equal(ended->pdata[i], fixture->node);
        node_unpin(&fixture->table, ended->pdata[i]);
    }
}

/* The kernel has to be told, once, but of its own deletion. */
static void test_ended_by_others(void **state)
{
    struct fixture *fixture = *state;

    publish(fixture, NULL, NULL);
    assert_ended(fixture, 1);
    assert_ended(fixture, 0);
}

static void test_ended_by_its_own(void **state)
{
    struct fixture *fixture = *state;

    publish(fixture, NULL, fixture);
    assert_true(node_is_gone(&fixture->table, fixture->node));
    assert_ended(fixture, 0);
}

/* What is kept of before an own truncation is not what was shown last; but the kernel may go by its
 * size still. */
static void test_gone_after_a_truncation(void **state)
{
    struct fixture *fixture = *state;

    node_begin_change(&fixture->table, fixture->node, NULL);
    begin_shortening(fixture, 1);
    publish(fixture, "x", fixture->node);
    assert_true(node_end_change(&fixture->table, fixture->node, false, NOW));
    publish(fixture, NULL, NULL);
    assert_int_equal(size_shown(fixture), 1);
    assert_page(fixture, "xld");
    settle(fixture);
    assert_int_equal(size_shown(fixture), 1);
    assert_page(fixture, "xld");
}

/* A change that was asked for through the file that had the path before is as new here as others'
 * are. */
static void test_overtaken(void **state)
{
    struct fixture *fixture = *state;
    struct node *before = fixture->node;

    publish(fixture, NULL, NULL);
    tree_put(fixture->tree, file_with(OLD));
    fixture->node = node_look_up(&fixture->table, INODE);
    assert_false(node_is_overtaken(&fixture->table, before));
    publish(fixture, NEW, before);
    assert_true(node_is_overtaken(&fixture->table, before));
    assert_false(node_is_overtaken(&fixture->table, fixture->node));
    assert_true(node_has_older(&fixture->table, fixture->node));
    assert_int_equal(size_shown(fixture), strlen(OLD));
    node_forget(&fixture->table, before, 1);
}

/* The file that the change was asked for lives on elsewhere: it is not the one that is changed. */
static void test_overtaken_and_moved(void **state)
{
    struct fixture *fixture = *state;
    struct node *asked = fixture->node;
    struct node *node = node_look_up(&fixture->table, INODE + 1);
    struct entry *before = entry_new(INODE + 1, 0, ENTRY_FILE, "f", 1, NULL, 0);
    struct entry *after = entry_new(INODE + 1, 0, ENTRY_FILE, "f", 1, NULL, 9);
    struct effect effect = {.operation = CHANGE_WRITE, .before = before, .after = after};
    g_autoptr(GPtrArray) effects = g_ptr_array_new();

    g_ptr_array_add(effects, &effect);
    tree_put(fixture->tree, before);
    for (int i = 0; i < 2; i++) {
        effect.origin = asked;
        node_begin_change(&fixture->table, asked, NULL);
        assert_false(node_is_overtaken(&fixture->table, asked));
        node_table_publishing(&fixture->table, effects, false);
        assert_true(node_is_overtaken(&fixture->table, asked));
        assert_null(effect.origin); /* so the kernel is told */
        assert_true(node_has_older(&fixture->table, node));
        assert_int_equal(size_shown(fixture), strlen(OLD));
        node_end_change(&fixture->table, asked, true, NOW);
    }
    publish(fixture, NULL, NULL); /* its own end comes before the answer */
    assert_true(node_is_overtaken(&fixture->table, asked));
    effect.origin = &effect; /* whoever asked has been forgotten */
    node_table_publishing(&fixture->table, effects, false);
    assert_null(effect.origin);
    entry_unref(after);
    node_forget(&fixture->table, node, 1);
}

/* The waiting truncation that was made to another file is over: the file is not empty for ever. */
static void test_overtaken_truncation(void **state)
{
    struct fixture *fixture = *state;
    struct effect effect = {.operation = CHANGE_WRITE, .truncated = true, .origin = fixture->node};
    g_autoptr(GPtrArray) effects = g_ptr_array_new();

    effect.before = entry_new(INODE + 1, 0, ENTRY_FILE, "f", 1, NULL, 5);
    effect.after = entry_new(INODE + 1, 0, ENTRY_FILE, "f", 1, NULL, 0);
    g_ptr_array_add(effects, &effect);
    assert_true(node_truncate(&fixture->table, fixture->node,
                              &(struct emptying){.opener = 5, .now = 10, .due = 110}));
    assert_int_equal(node_meet(&fixture->table, fixture->node, 110), NODE_SEND);
    node_table_publishing(&fixture->table, effects, false);
    assert_true(node_is_overtaken(&fixture->table, fixture->node));
    node_end_truncation(&fixture->table, fixture->node);
    assert_int_equal(size_shown(fixture), strlen(OLD));
    node_unpin(&fixture->table, fixture->node);
    entry_unref(effect.before);
    entry_unref(effect.after);
}

/* The write came too late to be one change with the truncation: the kernel waits for it alone. */
static void test_truncation_ends_during_a_write(void **state)
{
    struct fixture *fixture = *state;
    struct own_write write = {.offset = 0, .size = 1, .data = (const uint8_t *)"W"};

    assert_true(node_truncate(&fixture->table, fixture->node,
                              &(struct emptying){.opener = 5, .now = 10, .due = 110}));
    assert_int_equal(node_meet(&fixture->table, fixture->node, 110), NODE_SEND);
    assert_false(node_begin_change(&fixture->table, fixture->node, &write));
    node_begin_drop(&fixture->table, fixture->node, NOW);
    assert_null(node_content(&fixture->table, fixture->node, fixture->tree));
    publish(fixture, "", fixture->node);
    node_end_truncation(&fixture->table, fixture->node);
    assert_page(fixture, "W");
    publish(fixture, "W", fixture->node);
    assert_true(
        node_end_change(&fixture->table, fixture->node, false, NOW - 1)); /* another clock */
    node_unpin(&fixture->table, fixture->node);
}

/* Whether the kernel has a node of what becomes `after` of `before` (each may be NULL). */
static bool any_known(struct fixture *fixture, struct entry *before, struct entry *after)
{
    struct effect effect = {.before = before, .after = after};
    g_autoptr(GPtrArray) effects = g_ptr_array_new();

    g_ptr_array_add(effects, &effect);
    bool known = node_any_known(&fixture->table, effects);
    entry_unref(before);
    entry_unref(after);
    return known;
}

static struct entry *file_in(uint64_t directory, const char *name)
{
    return entry_new(INODE + 1, directory, ENTRY_FILE, name, (uint32_t)strlen(name), NULL, 0);
}

/* Who is told before the kernel must be sure that it has nothing to forget. */
static void test_what_is_known(void **state)
{
    struct fixture *fixture = *state;

    assert_true(any_known(fixture, file_with(OLD), file_with(NEW)));
    assert_false(any_known(fixture, file_in(0, "g"), file_in(0, "g")));
    assert_true(any_known(fixture, NULL, file_in(0, "g")));
    assert_true(any_known(fixture, file_in(0, "g"), NULL));
    assert_false(any_known(fixture, NULL, file_in(INODE + 2, "g")));
    assert_true(any_known(fixture, NULL, file_in(INODE, "g")));
    assert_false(any_known(fixture, file_in(INODE, "g"), file_in(INODE, "g")));
    assert_true(any_known(fixture, file_in(INODE, "g"), file_in(INODE, "h")));
    assert_true(any_known(fixture, file_in(INODE + 2, "g"), file_in(INODE, "g")));
    publish(fixture, NULL, NULL);
    assert_true(any_known(fixture, file_in(0, "g"), file_in(0, "g"))); /* one that has ended */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_others_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pages_of_a_shorter_version, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_several_changes_are_one_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_asks_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_equal_sizes_wait_for_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_own_change, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_write_that_ends_during_a_drop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_write_that_takes_long, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_own_truncation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_own_truncations_in_a_row, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_others_change_while_a_truncation_is_answered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_truncation_during_a_turn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_own_write_between_shorter_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_changes_while_the_size_is_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pages_of_a_shorter_version_after_an_own_change, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_truncation_waits, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_truncation_fails, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncations_follow_each_other, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncation_of_what_is_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pages_that_were_read_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gone_from_a_public_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gone_from_a_private_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gone_from_an_unknown_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ended_by_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_ended_by_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gone_after_a_truncation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_overtaken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_overtaken_and_moved, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_overtaken_truncation, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_truncation_ends_during_a_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_known, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
