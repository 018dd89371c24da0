/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unit tests of application: each operation with its errors in their order, guests, locks, and what
 * differs from what one would expect (doc/cluster.md, Application). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "core/publish.h"
#include "world.h"

#define GUEST "nodes/n1/qemu-server/100.conf"

/* Directories d (with a file f and an empty directory e), guests' directories, locks. */
static int start(void **state)
{
    static struct world world;

    world_start(&world);
    world_make(&world, (const char *const[]){
                           "d", "d/e", "nodes", "nodes/n1", "nodes/n1/qemu-server", "nodes/n2",
                           "nodes/n2/qemu-server", "nodes/n2/lxc", "priv", "priv/lock", NULL});
    world_file(&world, "d/f", "0123456789");
    world_file(&world, GUEST, "guest");
    *state = &world;
    return 0;
}

static int stop(void **state)
{
    world_stop(*state);
    return 0;
}

static void test_create(void **state)
{
    struct world *world = *state;

    world->time = 2000;
    world->writer = 7;
    assert_int_equal(world_create(world, "new"), 0);
    const struct entry *entry = world_entry(world, "new");
    assert_int_equal(entry->inode, world->draft->root.version);
    assert_int_equal(entry->version, world->draft->root.version);
    assert_int_equal(entry->parent, 0);
    assert_int_equal(entry->writer, 7);
    assert_int_equal(entry->mtime, 2000);
    assert_int_equal(entry->size, 0);
    assert_int_equal(entry->type, ENTRY_FILE);
    assert_null(entry->content);
    uint64_t version = world_entry(world, "d")->version;
    assert_int_equal(world_create(world, "d/new"), 0);
    assert_int_equal(world_entry(world, "d")->version, version); /* a parent does not change */
    assert_int_equal(world_entry(world, "d/new")->parent, world_entry(world, "d")->inode);
}

/* A case for operations that take one path. */
struct refusal {
    const char *path;
    int error;
};

static void assert_refused(struct world *world, int (*operation)(struct world *, const char *),
                           const struct refusal *refusals)
{
    for (; refusals->error; refusals++) {
        int error = operation(world, refusals->path);
        if (error != refusals->error)
            fail_msg("'%s' gives %d, not %d", refusals->path, error, refusals->error);
    }
}

static int write_x(struct world *world, const char *path)
{
    return world_write(world, path, 0, "x");
}

static int truncate_1(struct world *world, const char *path)
{
    return world_truncate(world, path, 1);
}

static int set_mtime(struct world *world, const char *path)
{
    return world_mtime(world, path, 5);
}

static void test_create_refused(void **state)
{
    assert_refused(*state, world_create,
                   (const struct refusal[]){
                       {"x/new", -ENOENT},
                       {"x/y/new", -ENOENT},
                       {"x/.", -ENOENT}, /* the parent before the name */
                       {"d/f/new", -ENOTDIR},
                       {"d/f/..", -ENOTDIR},
                       {"d/f/x/new", -ENOTDIR},
                       {"", -EACCES},
                       {"d/", -EACCES},
                       {".", -EACCES},
                       {"..", -EACCES},
                       {"d/.", -EACCES},
                       {"d/..", -EACCES},
                       {"nodes/n2/qemu-server/100.conf", -EEXIST},
                       {"nodes/n2/lxc/100.conf", -EEXIST},
                       {"nodes/n9/lxc/100.conf", -ENOENT}, /* the parent before the guest rule */
                       {"d", -ENOTDIR},
                       {"d/e", -ENOTDIR},
                       {"d/f", -EEXIST},
                       {GUEST, -EEXIST},
                       {NULL, -EINVAL},
                       {"", 0},
                   });
}

static void test_mkdir(void **state)
{
    struct world *world = *state;

    world->time = 2000;
    world->writer = 7;
    assert_int_equal(world_mkdir(world, "d/new"), 0);
    const struct entry *entry = world_entry(world, "d/new");
    assert_int_equal(entry->inode, world->draft->root.version);
    assert_int_equal(entry->type, ENTRY_DIRECTORY);
    assert_int_equal(entry->writer, 7);
    assert_int_equal(entry->mtime, 2000);
    assert_refused(world, world_mkdir,
                   (const struct refusal[]){
                       {"x/new", -ENOENT},
                       {"d/f/new", -ENOTDIR},
                       {"", -EACCES},
                       {"d/.", -EACCES},
                       {"..", -EACCES},
                       {"d", -EEXIST},
                       {"d/f", -EEXIST},
                       {NULL, -EINVAL},
                       {"", 0},
                   });
}

