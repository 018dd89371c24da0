/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unit tests of tree and draft: look-ups, sums, listings, publication, and names that change hands.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "world.h"

static struct entry *make_entry(uint64_t inode, uint64_t parent, uint8_t type, const char *name,
                                const char *text)
{
    struct buffer *content = text ? buffer_copy(text, (uint32_t)strlen(text)) : NULL;
    struct entry *entry = entry_new(inode, parent, type, name, strlen(name), content,
                                    content ? content->capacity : 0);

    buffer_unref(content);
    return entry;
}

static void test_empty(void **unused)
{
    int error = 1;

    (void)unused;
    struct tree *tree = tree_new();
    assert_int_equal(tree->root.version, 1);
    assert_int_equal(tree->root.writer, 0);
    assert_int_equal(tree->root.mtime, 0);
    assert_int_equal(tree_entry_count(tree), 1);
    assert_int_equal(tree_child_count(tree, 0), 0);
    assert_null(tree_next_child(tree, 0, 0));
    assert_null(tree_lookup(tree, "", &error));
    assert_int_equal(error, 0);
    assert_null(tree_lookup(tree, "a", &error));
    assert_int_equal(error, -ENOENT);
    g_autofree char *path = tree_path(tree, 0);
    assert_string_equal(path, "");
    assert_null(tree_path(tree, 5));
    tree_free(tree);
    tree_free(NULL);
}

static void test_put_and_remove(void **unused)
{
    int error;

    (void)unused;
    struct tree *tree = tree_new();
    tree_put(tree, make_entry(3, 2, ENTRY_FILE, "f", "12345")); /* before its parent */
    tree_put(tree, make_entry(2, 0, ENTRY_DIRECTORY, "d", NULL));
    assert_int_equal(tree->bytes, 5);
    assert_int_equal(tree_lookup(tree, "d/f", &error)->inode, 3);
    g_autofree char *path = tree_path(tree, 3);
    assert_string_equal(path, "d/f");
    g_autofree char *other = tree_path_of(tree, 2, "x");
    assert_string_equal(other, "d/x");
    g_autofree char *top = tree_path_of(tree, 0, "x");
    assert_string_equal(top, "x");
    assert_null(tree_path_of(tree, 9, "x"));
    tree_put(tree, make_entry(3, 2, ENTRY_FILE, "f", "1")); /* the same name, other bytes */
    assert_int_equal(tree->bytes, 1);
    assert_int_equal(tree_child_count(tree, 2), 1);
    tree_put(tree, make_entry(3, 2, ENTRY_FILE, "g", "12")); /* its only child gets another name */
    assert_null(tree_child(tree, 2, "f"));
    assert_int_equal(tree_child(tree, 2, "g")->size, 2);
    assert_int_equal(tree_child_count(tree, 2), 1);
    tree_put(tree, make_entry(3, 0, ENTRY_FILE, "g", "123")); /* and another directory */
    assert_int_equal(tree_child_count(tree, 2), 0);
    assert_int_equal(tree_child_count(tree, 0), 2);
    tree_remove(tree, 3);
    tree_remove(tree, 3);
    assert_int_equal(tree->bytes, 0);
    assert_int_equal(tree_entry_count(tree), 2);
    tree_free(tree);
}

/* The order of all entries is kept at each change, or made anew. */
static void test_order(void **unused)
{
    struct tree *tree = tree_new();
    uint64_t state = 1;

    (void)unused;
    for (guint i = 0; i < 3000; i++) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        uint64_t inode = 2 + (state >> 33) % 200;
        g_autofree char *name = g_strdup_printf("n%u", i % 500);
        struct entry *there = tree_child(tree, 0, name);
        if (i % 3 == 0)
            tree_remove(tree, inode);
        else if (!there)
            tree_put(tree, make_entry(inode, 0, ENTRY_FILE, name, "x"));
        if (i % 100 == 50)
            tree_forget_order(tree);
        if (i % 100 == 70)
            tree_keep_order(tree);
        if (i % 100 > 50 && i % 100 < 60)
            continue;
        g_autoptr(GPtrArray) sorted = tree_sorted(tree);
        assert_int_equal(sorted->len + 1, tree_entry_count(tree));
        for (guint j = 0; j < sorted->len; j++) {
            struct entry *entry = sorted->pdata[j];
            assert_ptr_equal(tree_entry(tree, entry->inode), entry);
            assert_true(j == 0 || entry->inode > ((struct entry *)sorted->pdata[j - 1])->inode);
        }
    }
    tree_free(tree);
}

