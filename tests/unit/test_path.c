/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unit tests of what the form of a path says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib.h>
#include <string.h>

#include "core/path.h"

static void assert_guest(const char *path, uint32_t id, enum guest_type type, const char *node)
{
    struct guest_path guest;

    if (!path_parse_guest(path, &guest))
        fail_msg("%s is a guest configuration", path);
    assert_int_equal(guest.id, id);
    assert_int_equal(guest.type, type);
    assert_int_equal(guest.node_length, strlen(node));
    assert_memory_equal(guest.node, node, guest.node_length);
}

static void test_guests(void **unused)
{
    (void)unused;
    assert_guest("nodes/node1/qemu-server/100.conf", 100, GUEST_QEMU, "node1");
    assert_guest("nodes/a/lxc/1.conf", 1, GUEST_LXC, "a");
    assert_guest("nodes/A-9-z/openvz/999.conf", 999, GUEST_OPENVZ, "A-9-z");
    assert_guest("nodes/9/lxc/4294967295.conf", 4294967295u, GUEST_LXC, "9");
    assert_guest("nodes/a--b/lxc/10.conf", 10, GUEST_LXC, "a--b");
}

static void test_no_guests(void **unused)
{
    static const char *const paths[] = {
        "",
        "nodes",
        "nodes/",
        "nodes/node1",
        "nodes//qemu-server/100.conf",
        "nodes/node1/qemu-server",
        "nodes/node1/qemu-server/",
        "nodes/node1/qemu-server/.conf",
        "nodes/node1/qemu-server/0.conf",
        "nodes/node1/qemu-server/0100.conf",
        "nodes/node1/qemu-server/+100.conf",
        "nodes/node1/qemu-server/-100.conf",
        "nodes/node1/qemu-server/ 100.conf",
        "nodes/node1/qemu-server/100",
        "nodes/node1/qemu-server/100.con",
        "nodes/node1/qemu-server/100.conf.tmp.1",
        "nodes/node1/qemu-server/100.confx",
        "nodes/node1/qemu-server/100.conf/",
        "nodes/node1/qemu-server/100.conf/x",
        "nodes/node1/qemu-server/100a.conf",
        "nodes/node1/qemu-server/x/100.conf",
        "nodes/node1/qemu-server/4294967296.conf",
        "nodes/node1/qemu-server/99999999999999999999999.conf",
        "nodes/node1/qemu-serverx/100.conf",
        "nodes/node1/qemu/100.conf",
        "nodes/node1/x/lxc/100.conf",
        "nodes/-node/lxc/100.conf",
        "nodes/node-/lxc/100.conf",
        "nodes/-/lxc/100.conf",
        "nodes/no.de/lxc/100.conf",
        "nodes/no_de/lxc/100.conf",
        "nodes/n\xc3\xb6/lxc/100.conf",
        "Nodes/node1/lxc/100.conf",
        "nodes/node1/LXC/100.conf",
        "x/nodes/node1/lxc/100.conf",
        "/nodes/node1/lxc/100.conf",
        "qemu-server/100.conf",
    };
    struct guest_path guest;

    (void)unused;
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++) {
        if (path_parse_guest(paths[i], &guest))
            fail_msg("'%s' is no guest configuration", paths[i]);
    }
}

static void test_guest_directories(void **unused)
{
    (void)unused;
    assert_true(path_is_guest_directory("nodes/node1/qemu-server"));
    assert_true(path_is_guest_directory("nodes/node1/lxc"));
    assert_true(path_is_guest_directory("nodes/node1/openvz"));
    assert_true(path_is_guest_directory("nodes/any name/openvz"));
    assert_false(path_is_guest_directory("nodes/node1/lxc/1.conf"));
    assert_false(path_is_guest_directory("nodes/node1/lxc/"));
    assert_false(path_is_guest_directory("nodes/node1/lxcx"));
    assert_false(path_is_guest_directory("nodes/node1"));
    assert_false(path_is_guest_directory("nodes/a/b/lxc"));
    assert_false(path_is_guest_directory("nodes//lxc"));
    assert_false(path_is_guest_directory("lxc"));
}