static void test_write_refused(void **state)
{
    static const struct refusal refusals[] = {
        {"x/f", -ENOENT},
        {"d/f/x", -ENOTDIR},
        {"", -EACCES},
        {"d/..", -EACCES},
        {"nodes/n2/lxc/100.conf", -EEXIST}, /* the guest rule before the file's absence */
        {"nodes/n2/lxc/101.conf", -ENOENT},
        {"new", -ENOENT},
        {"d", -ENOTDIR},
        {NULL, -EINVAL},
        {"", 0},
    };

    assert_refused(*state, write_x, refusals);
    assert_refused(*state, truncate_1, refusals);
}

/* 1 MiB, tested before all else, in 64 bits. */
static void test_write_limit(void **state)
{
    struct world *world = *state;
    g_autofree uint8_t *bytes = g_malloc0(FILE_SIZE_MAX + 1);
    struct change change = {
        .operation = CHANGE_WRITE, .path = "d/f", .size = FILE_SIZE_MAX + 1, .data = bytes};

    assert_int_equal(world_apply(world, change), -EFBIG);
    change.path = "x/y/z";
    assert_int_equal(world_apply(world, change), -EFBIG);
    change.path = "";
    assert_int_equal(world_apply(world, change), -EFBIG);
    assert_int_equal(world_write(world, "nodes/n2/lxc/100.conf", FILE_SIZE_MAX, "x"), -EFBIG);
    assert_int_equal(world_write(world, "d/f", FILE_SIZE_MAX, "x"), -EFBIG);
    assert_int_equal(world_write(world, "d/f", UINT32_MAX, "x"), -EFBIG);
    assert_int_equal(world_truncate(world, "d/f", FILE_SIZE_MAX + 1), -EFBIG);
    assert_int_equal(world_truncate(world, "d/f", UINT32_MAX), -EFBIG);
    assert_int_equal(world_write(world, "d/f", FILE_SIZE_MAX - 1, "x"), 0);
    assert_int_equal(world_entry(world, "d/f")->size, FILE_SIZE_MAX);
    assert_int_equal(world_truncate(world, "d/f", FILE_SIZE_MAX), 0);
    change.path = "d/f";
    change.size = FILE_SIZE_MAX;
    change.truncate = true;
    change.offset = 0;
    assert_int_equal(world_apply(world, change), 0);
}

static void test_write(void **state)
{
    struct world *world = *state;
    uint64_t inode = world_entry(world, "d/f")->inode;

    world->time = 3000;
    assert_int_equal(world_write(world, "d/f", 2, "AB"), 0);
    world_assert_content(world, "d/f", "01AB456789");
    assert_int_equal(world_entry(world, "d/f")->inode, inode);
    assert_int_equal(world_entry(world, "d/f")->version, world->draft->root.version);
    assert_int_equal(world_entry(world, "d/f")->mtime, 3000);
    assert_int_equal(world_write(world, "d/f", 9, "xyz"), 0); /* across the end */
    world_assert_content(world, "d/f", "01AB45678xyz");
    assert_int_equal(world_write(world, "d/f", 12, "!"), 0); /* at the end */
    world_assert_content(world, "d/f", "01AB45678xyz!");
    assert_int_equal(world_write(world, "d/f", 16, "?"), 0); /* past the end: zeros between */
    assert_int_equal(world_entry(world, "d/f")->size, 17);
    assert_memory_equal(world_entry(world, "d/f")->content->data, "01AB45678xyz!\0\0\0?", 17);
    assert_int_equal(world_write(world, "d/f", 0, ""), 0); /* nothing: only who and when */
    assert_int_equal(world_entry(world, "d/f")->size, 17);
    assert_int_equal(world_write(world, "d/f", 19, ""), 0); /* nothing, past the end: grows */
    assert_int_equal(world_entry(world, "d/f")->size, 19);
    assert_memory_equal(world_entry(world, "d/f")->content->data, "01AB45678xyz!\0\0\0?\0\0", 19);
}

static void test_truncate(void **state)
{
    struct world *world = *state;

    assert_int_equal(world_truncate(world, "d/f", 4), 0);
    world_assert_content(world, "d/f", "0123");
    assert_int_equal(world_truncate(world, "d/f", 6), 0);
    assert_memory_equal(world_entry(world, "d/f")->content->data, "0123\0\0", 6);
    assert_int_equal(world_write(world, "d/f", 6, "x"), 0);
    assert_memory_equal(world_entry(world, "d/f")->content->data, "0123\0\0x", 7);
    assert_int_equal(world_truncate(world, "d/f", 0), 0);
    world_assert_content(world, "d/f", "");
}