static void test_lookup_errors(void **unused)
{
    struct world world;
    int error;
    g_autofree char *long_name = g_strnfill(NAME_MAX_LISTED, 'n');
    g_autofree char *too_long = g_strnfill(NAME_MAX_LISTED + 1, 'n');

    (void)unused;
    world_start(&world);
    world_make(&world, (const char *const[]){"d", "d/e", NULL});
    world_file(&world, "d/f", "x");
    world_file(&world, long_name, "x");
    const struct {
        const char *path;
        int error;
    } cases[] = {
        {"x", -ENOENT},        {"d/x", -ENOENT},   {"x/y", -ENOENT}, {"d/f/x", -ENOTDIR},
        {"d/f/x/y", -ENOTDIR}, {"d/f/", -ENOTDIR}, {"d/", -ENOENT},  {"/d", -ENOENT},
        {"d//f", -ENOENT},     {".", -ENOENT},     {"..", -ENOENT},  {too_long, -ENOENT},
    };
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
            error = 0;
            assert_null(draft_lookup(world.draft, cases[i].path, &error));
            if (error != cases[i].error)
                fail_msg("'%s' gives %d, not %d", cases[i].path, error, cases[i].error);
            if (round == 0)
                continue;
            assert_null(tree_lookup(world.state->tree, cases[i].path, &error));
            assert_int_equal(error, cases[i].error);
        }
        assert_non_null(draft_lookup(world.draft, long_name, &error));
        assert_int_equal(error, 0);
        if (round == 0)
            world_publish(&world);
    }
    assert_non_null(tree_lookup(world.state->tree, long_name, &error));
    world_stop(&world);
}

/* Readers see nothing of a draft, the writer all of it. */
static void test_draft_is_hidden(void **unused)
{
    struct world world;

    (void)unused;
    world_start(&world);
    world_make(&world, (const char *const[]){"d", NULL});
    world_file(&world, "d/f", "one");
    const struct tree *tree = world.state->tree;
    assert_int_equal(tree_entry_count(tree), 1);
    assert_int_equal(tree->root.version, 1);
    assert_int_equal(tree->bytes, 0);
    assert_false(draft_is_empty(world.draft));
    world_publish(&world);
    assert_int_equal(tree_entry_count(tree), 3);
    assert_int_equal(tree->root.version, 4);
    uint64_t inode = world_entry(&world, "d/f")->inode;
    struct entry *seen = entry_ref(tree_entry(tree, inode));
    world_write(&world, "d/f", 0, "two");
    assert_int_equal(world_delete(&world, "d/f"), 0);
    assert_int_equal(world_delete(&world, "d"), 0);
    assert_memory_equal(tree_entry(tree, inode)->content->data, "one", 3);
    assert_int_equal(tree_child_count(tree, 0), 1);
    world_publish(&world);
    assert_int_equal(tree_entry_count(tree), 1);
    assert_int_equal(tree->bytes, 0);
    assert_memory_equal(seen->content->data, "one", 3); /* whoever held it keeps it */
    entry_unref(seen);
    world_stop(&world);
}

