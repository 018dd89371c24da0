/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unit tests of admission: what the asking node refuses, and what it must leave to application. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "core/limits.h"
#include "world.h"

struct asked {
    struct admit_reserve under_way;
    struct admit_reserve reserve;
    const char *reason;
};

static int start(void **state)
{
    static struct world world;

    world_start(&world);
    world_make(&world, (const char *const[]){"d", "d/e", "nodes", "nodes/n", "nodes/n/lxc",
                                             "nodes/n/openvz", "priv", "priv/lock",
                                             "priv/lock/taken", "full", "full/x", NULL});
    world_file(&world, "f", "0123456789");
    world_file(&world, "empty", "");
    world_publish(&world);
    *state = &world;
    return 0;
}

static int stop(void **state)
{
    world_stop(*state);
    return 0;
}

static int ask(const struct world *world, struct change change, struct asked *asked)
{
    return admit(world->state, &change, &asked->under_way, &asked->reserve, &asked->reason);
}

static int ask_path(const struct world *world, enum change_operation operation, const char *path)
{
    struct asked asked = {0};

    return ask(world, (struct change){.operation = operation, .path = path}, &asked);
}

static int ask_rename(const struct world *world, const char *path, const char *to)
{
    struct asked asked = {0};

    return ask(world, (struct change){.operation = CHANGE_RENAME, .path = path, .to = to}, &asked);
}

static void test_virtual_names(void **state)
{
    static const char *const names[] = {"local",    "qemu-server", "lxc",     "openvz",
                                        ".version", ".members",    ".vmlist", ".clusterlog",
                                        ".rrd",     ".debug"};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        for (int operation = CHANGE_WRITE; operation <= CHANGE_UNLOCK; operation++) {
            if (operation == CHANGE_RENAME)
                continue;
            assert_int_equal(ask_path(*state, (enum change_operation)operation, names[i]), -EACCES);
        }
        assert_int_equal(ask_rename(*state, names[i], "x"), -EACCES);
        assert_int_equal(ask_rename(*state, "f", names[i]), -EACCES);
        g_autofree char *below = g_strconcat("d/", names[i], NULL);
        assert_int_equal(ask_path(*state, CHANGE_CREATE, below), 0);
    }
}

static void test_names(void **state)
{
    g_autofree char *longest = g_strnfill(255, 'n');
    g_autofree char *too_long = g_strnfill(256, 'n');
    g_autofree char *below = g_strconcat("d/", too_long, NULL);

    assert_int_equal(ask_path(*state, CHANGE_CREATE, longest), 0);
    assert_int_equal(ask_path(*state, CHANGE_MKDIR, longest), 0);
    assert_int_equal(ask_rename(*state, "f", longest), 0);
    assert_int_equal(ask_path(*state, CHANGE_CREATE, too_long), -ENAMETOOLONG);
    assert_int_equal(ask_path(*state, CHANGE_MKDIR, below), -ENAMETOOLONG);
    assert_int_equal(ask_rename(*state, "f", below), -ENAMETOOLONG);
    /* An older entry with such a name can be written, renamed and deleted. */
    struct world *world = *state;
    world_file(world, too_long, "x");
    world_publish(world);
    assert_int_equal(ask_path(world, CHANGE_WRITE, too_long), 0);
    assert_int_equal(ask_path(world, CHANGE_DELETE, too_long), 0);
    assert_int_equal(ask_path(world, CHANGE_MTIME, too_long), 0);
    assert_int_equal(ask_rename(world, too_long, "x"), 0);
}

static void test_guest_forms(void **state)
{
    assert_int_equal(ask_path(*state, CHANGE_MKDIR, "nodes/n/lxc/100.conf"), -EACCES);
    assert_int_equal(ask_path(*state, CHANGE_CREATE, "nodes/n/lxc/100.conf"), 0);
    assert_int_equal(ask_path(*state, CHANGE_CREATE, "nodes/n/qemu-server"), -EACCES);
    assert_int_equal(ask_path(*state, CHANGE_MKDIR, "nodes/n/qemu-server"), 0);
    assert_int_equal(ask_rename(*state, "d/e", "nodes/n/lxc/100.conf"), -EACCES);
    assert_int_equal(ask_rename(*state, "f", "nodes/n/lxc/100.conf"), 0);
    assert_int_equal(ask_rename(*state, "f", "nodes/n/qemu-server"), -EACCES);
    assert_int_equal(ask_rename(*state, "f", "nodes/n/openvz"), -EACCES); /* over an empty one */
    assert_int_equal(ask_rename(*state, "d/e", "nodes/n/qemu-server"), 0);
}