/* Data and truncation in one message: the new size is offset + size. */
static void test_write_and_truncate(void **state)
{
    struct world *world = *state;
    struct change change = {.operation = CHANGE_WRITE,
                            .path = "d/f",
                            .truncate = true,
                            .size = 2,
                            .data = (const uint8_t *)"ab"};

    change.offset = 4;
    assert_int_equal(world_apply(world, change), 0);
    world_assert_content(world, "d/f", "0123ab");
    change.offset = 8;
    assert_int_equal(world_apply(world, change), 0);
    assert_memory_equal(world_entry(world, "d/f")->content->data, "0123ab\0\0ab", 10);
    change.offset = 0;
    assert_int_equal(world_apply(world, change), 0);
    world_assert_content(world, "d/f", "ab");
}

/* A size without content: what an empty file becomes when it is grown without data. */
static void test_hole(void **state)
{
    struct world *world = *state;
    const struct entry *entry;

    for (int truncate = 0; truncate < 2; truncate++) {
        world_file(world, "hole", "");
        for (uint32_t size = 6; size > 2; size -= 3) { /* also from a larger hole to a smaller */
            assert_int_equal(truncate ? world_truncate(world, "hole", size)
                                      : world_write(world, "hole", size, ""),
                             0);
            entry = world_entry(world, "hole");
            assert_int_equal(entry->size, size);
            assert_null(entry->content);
        }
        /* The next write with data starts from nothing. */
        assert_int_equal(world_write(world, "hole", 1, "x"), 0);
        entry = world_entry(world, "hole");
        assert_int_equal(entry->size, 2);
        assert_memory_equal(entry->content->data, "\0x", 2);
        assert_int_equal(world_truncate(world, "hole", 0), 0);
        assert_int_equal(world_truncate(world, "hole", 6), 0);
        assert_null(world_entry(world, "hole")->content);
        assert_int_equal(world_delete(world, "hole"), 0);
    }
}

static void test_delete(void **state)
{
    struct world *world = *state;

    assert_refused(world, world_delete,
                   (const struct refusal[]){
                       {"x", -ENOENT},
                       {"x/y", -ENOENT},
                       {"d/.", -ENOENT},
                       {"", -EACCES},
                       {"d", -ENOTEMPTY},
                       {"nodes", -ENOTEMPTY},
                       {NULL, -EINVAL},
                       {"", 0},
                   });
    assert_int_equal(world_delete(world, "d/f"), 0);
    assert_int_equal(world_delete(world, "d"), -ENOTEMPTY);
    assert_int_equal(world_delete(world, "d/e"), 0);
    assert_int_equal(world_delete(world, "d"), 0);
    assert_int_equal(world_delete(world, "d"), -ENOENT);
}

static void test_rename(void **state)
{
    struct world *world = *state;
    uint64_t inode = world_entry(world, "d/f")->inode;

    world->time = 4000;
    world->writer = 3;
    assert_int_equal(world_rename(world, "d/f", "g"), 0);
    const struct entry *entry = world_entry(world, "g");
    assert_int_equal(entry->inode, inode);
    assert_int_equal(entry->parent, 0);
    assert_int_equal(entry->version, world->draft->root.version);
    assert_int_equal(entry->writer, 3);
    assert_int_equal(entry->mtime, 4000);
    world_assert_content(world, "g", "0123456789");
    assert_int_equal(world_delete(world, "d/f"), -ENOENT);
    world_file(world, "h", "old");
    assert_int_equal(world_rename(world, "g", "h"), 0);
    world_assert_content(world, "h", "0123456789");
    const struct effect *effect = world->draft->effects->pdata[world->draft->effects->len - 1];
    assert_string_equal(effect->to, "h");
    assert_non_null(effect->replaced);
    assert_int_equal(effect->replaced->size, 3);
    assert_int_equal(world_rename(world, "d/e", "e"), 0); /* an empty directory */
    assert_int_equal(world_mkdir(world, "e2"), 0);
    assert_int_equal(world_rename(world, "e", "e2"), 0); /* onto an empty directory */
    assert_int_equal(world_rename(world, "e2", "d/e3"), 0);
}

/* It does not look at types. */
static void test_rename_types(void **state)
{
    struct world *world = *state;

    assert_int_equal(world_rename(world, "d/f", "d/e"), 0); /* a file replaces a directory */
    world_assert_content(world, "d/e", "0123456789");
    assert_int_equal(world_mkdir(world, "x"), 0);
    assert_int_equal(world_rename(world, "x", "d/e"), 0); /* a directory replaces a file */
    assert_int_equal(world_entry(world, "d/e")->type, ENTRY_DIRECTORY);
}

