/* SPDX-License-Identifier: GPL-3.0-or-later */
/* corosync.conf: its version, the import into a new database, and what reaches the host. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cluster/conf.h"
#include "core/state.h"
#include "host/corosync_conf.h"

#define PATIENCE 30000 /* milliseconds; never part of what is promised */

/* A directory with a host's file and, as the first in PATH, a corosync-cfgtool that writes down how
 * it was called. */
struct host {
    char *directory;
    char *file;
    char *called;
    char *path; /* PATH as it was */
    struct corosync_conf *conf;
};

static int set_up(void **state)
{
    struct host *host = g_new0(struct host, 1);

    host->directory = g_dir_make_tmp("conf-XXXXXX", NULL);
    host->file = g_build_filename(host->directory, "corosync.conf", NULL);
    host->called = g_build_filename(host->directory, "called", NULL);
    g_autofree char *tool = g_build_filename(host->directory, "corosync-cfgtool", NULL);
    g_autofree char *script = g_strdup_printf("#!/bin/sh\ncat '%s' >> '%s'; echo \" $*\" >> '%s'\n",
                                              host->file, host->called, host->called);
    assert_true(g_file_set_contents(tool, script, -1, NULL));
    assert_int_equal(chmod(tool, 0755), 0);
    host->path = g_strdup(getenv("PATH"));
    g_autofree char *path = g_strdup_printf("%s:%s", host->directory, host->path);
    setenv("PATH", path, 1);
    host->conf = corosync_conf_start(host->file, 10);
    assert_non_null(host->conf);
    *state = host;
    return 0;
}

static int tear_down(void **state)
{
    struct host *host = *state;
    g_autoptr(GDir) directory = g_dir_open(host->directory, 0, NULL);
    const char *name;

    corosync_conf_stop(host->conf);
    setenv("PATH", host->path, 1);
    while ((name = g_dir_read_name(directory))) {
        g_autofree char *path = g_build_filename(host->directory, name, NULL);
        g_unlink(path);
    }
    g_rmdir(host->directory);
    g_free(host->directory);
    g_free(host->file);
    g_free(host->called);
    g_free(host->path);
    g_free(host);
    return 0;
}

static void write_host(const struct host *host, const char *text)
{
    assert_true(g_file_set_contents(host->file, text, -1, NULL));
}

static void submit(const struct host *host, const char *text, bool reload)
{
    struct buffer *content = buffer_copy(text, (uint32_t)strlen(text));
    struct entry *entry =
        entry_new(2, 0, ENTRY_FILE, CONF_PATH, strlen(CONF_PATH), content, (uint32_t)strlen(text));

    corosync_conf_submit(host->conf, entry, reload);
    entry_unref(entry);
    buffer_unref(content);
}

/* Waits until a file has that content. */
static void wait_for_text(const char *path, const char *text)
{
    for (int i = 0; i < PATIENCE; i++) {
        g_autofree char *content = NULL;
        if (g_file_get_contents(path, &content, NULL, NULL) && strcmp(content, text) == 0)
            return;
        g_usleep(1000);
    }
    fail_msg("%s never became '%s'", path, text);
}

/* Lets the thread finish with all that was submitted so far: it ends, and a new one begins. */
static void finish(struct host *host)
{
    corosync_conf_stop(host->conf);
    host->conf = corosync_conf_start(host->file, 10);
}

static void assert_host(const struct host *host, const char *text)
{
    g_autofree char *content = NULL;

    assert_true(g_file_get_contents(host->file, &content, NULL, NULL));
    assert_string_equal(content, text);
}

static uint64_t version_of(const char *text)
{
    return conf_version((const uint8_t *)text, strlen(text));
}

static void test_version(void **state)
{
    (void)state;
    assert_int_equal(version_of("totem {\n  config_version: 17\n}\n"), 17);
    assert_int_equal(version_of("config_version:1config_version:2"), 1);
    assert_int_equal(version_of("config_version \t\r\n:\n\n 4"), 4);
    assert_int_equal(version_of("config_version 3\nconfig_version: x\nconfig_version: 5"), 5);
    assert_int_equal(version_of("my_config_version: 6"), 6);
    assert_int_equal(version_of("config_version: 007"), 7);
    assert_int_equal(version_of("config_version: -1"), 0);
    assert_int_equal(version_of("config_version:"), 0);
    assert_int_equal(version_of("config_version"), 0);
    assert_int_equal(version_of(""), 0);
    assert_int_equal(conf_version(NULL, 0), 0);
    assert_true(version_of("config_version: 18446744073709551615") == UINT64_MAX);
    assert_true(version_of("config_version: 18446744073709551616") == UINT64_MAX);
    assert_true(version_of("config_version: 99999999999999999999999999") == UINT64_MAX);
}

/* Nothing behind the given size is looked at. */
static void test_version_is_bounded(void **state)
{
    static const char text[] = "config_version: 12345";

    (void)state;
    for (size_t size = 0; size < sizeof(text); size++) {
        uint8_t *exact = malloc(size ? size : 1);
        memcpy(exact, text, size);
        uint64_t expected = size <= 16 ? 0 : strtoull("12345", NULL, 10);
        for (size_t left = sizeof(text) - 1; left > size && expected; left--)
            expected /= 10;
        assert_int_equal(conf_version(exact, MIN(size, sizeof(text) - 1)), expected);
        free(exact);
    }
}