static void test_rename(void **state)
{
    assert_int_equal(ask_rename(*state, "d/e", "priv/lock/taken"), -EACCES);
    assert_int_equal(ask_rename(*state, "f", "priv/lock/taken"), -EACCES);
    assert_int_equal(ask_rename(*state, "d/e", "priv/lock/free"), 0);
    /* Other implementations lose the target. */
    assert_int_equal(ask_rename(*state, "full", "d/e"), -ENOTEMPTY);
    assert_int_equal(ask_rename(*state, "x", NULL), -EINVAL); /* never sent */
    assert_int_equal(ask_path(*state, CHANGE_DELETE, NULL), -EINVAL);
    /* Application says what is wrong with these. */
    assert_int_equal(ask_rename(*state, "x", "y"), 0);
    assert_int_equal(ask_rename(*state, "f", "x/y"), 0);
}

static void test_write_limit(void **state)
{
    struct asked asked = {0};
    struct change change = {.operation = CHANGE_WRITE, .path = "f"};

    change.offset = FILE_SIZE_MAX - 1;
    change.size = 1;
    assert_int_equal(ask(*state, change, &asked), 0);
    assert_int_equal(asked.reserve.bytes, FILE_SIZE_MAX - 10);
    change.size = 2;
    assert_int_equal(ask(*state, change, &asked), -EFBIG);
    assert_non_null(asked.reason);
    change.offset = UINT32_MAX;
    assert_int_equal(ask(*state, change, &asked), -EFBIG);
    change.path = "x/y"; /* before all else */
    assert_int_equal(ask(*state, change, &asked), -EFBIG);
    change.offset = 0;
    change.path = "d";
    assert_int_equal(ask(*state, change, &asked), 0); /* application says ENOTDIR */
}

/* All contents together: what would pass the limit is refused, what shrinks or stays is not. */
static void test_content_limit(void **state)
{
    struct world *world = *state;
    struct asked asked = {0};
    struct change change = {.operation = CHANGE_WRITE, .path = "f", .offset = 10, .size = 5};

    asked.under_way.bytes = CONTENT_MAX - world->state->tree->bytes - 5;
    assert_int_equal(ask(world, change, &asked), 0);
    assert_int_equal(asked.reserve.bytes, 5);
    asked.under_way.bytes++;
    assert_int_equal(ask(world, change, &asked), -ENOSPC);
    assert_non_null(asked.reason);
    change.offset = 5; /* within what the file has */
    assert_int_equal(ask(world, change, &asked), 0);
    assert_int_equal(asked.reserve.bytes, 0);
    change.offset = 12; /* over it in part */
    assert_int_equal(ask(world, change, &asked), -ENOSPC);
    change = (struct change){.operation = CHANGE_WRITE, .path = "f", .truncate = true};
    assert_int_equal(ask(world, change, &asked), 0);
    change.offset = 1000;
    assert_int_equal(ask(world, change, &asked), -ENOSPC);
    assert_int_equal(ask_path(world, CHANGE_CREATE, "new"), 0);
    /* A database over the limit already: it can be worked on, and made smaller. */
    world->state->tree->bytes += CONTENT_MAX;
    asked = (struct asked){0};
    change = (struct change){.operation = CHANGE_WRITE, .path = "f", .size = 10};
    assert_int_equal(ask(world, change, &asked), 0);
    assert_int_equal(ask_path(world, CHANGE_DELETE, "f"), 0);
    change.size = 11;
    assert_int_equal(ask(world, change, &asked), -ENOSPC);
    world->state->tree->bytes -= CONTENT_MAX;
}

static void test_entry_limit(void **state)
{
    struct world *world = *state;
    struct asked asked = {0};
    struct change change = {.operation = CHANGE_CREATE, .path = "new"};

    asked.under_way.entries = INODES_MAX - tree_entry_count(world->state->tree) - 1;
    assert_int_equal(ask(world, change, &asked), 0);
    assert_int_equal(asked.reserve.entries, 1);
    asked.under_way.entries++;
    assert_int_equal(ask(world, change, &asked), -ENOSPC);
    change.operation = CHANGE_MKDIR;
    assert_int_equal(ask(world, change, &asked), -ENOSPC);
    change.path = "f"; /* "there already" is the better answer */
    assert_int_equal(ask(world, change, &asked), 0);
    assert_int_equal(asked.reserve.entries, 0);
    change.operation = CHANGE_DELETE;
    assert_int_equal(ask(world, change, &asked), 0);
    change = (struct change){.operation = CHANGE_RENAME, .path = "f", .to = "g"};
    assert_int_equal(ask(world, change, &asked), 0);
}