static void assert_rename(struct world *world, const char *from, const char *to, int expected)
{
    int error = world_rename(world, from, to);

    if (error != expected)
        fail_msg("'%s' to '%s' gives %d, not %d", from ? from : "-", to ? to : "-", error,
                 expected);
}

static void test_rename_refused(void **state)
{
    struct world *world = *state;

    world_make(world, (const char *const[]){"full", "full/x", "priv/lock/a", "priv/lock/a/b",
                                            "priv/lock/e", NULL});
    world_file(world, "priv/lock/file", "no lock");
    world_file(world, "source", "");
    assert_rename(world, "x", "y", -ENOENT);
    assert_rename(world, "x", "", -ENOENT); /* the source before the root */
    assert_rename(world, "x/y", "z/z", -ENOENT);
    assert_rename(world, "", "y", -EACCES);
    assert_rename(world, "source", "", -EACCES); /* onto the root */
    assert_rename(world, "d", "", -EACCES);
    assert_rename(world, "source", NULL, -EACCES);
    assert_rename(world, NULL, "y", -EINVAL);
    /* The guest rule, before locks and the target's parent. */
    assert_rename(world, "source", "nodes/n2/lxc/100.conf", -EEXIST);
    assert_rename(world, "source", "nodes/n9/lxc/100.conf", -EEXIST);
    assert_rename(world, "source", "d/f/x/100.conf", -ENOTDIR);
    /* Locks, at any depth, before the target and its parent. */
    assert_rename(world, "priv/lock/e", "e", -EACCES);
    assert_rename(world, "priv/lock/e", "x/e", -EACCES);
    assert_rename(world, "priv/lock/e", "full", -EACCES);
    assert_rename(world, "priv/lock/a", "e", -EACCES); /* before "not empty" */
    assert_rename(world, "priv/lock/a/b", "e", -EACCES);
    assert_rename(world, "priv/lock/file", "file", 0); /* a file there is no lock */
    /* A target that is a non-empty directory. */
    assert_rename(world, "source", "full", -ENOTEMPTY);
    assert_rename(world, "d/e", "full", -ENOTEMPTY);
    /* Without a target: its parent. */
    assert_rename(world, "source", "x/y", -ENOENT);
    assert_rename(world, "source", "d/f/y", -ENOTDIR);
    assert_rename(world, "full", "x/y", -ENOENT); /* before the source's emptiness */
    /* The source is a non-empty directory: also onto an empty one, which stays. */
    assert_rename(world, "full", "y", -ENOTEMPTY);
    assert_rename(world, "full", "d/e", -ENOTEMPTY);
    assert_int_equal(world_entry(world, "d/e")->type, ENTRY_DIRECTORY);
    /* Below itself, onto itself: no kernel asks, and it must not break the tree. */
    assert_true(world_rename(world, "d/e", "d/e/x") < 0);
    assert_true(world_rename(world, "source", "source") < 0);
    assert_true(world_rename(world, "d", "d") < 0);
}

static void test_guests(void **state)
{
    struct world *world = *state;

    world_assert_guests(world, "100=n1/qemu");
    world_file(world, "nodes/n2/lxc/101.conf", "x");
    world_assert_guests(world, "100=n1/qemu 101=n2/lxc");
    assert_int_equal(world_delete(world, "nodes/n2/lxc/101.conf"), 0);
    world_assert_guests(world, "100=n1/qemu");
    /* A guest moves, and only it may. */
    assert_int_equal(world_rename(world, GUEST, "nodes/n2/qemu-server/100.conf"), 0);
    world_assert_guests(world, "100=n2/qemu");
    assert_int_equal(world_create(world, GUEST), -EEXIST);
    assert_int_equal(world_rename(world, "nodes/n2/qemu-server/100.conf", "nodes/n2/lxc/100.conf"),
                     0);
    world_assert_guests(world, "100=n2/lxc");
    /* To another id that is free, and out of and into the guest list. */
    assert_int_equal(world_rename(world, "nodes/n2/lxc/100.conf", "nodes/n2/lxc/102.conf"), 0);
    world_assert_guests(world, "102=n2/lxc");
    assert_int_equal(world_rename(world, "nodes/n2/lxc/102.conf", "d/102.conf"), 0);
    world_assert_guests(world, "");
    assert_int_equal(world_rename(world, "d/102.conf", "nodes/n2/lxc/4294967295.conf"), 0);
    world_assert_guests(world, "4294967295=n2/lxc");
}