static void test_import(void **state)
{
    struct host *host = *state;
    struct state *empty = state_new(tree_new(), 0);
    struct draft *draft = draft_new(empty);
    int error;

    empty->tree->root.version = 1;
    draft_restart(draft);
    write_host(host, "config_version: 1");
    assert_int_equal(corosync_conf_import(host->file, draft, 1234), 0);
    const struct entry *entry = draft_lookup(draft, CONF_PATH, &error);
    assert_non_null(entry);
    assert_int_equal(entry->inode, 2);
    assert_int_equal(entry->version, 3);
    assert_int_equal(entry->writer, 0);
    assert_int_equal(entry->mtime, 1234);
    assert_int_equal(entry->size, 17);
    assert_memory_equal(entry->content->data, "config_version: 1", 17);
    assert_int_equal(draft->root.version, 3);
    draft_free(draft);
    state_free(empty);
}

static void test_import_of_nothing(void **state)
{
    struct host *host = *state;
    struct state *empty = state_new(tree_new(), 0);
    struct draft *draft = draft_new(empty);

    assert_int_equal(corosync_conf_import(host->file, draft, 1), 0);
    assert_true(draft_is_empty(draft));
    assert_int_equal(g_mkdir(host->file, 0755), 0);
    assert_true(corosync_conf_import(host->file, draft, 1) < 0);
    assert_true(draft_is_empty(draft));
    g_rmdir(host->file);
    draft_free(draft);
    state_free(empty);
}

static void test_first_copy(void **state)
{
    struct host *host = *state;
    struct stat stat_of_file;

    submit(host, "config_version: 1", true);
    wait_for_text(host->file, "config_version: 1");
    finish(host);
    assert_int_equal(stat(host->file, &stat_of_file), 0);
    assert_int_equal(stat_of_file.st_mode & 07777, 0644);
    /* There was no version before, so corosync does not run with one. */
    assert_false(g_file_test(host->called, G_FILE_TEST_EXISTS));
}

static void test_reload(void **state)
{
    struct host *host = *state;

    write_host(host, "config_version: 1");
    submit(host, "config_version: 2", true);
    wait_for_text(host->called, "config_version: 2 -R\n");
    submit(host, "config_version: 3", false);
    wait_for_text(host->file, "config_version: 3");
    submit(host, "config_version: 4", true);
    wait_for_text(host->called, "config_version: 2 -R\nconfig_version: 4 -R\n");
}

static void test_refused(void **state)
{
    struct host *host = *state;

    write_host(host, "config_version: 5");
    submit(host, "config_version: 4", true);
    finish(host);
    assert_host(host, "config_version: 5");
    submit(host, "config_version: 0", true);
    finish(host);
    assert_host(host, "config_version: 5");
    submit(host, "no version", true);
    finish(host);
    assert_host(host, "config_version: 5");
    submit(host, "", true);
    finish(host);
    assert_host(host, "config_version: 5");
    submit(host, "config_version: 5 other", true);
    finish(host);
    assert_host(host, "config_version: 5 other");
}

static void test_equal_is_not_written(void **state)
{
    struct host *host = *state;
    struct stat before, after;

    write_host(host, "config_version: 5");
    assert_int_equal(stat(host->file, &before), 0);
    submit(host, "config_version: 5", true);
    finish(host);
    assert_int_equal(stat(host->file, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_false(g_file_test(host->called, G_FILE_TEST_EXISTS));
}

static void test_last_one_wins(void **state)
{
    struct host *host = *state;

    for (int i = 1; i <= 200; i++) {
        g_autofree char *text = g_strdup_printf("config_version: %d", i);
        submit(host, text, false);
    }
    wait_for_text(host->file, "config_version: 200");
}

/* What was written just before the end is told too: the next start finds nothing new. */
static void test_reload_at_the_end(void **state)
{
    struct host *host = *state;

    corosync_conf_stop(host->conf);
    host->conf = corosync_conf_start(host->file, 500);
    write_host(host, "config_version: 1");
    submit(host, "config_version: 2", true);
    finish(host);
    wait_for_text(host->called, "config_version: 2 -R\n");
    submit(host, "config_version: 3", true);
    wait_for_text(host->file, "config_version: 3");
    finish(host);
    wait_for_text(host->called, "config_version: 2 -R\nconfig_version: 3 -R\n");
}

/* A corosync-cfgtool that hangs does not hold up the end. */
static void test_hanging_tool(void **state)
{
    struct host *host = *state;
    g_autofree char *tool = g_build_filename(host->directory, "corosync-cfgtool", NULL);
    g_autofree char *script =
        g_strdup_printf("#!/bin/sh\necho $$ > '%s'\nexec sleep 1000\n", host->called);

    assert_true(g_file_set_contents(tool, script, -1, NULL));
    assert_int_equal(chmod(tool, 0755), 0);
    write_host(host, "config_version: 1");
    submit(host, "config_version: 2", true);
    for (int i = 0; i < PATIENCE && !g_file_test(host->called, G_FILE_TEST_EXISTS); i++)
        g_usleep(1000);
    assert_true(g_file_test(host->called, G_FILE_TEST_EXISTS));
    finish(host); /* would take 1000 s */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_version_is_bounded),
        cmocka_unit_test_setup_teardown(test_import, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_import_of_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_first_copy, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reload, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reload_at_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_equal_is_not_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_last_one_wins, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_hanging_tool, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