/* Guests, existence, locks of others: application's to say, the same on all nodes. */
static void test_left_to_application(void **state)
{
    struct world *world = *state;

    world_file(world, "nodes/n/lxc/100.conf", "");
    world_publish(world);
    assert_int_equal(ask_path(world, CHANGE_CREATE, "nodes/n/openvz/100.conf"), 0);
    assert_int_equal(ask_path(world, CHANGE_CREATE, "x/y/z"), 0);
    assert_int_equal(ask_path(world, CHANGE_CREATE, "d"), 0);
    assert_int_equal(ask_path(world, CHANGE_CREATE, ""), 0);
    assert_int_equal(ask_path(world, CHANGE_DELETE, "full"), 0);
    assert_int_equal(ask_path(world, CHANGE_MTIME, "priv/lock/taken"), 0);
    assert_int_equal(ask_path(world, CHANGE_MTIME, ""), 0);
    assert_int_equal(ask_path(world, CHANGE_UNLOCK, "priv/lock/taken"), 0);
}

/* At the end of the range of the global version nothing is sent that would raise it. */
static void test_version(void **state)
{
    const struct world *world = *state;
    uint64_t version = world->state->tree->root.version;
    struct asked asked = {0};

    world->state->tree->root.version = VERSION_MAX_ADMITTED - 1;
    assert_int_equal(ask_path(world, CHANGE_CREATE, "new"), 0);
    world->state->tree->root.version = VERSION_MAX_ADMITTED;
    for (int operation = CHANGE_WRITE; operation <= CHANGE_UNLOCK; operation++) {
        struct change change = {
            .operation = (enum change_operation)operation, .path = "f", .to = "g"};
        assert_int_equal(ask(world, change, &asked), -EOVERFLOW);
        assert_non_null(asked.reason);
    }
    world->state->tree->root.version = version;
}

/* `count` names of `length` bytes. */
static char *long_path(guint count, guint length)
{
    g_autofree char *name = g_strnfill(length, 'n');
    GString *path = g_string_new(name);

    for (guint i = 1; i < count; i++)
        g_string_append_printf(path, "/%s", name);
    return g_string_free(path, FALSE);
}

static void test_long_paths(void **state)
{
    g_autofree char *longest = long_path(128, 255); /* 32767 bytes */
    g_autofree char *too_long = g_strconcat("n", longest, NULL);
    g_autofree char *deepest = long_path(LEVELS_MAX, 1);
    g_autofree char *too_deep = g_strconcat("n/", deepest, NULL);

    too_long[150] = '/'; /* each of its names may be */
    for (int operation = CHANGE_MKDIR; operation <= CHANGE_CREATE; operation++) {
        if (operation != CHANGE_MKDIR && operation != CHANGE_CREATE)
            continue;
        assert_int_equal(ask_path(*state, (enum change_operation)operation, longest), 0);
        assert_int_equal(ask_path(*state, (enum change_operation)operation, too_long),
                         -ENAMETOOLONG);
        assert_int_equal(ask_path(*state, (enum change_operation)operation, deepest), 0);
        assert_int_equal(ask_path(*state, (enum change_operation)operation, too_deep),
                         -ENAMETOOLONG);
    }
    assert_int_equal(ask_rename(*state, "f", longest), 0);
    assert_int_equal(ask_rename(*state, "f", too_long), -ENAMETOOLONG);
    assert_int_equal(ask_rename(*state, "f", too_deep), -ENAMETOOLONG);
}

/* A directory takes along what is in it. */
static void test_long_paths_below(void **state)
{
    struct world *world = *state;
    g_autofree char *room_for_two = long_path(LEVELS_MAX - 2, 1);
    g_autofree char *room_for_one = long_path(LEVELS_MAX - 1, 1);
    g_autofree char *wide_enough = long_path(128, 255);
    g_autofree char *too_wide = g_strdup(wide_enough);

    world_make(world, (const char *const[]){"a", "a/b", NULL});
    world_file(world, "a/b/file", "x");
    world_publish(world);
    assert_int_equal(ask_rename(world, "a", room_for_two), 0);
    assert_int_equal(ask_rename(world, "a", room_for_one), -ENAMETOOLONG);
    assert_int_equal(ask_rename(world, "d", room_for_one), 0); /* with d/e */
    wide_enough[PATH_LENGTH_MAX - strlen("/b/file")] = '\0';
    too_wide[PATH_LENGTH_MAX - strlen("/b/file") + 1] = '\0';
    assert_int_equal(ask_rename(world, "a", wide_enough), 0);
    assert_int_equal(ask_rename(world, "a", too_wide), -ENAMETOOLONG);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_virtual_names),       TEST(test_names),
        TEST(test_guest_forms),         TEST(test_rename),
        TEST(test_write_limit),         TEST(test_content_limit),
        TEST(test_entry_limit),         TEST(test_version),
        TEST(test_left_to_application), TEST(test_long_paths),
        TEST(test_long_paths_below),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