static void test_guest_rename_over(void **state)
{
    struct world *world = *state;

    /* Over the same guest's file: its id is at that place. */
    world_file(world, "tmp", "new");
    assert_int_equal(world_rename(world, "tmp", GUEST), 0);
    world_assert_guests(world, "100=n1/qemu");
    world_assert_content(world, GUEST, "new");
    /* One guest over another: the source's id goes. */
    world_file(world, "nodes/n1/qemu-server/101.conf", "x");
    assert_int_equal(world_rename(world, "nodes/n1/qemu-server/101.conf", GUEST), 0);
    world_assert_guests(world, "100=n1/qemu");
    /* A guest onto the place of an id that is elsewhere. */
    world_file(world, "nodes/n1/qemu-server/102.conf", "x");
    assert_int_equal(world_rename(world, GUEST, "nodes/n2/lxc/102.conf"), -EEXIST);
    world_assert_guests(world, "100=n1/qemu 102=n1/qemu");
}

/* The guest list's version: unique, and new whenever content or place is. */
static void test_guest_versions(void **state)
{
    struct world *world = *state;
    uint64_t version = draft_guest(world->draft, 100)->version;

    assert_int_equal(world_write(world, GUEST, 0, "x"), 0);
    assert_true(draft_guest(world->draft, 100)->version > version);
    version = draft_guest(world->draft, 100)->version;
    assert_int_equal(world_truncate(world, GUEST, 0), 0);
    assert_true(draft_guest(world->draft, 100)->version > version);
    version = draft_guest(world->draft, 100)->version;
    assert_int_equal(world_mtime(world, GUEST, 5), 0);
    assert_int_equal(draft_guest(world->draft, 100)->version, version);
    world_file(world, "nodes/n2/lxc/101.conf", "x");
    assert_true(draft_guest(world->draft, 101)->version > version);
    version = draft_guest(world->draft, 101)->version;
    world_publish(world);
    assert_int_equal(draft_guest(world->draft, 101)->version, version);
    assert_int_equal(world_rename(world, GUEST, "nodes/n2/qemu-server/100.conf"), 0);
    assert_true(draft_guest(world->draft, 100)->version > version);
}

/* Directories whose path has the form of a guest configuration: making and moving them says
 * nothing, deleting one takes the id out, wherever it is registered. */
static void test_guest_directories(void **state)
{
    struct world *world = *state;

    assert_int_equal(world_mkdir(world, "nodes/n2/lxc/100.conf"), 0);
    assert_int_equal(world_mkdir(world, "nodes/n2/lxc/101.conf"), 0);
    world_assert_guests(world, "100=n1/qemu");
    assert_int_equal(world_rename(world, "nodes/n2/lxc/101.conf", "nodes/n2/lxc/102.conf"), 0);
    assert_int_equal(world_rename(world, "nodes/n2/lxc/100.conf", "x"), 0);
    world_assert_guests(world, "100=n1/qemu");
    assert_int_equal(world_rename(world, "x", "nodes/n2/qemu-server/100.conf"), 0);
    world_assert_guests(world, "100=n1/qemu");
    assert_int_equal(world_delete(world, "nodes/n2/qemu-server/100.conf"), 0);
    world_assert_guests(world, ""); /* though the file is still there */
    assert_int_equal(world_write(world, GUEST, 0, "x"), 0);
    world_assert_guests(world, "100=n1/qemu");
}

/* The list, not the tree, is what the rule asks: a configuration that it lost may be made anew. */
static void test_guest_list_rules(void **state)
{
    struct world *world = *state;

    assert_int_equal(world_mkdir(world, "nodes/n2/lxc/100.conf"), 0);
    assert_int_equal(world_delete(world, "nodes/n2/lxc/100.conf"), 0);
    world_assert_guests(world, "");
    assert_int_equal(world_create(world, "nodes/n2/lxc/100.conf"), 0);
    world_assert_guests(world, "100=n2/lxc");
    assert_int_equal(world_write(world, GUEST, 0, "x"), -EEXIST);
    assert_int_equal(world_truncate(world, GUEST, 0), -EEXIST);
}

static void test_mtime(void **state)
{
    struct world *world = *state;

    world->time = 9000;
    assert_int_equal(world_mtime(world, "d/f", 1234), 0);
    assert_int_equal(world_entry(world, "d/f")->mtime, 1234);
    assert_int_equal(world->draft->root.mtime, 1234); /* not the message's time */
    world_assert_content(world, "d/f", "0123456789");
    assert_int_equal(world_mtime(world, "d/f", 0), 0); /* back in time, for what is no lock */
    assert_int_equal(world_mtime(world, "d", UINT32_MAX), 0);
    assert_int_equal(world_entry(world, "d")->mtime, UINT32_MAX);
    assert_refused(world, set_mtime,
                   (const struct refusal[]){
                       {"x/y", -ENOENT},
                       {"x/..", -ENOENT},
                       {"d/f/y", -ENOTDIR},
                       {"d/f/.", -ENOTDIR},
                       {"", -EACCES},
                       {".", -EACCES},
                       {"d/..", -EACCES},
                       {"x", -ENOENT},
                       {NULL, -EINVAL},
                       {"", 0},
                   });
}

