/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Copies of a database, new ones, and folding without a daemon (ctl/tools/). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "ctl/tools/backup.h"
#include "ctl/tools/fold.h"
#include "ctl/tools/save.h"
#include "store_node.h"

static int start(void **state)
{
    struct node *node = g_new0(struct node, 1);

    node_start(node, 0);
    *state = node;
    return 0;
}

static int stop(void **state)
{
    node_stop(*state);
    g_free(*state);
    return 0;
}

static int start_with_journal(void **state)
{
    struct node *node = g_new0(struct node, 1);

    node_start(node, FOLD_DELAY_LONG);
    *state = node;
    return 0;
}

static void test_backup(void **state)
{
    struct node *node = *state;
    struct node copy = {0};
    g_autofree char *message = NULL;
    struct stat info;

    copy.place.path = g_build_filename(node->place.directory, "copy.db", NULL);
    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    assert_int_equal(tools_backup(node->place.path, copy.place.path, &message), 0);
    node_change(node, CHANGE_WRITE, "f", NULL, "later");
    assert_int_equal(tools_backup(node->place.path, copy.place.path, &message), 0);
    assert_int_equal(stat(copy.place.path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    node_open_with(&copy, NULL);
    g_autofree char *ours = tree_description(node->state->tree);
    g_autofree char *theirs = tree_description(copy.state->tree);
    assert_string_equal(theirs, ours);
    node_close(&copy);
    node_close(node);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db copy.db");
    g_autofree char *missing = g_build_filename(node->place.directory, "missing", NULL);
    assert_int_equal(tools_backup(missing, copy.place.path, &message), -ENOENT);
    assert_non_null(message);
    g_free(copy.place.path);
}

static void test_backup_has_what_is_in_the_journal(void **state)
{
    struct node *node = *state;
    struct node copy = {.options.busy_timeout = 20};
    g_autofree char *message = NULL;

    copy.place.path = node_beside(node, ".copy");
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *path = g_strdup_printf("d%u", i);
        node_make(node, CHANGE_MKDIR, path);
        if (i == 2)
            assert_int_equal(store_flush(node->store), 0);
        assert_int_equal(tools_backup(node->place.path, copy.place.path, &message), 0);
        node_open(&copy);
        node_assert_same_state(node, &copy);
        node_close(&copy);
    }
    g_autofree char *names = place_names(&node->place);
    assert_null(strstr(names, "copy.")); /* nothing is left beside it */
    node_assert_survives(node);
    g_free(copy.place.path);
}

static void test_fold_left(void **state)
{
    struct node *node = *state;
    struct node left;
    struct replay_report report;
    g_autofree char *message = NULL;
    g_autofree char *missing = node_beside(node, ".missing");

    node_make(node, CHANGE_MKDIR, "d");
    node_make(node, CHANGE_MKDIR, "e");
    node_crash(node, &left);
    assert_int_equal(tools_fold(left.place.path, &report, &message), 0);
    assert_int_equal(report.changes, 2);
    assert_int_equal(report.version_before, 1);
    assert_int_equal(report.version, 3);
    assert_null(report.quarantine);
    assert_int_equal(node_stored_version(&left), 3);
    g_autofree char *names = place_names(&left.place);
    assert_string_equal(names, "config.db");
    assert_int_equal(tools_fold(left.place.path, &report, &message), 0);
    assert_int_equal(report.changes, 0);
    node_copy_beside(node, &left, ".journal");
    place_run(&left.place, "UPDATE tree SET version = 9 WHERE inode = 0");
    assert_int_equal(tools_fold(left.place.path, &report, &message), 0);
    assert_int_equal(report.changes, 0);
    assert_non_null(strstr(report.quarantine, "config.db.journal.overtaken-"));
    g_free(report.quarantine);
    assert_int_equal(tools_fold(missing, &report, &message), -ENOENT);
    assert_non_null(strstr(message, "there is no"));
    assert_false(g_file_test(missing, G_FILE_TEST_EXISTS));
    node_stop(&left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_backup, start, stop),
        cmocka_unit_test_setup_teardown(test_backup_has_what_is_in_the_journal, start_with_journal,
                                        stop),
        cmocka_unit_test_setup_teardown(test_fold_left, start_with_journal, stop),
    };

    log_detach(); /* failures are expected */
    place_use_memory();
    int failures = cmocka_run_group_tests_name("tools", tests, NULL, NULL);
    place_leave_memory();
    return failures;
}