/* A draft that was dropped has not happened; its numbers are given again. */
static void test_draft_is_dropped(void **unused)
{
    struct world world;

    (void)unused;
    world_start(&world);
    world_make(&world, (const char *const[]){"nodes", "nodes/a", "nodes/a/lxc", NULL});
    world_file(&world, "nodes/a/lxc/100.conf", "0123456789");
    assert_int_equal(world_write(&world, "nodes/a/lxc/100.conf", 10, "ab"), 0);
    world_publish(&world);
    struct buffer *before = index_build(world.draft);
    g_ptr_array_unref(draft_take_effects(world.draft));
    assert_int_equal(world_write(&world, "nodes/a/lxc/100.conf", 12, "UNDONE"), 0);
    world_file(&world, "nodes/a/lxc/101.conf", "x");
    assert_int_equal(world_delete(&world, "nodes/a/lxc/100.conf"), 0);
    assert_int_equal(world.draft->effects->len, 4);
    draft_restart(world.draft);
    assert_true(draft_is_empty(world.draft));
    g_ptr_array_unref(draft_take_effects(world.draft));
    struct buffer *after = index_build(world.draft);
    assert_int_equal(before->capacity, after->capacity);
    assert_memory_equal(before->data, after->data, before->capacity);
    world_assert_guests(&world, "100=a/lxc");
    assert_int_equal(world_write(&world, "nodes/a/lxc/100.conf", 12, "c"), 0);
    world_publish(&world);
    world_assert_content(&world, "nodes/a/lxc/100.conf", "0123456789abc");
    buffer_unref(after);
    buffer_unref(before);
    world_stop(&world);
}

/* Reads a directory from position to position, as a listing does over several requests. */
static char *list(const struct world *world, const char *path, uint64_t *position, int max)
{
    int error;
    const struct entry *directory = tree_lookup(world->state->tree, path, &error);
    GString *names = g_string_new(NULL);
    const struct entry *child;

    while (max-- > 0 && (child = tree_next_child(world->state->tree,
                                                 directory ? directory->inode : 0, *position))) {
        g_string_append_printf(names, "%s%s", names->len ? " " : "", child->name);
        *position = child->inode;
    }
    return g_string_free(names, FALSE);
}

static void assert_list(const struct world *world, const char *path, uint64_t *position, int max,
                        const char *expected)
{
    g_autofree char *names = list(world, path, position, max);

    assert_string_equal(names, expected);
}

/* Between two requests of a listing entries come, go and change names: what stays is listed exactly
 * once. */