static void test_lock_mtime(void **state)
{
    struct world *world = *state;

    world_make(world, (const char *const[]){"priv/lock/a", "priv/lock/a/b", NULL});
    assert_int_equal(world_mtime(world, "priv/lock/a", 1000), 0); /* equal */
    assert_int_equal(world_mtime(world, "priv/lock/a", 1001), 0);
    assert_int_equal(world_mtime(world, "priv/lock/a", 1000), -EACCES);
    assert_int_equal(world_mtime(world, "priv/lock/a", 0), -EACCES);
    world->writer = 2;
    assert_int_equal(world_mtime(world, "priv/lock/a", 1001), -EACCES);
    assert_int_equal(world_mtime(world, "priv/lock/a", 5000), -EACCES);
    assert_int_equal(world_mtime(world, "priv/lock/x", 0), -ENOENT);
    /* Only directories directly in priv/lock are held to it. */
    assert_int_equal(world_mtime(world, "priv/lock/a/b", 3), 0);
    world_file(world, "priv/lock/file", "");
    world->writer = 1;
    assert_int_equal(world_mtime(world, "priv/lock/file", 3), 0);
    assert_int_equal(world_mtime(world, "priv/lock", 3), 0);
    /* Whoever wrote it last owns it: the lock is given back and taken by another node. */
    assert_int_equal(world_delete(world, "priv/lock/a/b"), 0);
    assert_int_equal(world_delete(world, "priv/lock/a"), 0);
    world->writer = 2;
    assert_int_equal(world_mkdir(world, "priv/lock/a"), 0);
    assert_int_equal(world_mtime(world, "priv/lock/a", 5000), 0);
}

static void test_unlock(void **state)
{
    struct world *world = *state;
    uint8_t digest[DIGEST_SIZE];

    world_make(world,
               (const char *const[]){"priv/lock/a", "priv/lock/a/b", "priv/lock/a/b/c", NULL});
    world_file(world, "priv/lock/file", "");
    lock_digest(world_entry(world, "priv/lock/a"), digest);
    assert_true(world_unlock(world, "priv/lock/a", digest) < 0); /* not empty */
    assert_true(world_unlock(world, "priv/lock/x", digest) < 0);
    assert_true(world_unlock(world, "priv/lock", digest) < 0);
    assert_true(world_unlock(world, "", digest) < 0);
    assert_true(world_unlock(world, NULL, digest) < 0);
    assert_true(world_unlock(world, "priv/lock/a/b/c", digest) < 0); /* another's digest */
    lock_digest(world_entry(world, "priv/lock/file"), digest);
    assert_true(world_unlock(world, "priv/lock/file", digest) < 0); /* no lock */
    lock_digest(world_entry(world, "d/e"), digest);
    assert_true(world_unlock(world, "d/e", digest) < 0); /* no lock */
    lock_digest(world_entry(world, "priv/lock/a/b/c"), digest);
    assert_int_equal(world_unlock(world, "priv/lock/a/b/c", digest), 0); /* at any depth */
    lock_digest(world_entry(world, "priv/lock/a/b"), digest);
    assert_int_equal(world_unlock(world, "priv/lock/a/b", digest), 0);
    /* Renewed meanwhile: the digest does not match any more. */
    lock_digest(world_entry(world, "priv/lock/a"), digest);
    assert_int_equal(world_mtime(world, "priv/lock/a", 1001), 0);
    assert_true(world_unlock(world, "priv/lock/a", digest) < 0);
    lock_digest(world_entry(world, "priv/lock/a"), digest);
    world->writer = 5;
    assert_int_equal(world_unlock(world, "priv/lock/a", digest), 0);
    assert_int_equal(world_delete(world, "priv/lock/a"), -ENOENT);
}

static void test_unlock_request(void **state)
{
    struct world *world = *state;
    struct change change = {.operation = CHANGE_UNLOCK_REQUEST, .path = "priv/lock/a"};

    world_make(world, (const char *const[]){"priv/lock/a", NULL});
    struct root root = world->draft->root;
    lock_digest(world_entry(world, "priv/lock/a"), change.digest);
    assert_int_equal(apply(world->draft, &change, NULL), 0);
    assert_memory_equal(&root, &world->draft->root, sizeof(root));
}

