/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shared memory that a killed daemon left: what is taken away, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "socket/leftovers.h"

static pid_t gone; /* the number of a process that has ended */

static int make_directory(void **state)
{
    *state = g_dir_make_tmp("pmxcfs-leftovers-XXXXXX", NULL);
    assert_non_null(*state);
    gone = fork();
    if (gone == 0)
        _exit(0);
    waitpid(gone, NULL, 0);
    return 0;
}

static int remove_directory(void **state)
{
    g_autofree char *command = g_strdup_printf("rm -r '%s'", (char *)*state);

    assert_int_equal(system(command), 0);
    g_free(*state);
    return 0;
}

/* A directory of a connection of server `pid`, with one file if `file` is not NULL; its path. */
static char *make(const char *root, pid_t pid, const char *suffix, const char *file)
{
    g_autofree char *name = g_strdup_printf("qb-%d-%s", pid, suffix);
    char *path = g_build_filename(root, name, NULL);

    assert_int_equal(g_mkdir(path, 0770), 0);
    if (file) {
        g_autofree char *inner = g_build_filename(path, file, NULL);
        assert_true(g_file_set_contents(inner, "x", 1, NULL));
    }
    return path;
}

static void check(const char *root, pid_t pid, const char *suffix, const char *file, bool goes)
{
    g_autofree char *path = make(root, pid, suffix, file);
    unsigned removed = leftovers_remove(root, "pve2");

    assert_int_equal(removed, goes ? 1 : 0);
    assert_int_equal(access(path, F_OK) == 0, !goes);
}

static void test_ours(void **state)
{
    static const char *const files[] = {
        "qb-request-pve2-header", "qb-request-pve2-data", "qb-response-pve2-header",
        "qb-response-pve2-data",  "qb-event-pve2-header", "qb-event-pve2-data",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(files); i++)
        check(*state, gone, "12-34-aBc123", files[i], true);
    check(*state, gone, "12-34-aBc123", NULL, true);
    /* nothing of this process was made before its service is started */
    check(*state, getpid(), "12-34-aBc123", files[0], true);
}

static void test_not_ours(void **state)
{
    check(*state, gone, "12-34-aBc123", "qb-request-cpg-header", false);
    check(*state, gone, "12-34-aBc124", "qb-request-pve22-header", false);
    check(*state, gone, "12-34-aBc125", "another", false);
    check(*state, gone, "12-34-aBc1256", "qb-request-pve2-header", false);
    check(*state, gone, "12-34", "qb-request-pve2-header", false);
    check(*state, gone, "12-aBc126", "qb-request-pve2-header", false);
    /* a server that lives: ours would not, but it may be in another network */
    check(*state, getppid(), "12-34-aBc127", "qb-request-pve2-header", false);
    check(*state, getppid(), "12-34-aBc128", NULL, false);
}

static void test_mixed(void **state)
{
    g_autofree char *path = make(*state, gone, "1-2-abcdef", "qb-request-pve2-data");
    g_autofree char *other = g_build_filename(path, "something else", NULL);

    assert_true(g_file_set_contents(other, "x", 1, NULL));
    assert_int_equal(leftovers_remove(*state, "pve2"), 0);
    g_autofree char *first = g_build_filename(path, "qb-request-pve2-data", NULL);
    assert_int_equal(access(first, F_OK), 0);
}

/* A process that took the number of a server that has ended was started after the files were made.
 */
static void test_number_that_is_used_again(void **state)
{
    g_autofree char *path = make(*state, getppid(), "1-2-abcdef", "qb-request-pve2-data");
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_int_equal(leftovers_remove(*state, "pve2"), 1);
}

static void test_links_and_files(void **state)
{
    g_autofree char *target = g_build_filename(*state, "target", NULL);
    g_autofree char *link_name = g_strdup_printf("qb-%d-1-2-abcdef", gone);
    g_autofree char *link_path = g_build_filename(*state, link_name, NULL);
    g_autofree char *inner = g_build_filename(target, "qb-request-pve2-data", NULL);

    assert_int_equal(g_mkdir(target, 0700), 0);
    assert_true(g_file_set_contents(inner, "x", 1, NULL));
    assert_int_equal(symlink(target, link_path), 0);
    assert_int_equal(leftovers_remove(*state, "pve2"), 0);
    assert_int_equal(access(inner, F_OK), 0);
    assert_int_equal(unlink(link_path), 0);
    assert_true(g_file_set_contents(link_path, "x", 1, NULL));
    assert_int_equal(leftovers_remove(*state, "pve2"), 0);
    assert_int_equal(leftovers_remove("/nonexistent", "pve2"), 0);
}

#define WITH_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIRECTORY(test_ours),
        WITH_DIRECTORY(test_not_ours),
        WITH_DIRECTORY(test_mixed),
        WITH_DIRECTORY(test_number_that_is_used_again),
        WITH_DIRECTORY(test_links_and_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