static void test_private(void **unused)
{
    (void)unused;
    assert_true(path_is_private("priv"));
    assert_true(path_is_private("priv/"));
    assert_true(path_is_private("priv/shadow.cfg"));
    assert_true(path_is_private("priv/lock/a/b"));
    assert_true(path_is_private("nodes/x/priv"));
    assert_true(path_is_private("nodes/x/priv/key"));
    assert_true(path_is_private("nodes/x/priv/a/b"));
    assert_false(path_is_private("private"));
    assert_false(path_is_private("priv2/x"));
    assert_false(path_is_private("x/priv"));
    assert_false(path_is_private("nodes/priv"));
    assert_false(path_is_private("nodes/x/private"));
    assert_false(path_is_private("nodes/x/y/priv"));
    assert_false(path_is_private("nodes"));
    assert_false(path_is_private(""));
}

static void test_locks(void **unused)
{
    (void)unused;
    assert_true(path_is_lock("priv/lock/a"));
    assert_false(path_is_lock("priv/lock"));
    assert_false(path_is_lock("priv/lock/"));
    assert_false(path_is_lock("priv/lock/a/b"));
    assert_false(path_is_lock("priv/locks/a"));
    assert_true(path_is_below_lock("priv/lock/a"));
    assert_true(path_is_below_lock("priv/lock/a/b/c"));
    assert_false(path_is_below_lock("priv/lock"));
    assert_false(path_is_below_lock("priv/lock/"));
    assert_false(path_is_below_lock("priv/lock2/a"));
    assert_false(path_is_below_lock("x/priv/lock/a"));
}

static void test_virtual(void **unused)
{
    static const char *const names[] = {"local",    "qemu-server", "lxc",     "openvz",
                                        ".version", ".members",    ".vmlist", ".clusterlog",
                                        ".rrd",     ".debug"};

    (void)unused;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *below = g_strconcat(names[i], "/x", NULL);
        g_autofree char *inside = g_strconcat("x/", names[i], NULL);
        assert_true(path_is_virtual(names[i]));
        assert_false(path_is_virtual(below));
        assert_false(path_is_virtual(inside));
    }
    assert_false(path_is_virtual(""));
    assert_false(path_is_virtual("locals"));
    assert_false(path_is_virtual(".versio"));
}

static void assert_split(const char *path, const char *parent, const char *name)
{
    size_t length;

    assert_string_equal(path_split(path, &length), name);
    assert_int_equal(length, strlen(parent));
    assert_memory_equal(path, parent, length);
}

static void test_split(void **unused)
{
    (void)unused;
    assert_split("", "", "");
    assert_split("a", "", "a");
    assert_split("a/b", "a", "b");
    assert_split("a/b/c", "a/b", "c");
    assert_split("a/", "a", "");
    assert_split("/a", "", "a");
}

static void assert_clean(const char *path, const char *expected)
{
    g_autofree char *clean = path_clean(path);

    assert_string_equal(clean, expected);
}

static void test_clean(void **unused)
{
    (void)unused;
    assert_clean("", "");
    assert_clean("/", "");
    assert_clean("///", "");
    assert_clean("/a", "a");
    assert_clean("//a///b", "a/b");
    assert_clean("a/b/c", "a/b/c");
}

static void test_type_names(void **unused)
{
    (void)unused;
    assert_string_equal(guest_type_name(GUEST_QEMU), "qemu");
    assert_string_equal(guest_type_name(GUEST_LXC), "lxc");
    assert_string_equal(guest_type_name(GUEST_OPENVZ), "openvz");
}

static void test_names(void **unused)
{
    static const char *const bad[] = {"", ".", "..", "/", "a/b", "a/"};
    static const char *const good[] = {"a", "...", ".a", "..a", "a.", "\xff", "a b"};

    (void)unused;
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++)
        assert_false(path_is_name(bad[i], strlen(bad[i])));
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
        assert_true(path_is_name(good[i], strlen(good[i])));
    assert_false(path_is_name("a\0b", 3));
    assert_false(path_is_name("\0", 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_guests),
        cmocka_unit_test(test_no_guests),
        cmocka_unit_test(test_private),
        cmocka_unit_test(test_guest_directories),
        cmocka_unit_test(test_locks),
        cmocka_unit_test(test_virtual),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_type_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