static void test_unknown(void **state)
{
    struct world *world = *state;
    struct change change = {.path = "d/f"};

    change.operation = 0;
    assert_int_equal(world_apply(world, change), -EINVAL);
    change.operation = 9;
    assert_int_equal(world_apply(world, change), -EINVAL);
}

/* What others must never test here is not tested here. */
static void test_not_tested(void **state)
{
    struct world *world = *state;
    g_autofree char *name = g_strnfill(100000, 'n');
    g_autofree char *path = g_strconcat("d/", name, NULL);

    assert_int_equal(world_create(world, path), 0);
    assert_int_equal(world_write(world, path, 0, "x"), 0);
    assert_int_equal(world_delete(world, path), 0);
    assert_int_equal(world_create(world, ".version"), 0);
    assert_int_equal(world_mkdir(world, "local"), 0);
    assert_int_equal(world_rename(world, "d/e", "lxc"), 0);
    assert_int_equal(world_mkdir(world, "nodes/n1/qemu-server/7.conf"), 0);
    assert_int_equal(world_create(world, "nodes/n1/lxc"), 0);
    /* Onto a lock: only admission minds. */
    world_make(world, (const char *const[]){"priv/lock/a", "y", NULL});
    assert_int_equal(world_rename(world, "y", "priv/lock/a"), 0);
}

static uint64_t inode_of(const struct world *world, const char *path)
{
    return world_entry(world, path)->inode;
}

/* Lock ages: time comes in with publication. */
static void test_lock_ages(void **state)
{
    struct world *world = *state;
    uint8_t digest[DIGEST_SIZE];

    world_make(world, (const char *const[]){"priv/lock/a", "priv/lock/a/b", NULL});
    world_file(world, "priv/lock/file", "");
    world->now = 1000;
    world_publish(world);
    assert_int_equal(state_lock_age(world->state, "priv/lock/a", NULL, 5000), 4000);
    assert_int_equal(state_lock_age(world->state, "priv/lock/a/b", NULL, 5000), 4000);
    assert_int_equal(state_lock_age(world->state, "priv/lock/a", NULL, 500), 0);
    assert_int_equal(state_lock_age(world->state, "priv/lock/file", NULL, 5000), -ENOENT);
    assert_int_equal(state_lock_age(world->state, "priv/lock/x", NULL, 5000), -ENOENT);
    assert_int_equal(state_lock_age(world->state, "priv/lock", NULL, 5000), -ENOENT);
    assert_int_equal(state_lock_age(world->state, "d/e", NULL, 5000), -ENOENT);
    lock_digest(world_entry(world, "priv/lock/a"), digest);
    assert_int_equal(state_lock_age(world->state, "priv/lock/a", digest, 5000), 4000);
    assert_int_equal(state_lock_age(world->state, "priv/lock/a/b", digest, 5000), -ENOENT);
    /* Renewed with the time that it has: a new version, so a new digest and a new age. */
    assert_int_equal(world_mtime(world, "priv/lock/a", world_entry(world, "priv/lock/a")->mtime),
                     0);
    world->now = 3000;
    world_publish(world);
    assert_int_equal(state_lock_age(world->state, "priv/lock/a", digest, 5000), -ENOENT);
    assert_int_equal(state_lock_age(world->state, "priv/lock/a", NULL, 5000), 2000);
    assert_int_equal(state_lock_age(world->state, "priv/lock/a/b", NULL, 5000), 4000);
    /* A directory that is moved there is a lock from then on; what else changes does not matter. */
    world->now = 4000;
    assert_int_equal(world_rename(world, "d/e", "priv/lock/c"), 0);
    assert_int_equal(world_write(world, "d/f", 0, "x"), 0);
    world_publish(world);
    assert_int_equal(state_lock_age(world->state, "priv/lock/c", NULL, 5000), 1000);
    assert_int_equal(state_lock_age(world->state, "priv/lock/a", NULL, 5000), 2000);
    uint64_t c = inode_of(world, "priv/lock/c");
    assert_non_null(state_lock(world->state, c));
    assert_int_equal(world_delete(world, "priv/lock/c"), 0);
    world_publish(world);
    assert_null(state_lock(world->state, c));
}

