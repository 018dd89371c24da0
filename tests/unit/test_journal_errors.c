/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The running journal on a disk that fails: what is left of a record that failed, and what a start
 * after that makes of it (journal/journal.h). */
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
#include "store_node.h"

/* ---- The disk: calls of the journal end here, those of SQLite do not ---- */

/* What becomes of the next calls of a kind, one character each: 'x' fails with EIO and does
 * nothing. Those behind its end work. */
static struct {
    const char *writes;
    const char *syncs;
    const char *emptyings;
} disk;

static off_t synced_size; /* of the journal, when it was synced last; -1: never */
static bool names_synced; /* nothing was removed since a directory was synced */

ssize_t __real_pwrite64(int file, const void *data, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int file, const void *data, size_t size, off_t offset);
int __real_fdatasync(int file);
int __wrap_fdatasync(int file);
int __real_ftruncate64(int file, off_t size);
int __wrap_ftruncate64(int file, off_t size);
int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __real_fsync(int file);
int __wrap_fsync(int file);

static bool fails(const char **script)
{
    if (**script == '\0' || *(*script)++ != 'x')
        return false;
    errno = EIO;
    return true;
}

ssize_t __wrap_pwrite64(int file, const void *data, size_t size, off_t offset)
{
    return fails(&disk.writes) ? -1 : __real_pwrite64(file, data, size, offset);
}

int __wrap_fdatasync(int file)
{
    struct stat info;

    if (fails(&disk.syncs))
        return -1;
    assert_int_equal(fstat(file, &info), 0);
    synced_size = info.st_size;
    return __real_fdatasync(file);
}

int __wrap_ftruncate64(int file, off_t size)
{
    return fails(&disk.emptyings) ? -1 : __real_ftruncate64(file, size);
}

int __wrap_unlink(const char *path)
{
    names_synced = false;
    return __real_unlink(path);
}

int __wrap_fsync(int file)
{
    names_synced = true;
    return __real_fsync(file);
}

static void disk_does(const char *writes, const char *syncs, const char *emptyings)
{
    disk.writes = writes;
    disk.syncs = syncs;
    disk.emptyings = emptyings;
}

static void assert_disk_done(void)
{
    assert_string_equal(disk.writes, "");
    assert_string_equal(disk.syncs, "");
    assert_string_equal(disk.emptyings, "");
}

/* ---- */

static int start(void **state)
{
    struct node *node = g_new0(struct node, 1);

    disk_does("", "", "");
    node_start(node, FOLD_DELAY_LONG);
    node_close(node);
    node->options.durability = STORE_FULL;
    node_open(node);
    *state = node;
    return 0;
}

static int stop(void **state)
{
    disk_does("", "", "");
    node_stop(*state);
    g_free(*state);
    return 0;
}

static int try_mkdir(struct node *node, const char *path)
{
    assert_int_equal(node_apply(node, (struct change){.operation = CHANGE_MKDIR, .path = path}), 0);
    return node_commit(node);
}

/* A record whose sync failed is whole in the file. Where it could not be spoiled at once it is
 * before a fold: a kill behind that would find config.db in the middle of an area. */
static void test_a_failed_record_is_spoiled_before_a_fold(void **state)
{
    struct node *node = *state;

    node_make(node, CHANGE_MKDIR, "acknowledged");
    disk_does(".x", "x", "x");
    assert_int_equal(try_mkdir(node, "refused"), -EIO);
    assert_disk_done();
    assert_int_equal(node_stored_version(node), 2);
    node_assert_survives(node);
    node_make(node, CHANGE_MKDIR, "later");
    node_assert_survives(node);
}

/* What spoils it is safe there, too, before the fold: power loss would bring the record back. */
static void test_what_spoils_a_record_is_synced_before_a_fold(void **state)
{
    struct node *node = *state;

    node_make(node, CHANGE_MKDIR, "acknowledged");
    disk_does("...", "xx.", "x");
    assert_int_equal(try_mkdir(node, "refused"), -EIO);
    assert_disk_done();
    assert_int_equal(node_stored_version(node), 2);
    node_assert_survives(node);
}

/* A disk that takes nothing for a while: no attempt makes the refused one come back. */
static void test_a_failed_record_does_not_come_back(void **state)
{
    struct node *node = *state;
    struct node left;

    node_make(node, CHANGE_MKDIR, "acknowledged");
    sqlite3 *other = place_connect(node->place.path);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    disk_does(".xx", "x", "");
    assert_int_equal(try_mkdir(node, "refused"), -EIO);
    assert_disk_done();
    assert_int_equal(try_mkdir(node, "refused-too"), -EIO);
    node_crash(node, &left);
    node_open(&left);
    node_assert_same_state(node, &left);
    node_assert_no_quarantine(&left);
    node_stop(&left);
    sqlite3_close(other);
    node_make(node, CHANGE_MKDIR, "later");
    node_assert_survives(node);
}

/* A file that looks empty is not, after power loss, until that was synced. */
static void test_an_emptying_that_was_not_synced_is_made_again(void **state)
{
    struct node *node = *state;
    struct node left;

    node_make(node, CHANGE_MKDIR, "acknowledged");
    disk_does("x", ".x", "");
    assert_int_equal(try_mkdir(node, "refused"), -EIO);
    assert_disk_done();
    node_crash(node, &left);
    synced_size = -1;
    node_open(&left);
    assert_int_equal(synced_size, 0);
    node_stop(&left);
    synced_size = -1;
    assert_int_equal(try_mkdir(node, "later"), 0);
    assert_int_equal(synced_size, 0);
    node_assert_survives(node);
}

/* What goes past the journal while config.db takes nothing leaves no gap between its areas. */
static void test_a_large_change_in_vain_leaves_no_gap(void **state)
{
    struct node *node = *state;
    g_autofree uint8_t *data = g_malloc0(1000000);
    char path[16];

    node_make(node, CHANGE_MKDIR, "first");
    sqlite3 *other = place_connect(node->place.path);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_flush(node->store), -EBUSY);
    for (unsigned i = 0; i < 6; i++) {
        g_snprintf(path, sizeof(path), "f%u", i);
        node_draft(node, CHANGE_CREATE, path, NULL, NULL, 0);
        node_draft(node, CHANGE_WRITE, path, NULL, data, 1000000);
    }
    assert_int_equal(node_commit(node), -EIO);
    node_make(node, CHANGE_MKDIR, "acknowledged");
    sqlite3_close(other);
    node_assert_survives(node);
}

/* Who has no journal any more removes what is there before config.db leaves it behind. */
static void test_a_removed_journal_stays_removed(void **state)
{
    struct node *node = *state;
    struct node left;

    node_make(node, CHANGE_MKDIR, "first");
    node_crash(node, &left);
    left.options.fold_delay = 0;
    names_synced = false;
    node_open(&left);
    node_make(&left, CHANGE_MKDIR, "second");
    assert_true(names_synced);
    node_stop(&left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_failed_record_is_spoiled_before_a_fold, start, stop),
        cmocka_unit_test_setup_teardown(test_what_spoils_a_record_is_synced_before_a_fold, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_a_failed_record_does_not_come_back, start, stop),
        cmocka_unit_test_setup_teardown(test_an_emptying_that_was_not_synced_is_made_again, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_a_large_change_in_vain_leaves_no_gap, start, stop),
        cmocka_unit_test_setup_teardown(test_a_removed_journal_stays_removed, start, stop),
    };

    log_detach(); /* failures are expected */
    place_use_memory();
    int failures = cmocka_run_group_tests_name("journal errors", tests, NULL, NULL);
    place_leave_memory();
    return failures;
}
