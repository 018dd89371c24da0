/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Version counters: which applied change raises which. The changes go through the real core. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "core/apply.h"
#include "core/publish.h"
#include "status/versions.h"

struct fixture {
    struct state *state;
    struct versions versions;
};

/* Applies and publishes one change, and raises what it concerns; gives apply()'s result. */
static int change(struct fixture *fixture, enum change_operation operation, const char *path,
                  const char *to)
{
    struct draft *draft = draft_new(fixture->state);
    struct change change = {.operation = operation, .path = path, .to = to, .time = 1000};

    if (operation == CHANGE_WRITE) {
        change.data = (const uint8_t *)"data";
        change.size = 4;
    }
    int error = apply(draft, &change, NULL);
    state_publish(fixture->state, draft, 0);
    versions_published(&fixture->versions, draft->effects);
    draft_free(draft);
    return error;
}

static void must(struct fixture *fixture, enum change_operation operation, const char *path,
                 const char *to)
{
    assert_int_equal(change(fixture, operation, path, to), 0);
}

static uint64_t counter(const struct fixture *fixture, const char *path)
{
    json_t *object = json_object();

    versions_json(&fixture->versions, object);
    const json_t *value = json_object_get(object, path);
    if (!value)
        fail_msg("%s is not watched", path);
    uint64_t count = (uint64_t)json_integer_value(value);
    json_decref(object);
    return count;
}

static uint64_t all_files(const struct fixture *fixture)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < WATCHED_FILES; i++)
        sum += fixture->versions.files[i];
    return sum;
}

static int set_up(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    fixture->state = state_new(tree_new(), 0);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    state_free(fixture->state);
    g_free(fixture);
    return 0;
}

static void test_file_operations(void **state)
{
    struct fixture *fixture = *state;

    must(fixture, CHANGE_CREATE, "storage.cfg", NULL);
    assert_int_equal(counter(fixture, "storage.cfg"), 1);
    must(fixture, CHANGE_WRITE, "storage.cfg", NULL);
    assert_int_equal(counter(fixture, "storage.cfg"), 2);
    must(fixture, CHANGE_MTIME, "storage.cfg", NULL);
    assert_int_equal(counter(fixture, "storage.cfg"), 3);
    must(fixture, CHANGE_RENAME, "storage.cfg", "user.cfg");
    assert_int_equal(counter(fixture, "storage.cfg"), 4);
    assert_int_equal(counter(fixture, "user.cfg"), 1);
    must(fixture, CHANGE_DELETE, "user.cfg", NULL);
    assert_int_equal(counter(fixture, "user.cfg"), 2);
    assert_int_equal(all_files(fixture), 6);
    assert_int_equal(fixture->versions.vmlist, 0);
    assert_int_equal(fixture->versions.clinfo, 0);
}

static void test_failed_changes_raise_nothing(void **state)
{
    struct fixture *fixture = *state;

    assert_int_not_equal(change(fixture, CHANGE_DELETE, "storage.cfg", NULL), 0);
    assert_int_not_equal(change(fixture, CHANGE_RENAME, "storage.cfg", "user.cfg"), 0);
    assert_int_equal(all_files(fixture), 0);
}

static void test_exactly_that_path(void **state)
{
    struct fixture *fixture = *state;

    must(fixture, CHANGE_CREATE, "storage.cfg.tmp", NULL);
    must(fixture, CHANGE_MKDIR, "priv", NULL);
    must(fixture, CHANGE_CREATE, "priv/storage.cfg", NULL);
    must(fixture, CHANGE_CREATE, "priv/tfa.cfg.new", NULL);
    assert_int_equal(all_files(fixture), 0);
    /* the usual way to replace a file: by another's rename */
    must(fixture, CHANGE_RENAME, "priv/tfa.cfg.new", "priv/tfa.cfg");
    assert_int_equal(counter(fixture, "priv/tfa.cfg"), 1);
    assert_int_equal(all_files(fixture), 1);
    must(fixture, CHANGE_MKDIR, "datacenter.cfg", NULL);
    assert_int_equal(all_files(fixture), 1);
}