/* A synchronisation keeps the age of every lock whose digest did not change. */
static void test_lock_ages_survive(void **state)
{
    struct world *world = *state;

    world_make(world, (const char *const[]){"priv/lock/kept", "priv/lock/renewed", "priv/lock/gone",
                                            "priv/lock/x", "priv/lock/file", NULL});
    world->now = 1000;
    world_publish(world);
    uint64_t gone = inode_of(world, "priv/lock/gone");
    uint64_t x = inode_of(world, "priv/lock/x");
    uint64_t file = inode_of(world, "priv/lock/file");
    struct entry *renewed = entry_clone(world_entry(world, "priv/lock/renewed"));
    renewed->version = 100;
    draft_put(world->draft, renewed);
    draft_remove(world->draft, gone);
    draft_put(world->draft, entry_clone_renamed(world_entry(world, "priv/lock/x"), 0, "x", 1));
    struct entry *made =
        entry_new(101, inode_of(world, "priv/lock"), ENTRY_DIRECTORY, "new", 3, NULL, 0);
    draft_put(world->draft, made);
    draft_put(world->draft,
              entry_new(file, inode_of(world, "priv/lock"), ENTRY_FILE, "file", 4, NULL, 0));
    world->draft->root.version = 101;
    world->draft->rebuild = true;
    world->now = 2000;
    world_publish(world);
    assert_int_equal(state_lock_age(world->state, "priv/lock/kept", NULL, 5000), 4000);
    assert_int_equal(state_lock_age(world->state, "priv/lock/renewed", NULL, 5000), 3000);
    assert_int_equal(state_lock_age(world->state, "priv/lock/new", NULL, 5000), 3000);
    assert_null(state_lock(world->state, gone));
    assert_null(state_lock(world->state, x));
    assert_null(state_lock(world->state, file));
}

/* Directories below directories below a lock, as only a foreign database has them. */
static void test_deep_locks(void **state)
{
    struct world *world = *state;
    uint64_t parent = inode_of(world, "priv/lock");

    world_publish(world);
    for (uint64_t inode = 1000; inode < 101000; parent = inode++)
        tree_put(world->state->tree, entry_new(inode, parent, ENTRY_DIRECTORY, "d", 1, NULL, 0));
    struct state *loaded = state_new(g_steal_pointer(&world->state->tree), 1);
    assert_non_null(state_lock(loaded, 100999));
    world->state->tree = g_steal_pointer(&loaded->tree);
    loaded->tree = tree_new();
    state_free(loaded);
}

/* A synchronisation builds the guest list anew, with new versions for all. */
static void test_guests_rebuilt(void **state)
{
    struct world *world = *state;

    world_file(world, "nodes/n2/lxc/101.conf", "x");
    world_publish(world);
    uint64_t version =
        MAX(draft_guest(world->draft, 100)->version, draft_guest(world->draft, 101)->version);
    draft_remove(world->draft, inode_of(world, GUEST));
    draft_put(world->draft,
              entry_new(200, inode_of(world, "nodes/n2/lxc"), ENTRY_FILE, "102.conf", 8, NULL, 0));
    draft_put(world->draft, entry_new(201, inode_of(world, "nodes/n2/lxc"), ENTRY_DIRECTORY,
                                      "103.conf", 8, NULL, 0));
    world->draft->rebuild = true;
    state_publish(world->state, world->draft, 1);
    world_assert_guests(world, "101=n2/lxc 102=n2/lxc");
    assert_true(draft_guest(world->draft, 101)->version > version);
    assert_true(draft_guest(world->draft, 102)->version > version);
    assert_true(draft_guest(world->draft, 101)->version != draft_guest(world->draft, 102)->version);
}

/* The effect names who asked. */
static void test_origin(void **state)
{
    struct world *world = *state;
    struct change change = {.operation = CHANGE_CREATE, .path = "o", .writer = 4, .time = 5};
    int asker = 0;

    assert_int_equal(apply(world->draft, &change, &asker), 0);
    const struct effect *effect = world->draft->effects->pdata[world->draft->effects->len - 1];
    assert_ptr_equal(effect->origin, &asker);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create),
        TEST(test_create_refused),
        TEST(test_mkdir),
        TEST(test_write_refused),
        TEST(test_write_limit),
        TEST(test_write),
        TEST(test_truncate),
        TEST(test_write_and_truncate),
        TEST(test_hole),
        TEST(test_delete),
        TEST(test_rename),
        TEST(test_rename_types),
        TEST(test_rename_refused),
        TEST(test_guests),
        TEST(test_guest_rename_over),
        TEST(test_guest_versions),
        TEST(test_guest_directories),
        TEST(test_guest_list_rules),
        TEST(test_mtime),
        TEST(test_lock_mtime),
        TEST(test_unlock),
        TEST(test_unlock_request),
        TEST(test_unknown),
        TEST(test_not_tested),
        TEST(test_lock_ages),
        TEST(test_lock_ages_survive),
        TEST(test_deep_locks),
        TEST(test_guests_rebuilt),
        TEST(test_origin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