static void test_listing_positions(void **unused)
{
    struct world world;
    uint64_t position = 0;

    (void)unused;
    world_start(&world);
    world_make(&world, (const char *const[]){"d", NULL});
    static const char *const names[] = {"d/z", "d/a", "d/m", "d/b", "d/y", "d/c"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        world_file(&world, names[i], "x");
    world_publish(&world);
    assert_list(&world, "d", &position, 2, "z a");
    assert_int_equal(world_delete(&world, "d/a"), 0); /* the one that the position is at */
    assert_int_equal(world_delete(&world, "d/m"), 0); /* the next */
    assert_int_equal(world_rename(&world, "d/b", "d/bb"), 0);
    assert_int_equal(world_write(&world, "d/z", 0, "again"), 0);
    world_file(&world, "d/new", "");
    world_publish(&world);
    assert_list(&world, "d", &position, 2, "bb y");
    assert_int_equal(world_rename(&world, "d/z", "d/c"),
                     0); /* listed already, over one that is not */
    world_publish(&world);
    assert_list(&world, "d", &position, 10, "new");
    assert_list(&world, "d", &position, 10, "");
    position = 0;
    assert_list(&world, "d", &position, 10, "c bb y new");
    assert_list(&world, "", &(uint64_t){0}, 10, "d");
    assert_list(&world, "d", &(uint64_t){UINT64_MAX - 1}, 10, "");
    world_stop(&world);
}

/* A file that an older inode brings into a directory goes to its place by inode. */
static void test_listing_order(void **unused)
{
    struct world world;

    (void)unused;
    world_start(&world);
    world_file(&world, "old", "");
    world_make(&world, (const char *const[]){"d", NULL});
    world_file(&world, "d/a", "");
    world_file(&world, "d/b", "");
    world_publish(&world);
    assert_int_equal(world_rename(&world, "old", "d/old"), 0);
    world_publish(&world);
    assert_list(&world, "d", &(uint64_t){0}, 10, "old a b");
    assert_int_equal(tree_child_count(world.state->tree, 0), 1);
    world_stop(&world);
}

/* Names that change hands within one batch: temporary files, swaps, delete and make again. */
static void test_names_change_hands(void **unused)
{
    struct world world;

    (void)unused;
    world_start(&world);
    world_file(&world, "a", "A");
    world_file(&world, "b", "B");
    world_file(&world, "c", "C");
    world_publish(&world);
    uint64_t a = world_entry(&world, "a")->inode;
    uint64_t b = world_entry(&world, "b")->inode;
    /* a and b swap by way of t. */
    assert_int_equal(world_rename(&world, "a", "t"), 0);
    assert_int_equal(world_rename(&world, "b", "a"), 0);
    assert_int_equal(world_rename(&world, "t", "b"), 0);
    /* c is replaced by a new file over and over. */
    for (int i = 0; i < 3; i++) {
        world_file(&world, "c.tmp", i < 2 ? "x" : "last");
        assert_int_equal(world_rename(&world, "c.tmp", "c"), 0);
    }
    /* made and deleted again: readers never see it. */
    world_file(&world, "gone", "x");
    assert_int_equal(world_delete(&world, "gone"), 0);
    world_publish(&world);
    world_assert_content(&world, "a", "B");
    world_assert_content(&world, "b", "A");
    world_assert_content(&world, "c", "last");
    assert_int_equal(world_entry(&world, "a")->inode, b);
    assert_int_equal(world_entry(&world, "b")->inode, a);
    assert_int_equal(tree_entry_count(world.state->tree), 4);
    assert_list(&world, "", &(uint64_t){0}, 10, "b a c");
    /* A directory in the place of a file that was deleted in the same batch, and back. */
    assert_int_equal(world_delete(&world, "a"), 0);
    world_make(&world, (const char *const[]){"a", "a/x", NULL});
    world_publish(&world);
    assert_int_equal(world_delete(&world, "a/x"), 0);
    assert_int_equal(world_delete(&world, "a"), 0);
    world_file(&world, "a", "file");
    world_publish(&world);
    world_assert_content(&world, "a", "file");
    world_stop(&world);
}

/* A synchronisation's entries come in any order: a name may be put before its old holder is moved.
 */
static void test_commit_order(void **unused)
{
    struct world world;
    int error;

    (void)unused;
    world_start(&world);
    world_file(&world, "a", "A");
    world_file(&world, "b", "B");
    world_make(&world, (const char *const[]){"d", NULL});
    world_publish(&world);
    uint64_t a = world_entry(&world, "a")->inode;
    uint64_t b = world_entry(&world, "b")->inode;
    uint64_t d = world_entry(&world, "d")->inode;
    for (int order = 0; order < 2; order++) {
        struct entry *first = entry_clone_renamed(tree_entry(world.state->tree, a), 0, "b", 1);
        struct entry *second = entry_clone_renamed(tree_entry(world.state->tree, b), d, "a", 1);
        draft_put(world.draft, order ? second : first);
        draft_put(world.draft, order ? first : second);
        world.draft->root.version = 100;
        assert_int_equal(draft_lookup(world.draft, "b", &error)->inode, a);
        assert_int_equal(draft_lookup(world.draft, "d/a", &error)->inode, b);
        assert_null(draft_lookup(world.draft, "a", &error));
        if (order)
            world_publish(&world);
        else
            draft_restart(world.draft);
    }
    assert_int_equal(tree_lookup(world.state->tree, "b", &error)->inode, a);
    assert_int_equal(tree_lookup(world.state->tree, "d/a", &error)->inode, b);
    /* Two names swap without a third. */
    draft_put(world.draft, entry_clone_renamed(tree_entry(world.state->tree, a), d, "a", 1));
    draft_put(world.draft, entry_clone_renamed(tree_entry(world.state->tree, b), 0, "b", 1));
    world_publish(&world);
    assert_int_equal(tree_lookup(world.state->tree, "b", &error)->inode, b);
    assert_int_equal(tree_lookup(world.state->tree, "d/a", &error)->inode, a);
    /* A directory and all below it goes, and its number comes back as a file. */
    draft_remove(world.draft, a);
    draft_put(world.draft, make_entry(d, 0, ENTRY_FILE, "d", "now a file"));
    world_publish(&world);
    world_assert_content(&world, "d", "now a file");
    world_stop(&world);
}

/* What is put later has the name, and keeps it when the one that had it in between goes. */
static void test_names_taken_in_between(void **unused)
{
    struct world world;
    int error;
    char *problem = NULL;

    (void)unused;
    world_start(&world);
    world_file(&world, "a", "A");
    world_file(&world, "b", "B");
    world_publish(&world);
    struct entry *a = tree_lookup(world.state->tree, "a", &error);
    struct entry *b = tree_lookup(world.state->tree, "b", &error);
    draft_put(world.draft, entry_clone_renamed(b, 0, "a", 1));
    assert_int_equal(draft_child(world.draft, 0, "a")->inode, b->inode);
    struct entry *rewritten = make_entry(a->inode, 0, ENTRY_FILE, "a", "rewritten");
    draft_put(world.draft, rewritten);
    assert_ptr_equal(draft_child(world.draft, 0, "a"), rewritten);
    assert_null(draft_child(world.draft, 0, "b"));
    draft_put(world.draft, entry_clone_renamed(b, 0, "c", 1));
    assert_ptr_equal(draft_child(world.draft, 0, "a"), rewritten);
    assert_int_equal(draft_child(world.draft, 0, "c")->inode, b->inode);
    assert_int_equal(draft_check(world.draft, &problem), 0);
    world.draft->root.version++;
    world_publish(&world);
    world_assert_content(&world, "a", "rewritten");
    world_assert_content(&world, "c", "B");
    assert_int_equal(tree_child_count(world.state->tree, 0), 2);
    world_stop(&world);
}

static void assert_problem(struct world *world, const char *words)
{
    g_autofree char *problem = NULL;

    assert_int_equal(draft_check(world->draft, &problem), -EBADMSG);
    assert_non_null(problem);
    if (!strstr(problem, words))
        fail_msg("'%s' does not say '%s'", problem, words);
    draft_restart(world->draft);
}

/* What a synchronisation must not bring into the tree. */
static void test_check(void **unused)
{
    struct world world;
    struct draft *draft;

    (void)unused;
    world_start(&world);
    draft = world.draft;
    world_make(&world, (const char *const[]){"d", "d/e", NULL});
    world_file(&world, "f", "x");
    world_publish(&world);
    uint64_t d = world_entry(&world, "d")->inode;
    uint64_t e = world_entry(&world, "d/e")->inode;
    uint64_t f = world_entry(&world, "f")->inode;
    draft_put(draft, make_entry(50, 99, ENTRY_FILE, "orphan", NULL));
    assert_problem(&world, "parent");
    draft_put(draft, make_entry(50, f, ENTRY_FILE, "below-a-file", NULL));
    assert_problem(&world, "parent");
    draft_remove(draft, d); /* d/e has lost its parent */
    assert_problem(&world, "parent");
    draft_put(draft, make_entry(50, 0, ENTRY_FILE, "f", NULL));
    assert_problem(&world, "name of another");
    draft_put(draft, make_entry(50, 0, ENTRY_FILE, "..", NULL));
    assert_problem(&world, "name");
    draft_put(draft, make_entry(50, 0, ENTRY_FILE, "a/b", NULL));
    assert_problem(&world, "name");
    draft_put(draft, make_entry(50, 0, ENTRY_FILE, "", NULL));
    assert_problem(&world, "name");
    draft_put(draft, make_entry(50, 0, ENTRY_DIRECTORY, "x", "data"));
    assert_problem(&world, "data");
    draft_put(draft, make_entry(d, e, ENTRY_DIRECTORY, "d", NULL)); /* a ring */
    assert_problem(&world, "root");
    draft_put(draft, make_entry(50, 50, ENTRY_DIRECTORY, "itself", NULL));
    assert_problem(&world, "root");
    char *problem = NULL;
    assert_int_equal(draft_check(draft, &problem), 0);
    world_stop(&world);
}

static void test_duplicate_guests(void **unused)
{
    struct world world;
    uint32_t id = 0;
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;

    (void)unused;
    world_start(&world);
    world_make(&world, (const char *const[]){"nodes", "nodes/a", "nodes/a/lxc", "nodes/b",
                                             "nodes/b/qemu-server", NULL});
    world_file(&world, "nodes/a/lxc/100.conf", "");
    world_file(&world, "nodes/b/qemu-server/101.conf", "");
    world_publish(&world);
    assert_false(draft_find_duplicate_guest(world.draft, &id, &first, &second));
    draft_put(world.draft, make_entry(50, world_entry(&world, "nodes/b/qemu-server")->inode,
                                      ENTRY_FILE, "100.conf", NULL));
    assert_true(draft_find_duplicate_guest(world.draft, &id, &first, &second));
    assert_int_equal(id, 100);
    assert_string_equal(first, "nodes/a/lxc/100.conf");
    assert_string_equal(second, "nodes/b/qemu-server/100.conf");
    world_stop(&world);
}

/* Random changes in batches: the tree is what the draft was, again and again. */
static void test_random(void **unused)
{
    struct world world;
    GRand *random = g_rand_new_with_seed(17);
    static const char *const paths[] = {"a",
                                        "b",
                                        "d",
                                        "d/a",
                                        "d/b",
                                        "d/e",
                                        "d/e/a",
                                        "priv",
                                        "priv/lock",
                                        "priv/lock/x",
                                        "nodes",
                                        "nodes/n",
                                        "nodes/n/lxc",
                                        "nodes/n/lxc/1.conf",
                                        "nodes/n/lxc/2.conf",
                                        "nodes/n/qemu-server",
                                        "nodes/n/qemu-server/1.conf"};
    guint done = 0;

    (void)unused;
    world_start(&world);
    for (int i = 0; i < 6000; i++) {
        const char *path = paths[g_rand_int_range(random, 0, G_N_ELEMENTS(paths))];
        const char *to = paths[g_rand_int_range(random, 0, G_N_ELEMENTS(paths))];
        struct change change = {
            .operation = (enum change_operation)g_rand_int_range(random, 1, 7),
            .truncate = g_rand_boolean(random),
            .offset = (uint32_t)g_rand_int_range(random, 0, 40),
            .path = path,
            .to = to,
            .data = (const uint8_t *)"0123456789",
            .size = (uint32_t)g_rand_int_range(random, 0, 11),
        };
        if (change.operation == CHANGE_DELETE && g_rand_boolean(random))
            change.operation = CHANGE_MKDIR;
        world.writer = (uint32_t)g_rand_int_range(random, 1, 4);
        done += world_apply(&world, change) == 0;
        if (i % 7 == 0)
            world_publish(&world);
    }
    assert_true(done > 1500);
    g_rand_free(random);
    world_stop(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_put_and_remove),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_lookup_errors),
        cmocka_unit_test(test_draft_is_hidden),
        cmocka_unit_test(test_draft_is_dropped),
        cmocka_unit_test(test_listing_positions),
        cmocka_unit_test(test_listing_order),
        cmocka_unit_test(test_names_change_hands),
        cmocka_unit_test(test_commit_order),
        cmocka_unit_test(test_names_taken_in_between),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_duplicate_guests),
        cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