static void make_nodes(struct fixture *fixture)
{
    static const char *const paths[] = {"nodes",       "nodes/a", "nodes/a/qemu-server",
                                        "nodes/a/lxc", "nodes/b", "nodes/b/qemu-server"};

    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
        must(fixture, CHANGE_MKDIR, paths[i], NULL);
    assert_int_equal(fixture->versions.vmlist, 0);
}

static void test_guests(void **state)
{
    struct fixture *fixture = *state;
    struct versions *versions = &fixture->versions;

    make_nodes(fixture);
    must(fixture, CHANGE_CREATE, "nodes/a/qemu-server/100.conf", NULL);
    assert_int_equal(versions->vmlist, 1);
    must(fixture, CHANGE_WRITE, "nodes/a/qemu-server/100.conf", NULL);
    assert_int_equal(versions->vmlist, 2);
    must(fixture, CHANGE_MTIME, "nodes/a/qemu-server/100.conf", NULL);
    assert_int_equal(versions->vmlist, 2);
    must(fixture, CHANGE_RENAME, "nodes/a/qemu-server/100.conf", "nodes/b/qemu-server/100.conf");
    assert_int_equal(versions->vmlist, 3);
    must(fixture, CHANGE_RENAME, "nodes/b/qemu-server/100.conf", "nodes/b/qemu-server/saved");
    assert_int_equal(versions->vmlist, 4);
    must(fixture, CHANGE_RENAME, "nodes/b/qemu-server/saved", "nodes/b/qemu-server/101.conf");
    assert_int_equal(versions->vmlist, 5);
    must(fixture, CHANGE_DELETE, "nodes/b/qemu-server/101.conf", NULL);
    assert_int_equal(versions->vmlist, 6);
    must(fixture, CHANGE_CREATE, "nodes/a/lxc/note.txt", NULL);
    must(fixture, CHANGE_DELETE, "nodes/a/lxc/note.txt", NULL);
    assert_int_equal(versions->vmlist, 6);
    assert_int_equal(all_files(fixture), 0);
}

/* A batch raises for each of its changes. */
static void test_batch(void **state)
{
    struct fixture *fixture = *state;
    struct draft *draft = draft_new(fixture->state);
    struct change create = {.operation = CHANGE_CREATE, .path = "ceph.conf"};
    struct change write = {
        .operation = CHANGE_WRITE, .path = "ceph.conf", .data = (const uint8_t *)"x", .size = 1};

    assert_int_equal(apply(draft, &create, NULL), 0);
    assert_int_equal(apply(draft, &write, NULL), 0);
    assert_int_equal(apply(draft, &write, NULL), 0);
    assert_true(versions_published(&fixture->versions, draft->effects));
    assert_int_equal(counter(fixture, "ceph.conf"), 3);
    draft_free(draft);

    GPtrArray *none = g_ptr_array_new();
    assert_false(versions_published(&fixture->versions, none));
    g_ptr_array_unref(none);
}

static void test_rebuilt(void **state)
{
    struct fixture *fixture = *state;

    must(fixture, CHANGE_CREATE, "storage.cfg", NULL);
    versions_rebuilt(&fixture->versions);
    assert_int_equal(counter(fixture, "storage.cfg"), 2);
    assert_int_equal(all_files(fixture), WATCHED_FILES + 1);
    assert_int_equal(fixture->versions.vmlist, 1);
    assert_int_equal(fixture->versions.clinfo, 0);
}

static void test_json(void **state)
{
    struct fixture *fixture = *state;
    json_t *object = json_object();

    must(fixture, CHANGE_CREATE, "storage.cfg", NULL);
    versions_json(&fixture->versions, object);
    assert_int_equal(json_object_size(object), WATCHED_FILES + 2);
    assert_int_equal(json_integer_value(json_object_get(object, "storage.cfg")), 1);
    assert_true(json_is_integer(json_object_get(object, "clinfo")));
    assert_true(json_is_integer(json_object_get(object, "vmlist")));
    json_decref(object);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_file_operations),
        TEST(test_failed_changes_raise_nothing),
        TEST(test_exactly_that_path),
        TEST(test_guests),
        TEST(test_batch),
        TEST(test_rebuilt),
        TEST(test_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
