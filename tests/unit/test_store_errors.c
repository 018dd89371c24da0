/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config.db on full disks, beside other programs, and when the process is killed (store/store.h).
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "core/apply.h"
#include "store/flusher.h"
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

static bool have_namespace;

/* ---- Disks that say no ---- */

/* A disk of its own, below the test's directory. */
static void mount_disk(struct node *node, const char *size)
{
    if (!have_namespace)
        skip();
    node_close(node);
    assert_int_equal(unlink(node->place.path), 0);
    g_autofree char *options = g_strdup_printf("size=%s,mode=0700", size);
    assert_int_equal(mount("tmpfs", node->place.directory, "tmpfs", 0, options), 0);
    node_open_with(node, NULL);
}

static void unmount_disk(struct node *node)
{
    node_close(node);
    assert_int_equal(umount2(node->place.directory, MNT_DETACH), 0);
}

/* Fills what is left, so that not even a page has room. */
static void fill_disk(const struct node *node)
{
    g_autofree char *path = g_build_filename(node->place.directory, "ballast", NULL);
    FILE *file = fopen(path, "w");
    char bytes[512] = {0};

    assert_non_null(file);
    setbuf(file, NULL);
    while (fwrite(bytes, sizeof(bytes), 1, file) == 1)
        continue;
    assert_int_equal(errno, ENOSPC);
    fclose(file);
}

static void free_disk(const struct node *node)
{
    g_autofree char *path = g_build_filename(node->place.directory, "ballast", NULL);

    assert_int_equal(unlink(path), 0);
}

static void test_full_disk(void **state)
{
    struct node *node = *state;
    g_autofree char *bytes = g_strnfill(100000, 'b');

    mount_disk(node, "1m");
    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    node_change(node, CHANGE_WRITE, "f", NULL, "before");
    fill_disk(node);
    g_autofree char *before = tree_description(node->state->tree);
    for (int i = 0; i < 5; i++) {
        node_draft(node, CHANGE_WRITE, "f", NULL, bytes, 100000);
        assert_int_equal(node_commit(node), -ENOSPC);
        assert_string_not_equal(store_error(node->store), "");
    }
    node_assert_rows(node, "SELECT version, data FROM tree WHERE inode = 2", "3|x'6265666f7265'\n");
    free_disk(node);
    node_change(node, CHANGE_WRITE, "f", NULL, bytes);
    g_autofree char *after = tree_description(node->state->tree);
    assert_string_not_equal(after, before);
    node_reopen(node);
    g_autofree char *again = tree_description(node->state->tree);
    assert_string_equal(again, after);
    node_assert_intact(node);
    unmount_disk(node);
}

/* What is in the log twice gives its room back, so that a full disk keeps nobody from small
 * changes.
 */
static void test_full_disk_takes_what_has_room(void **state)
{
    struct node *node = *state;
    g_autofree char *bytes = g_strnfill(20000, 'b');

    mount_disk(node, "1m");
    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    for (int i = 0; i < 10; i++) {
        node_change(node, CHANGE_WRITE, "f", NULL, bytes);
        if (i == 5)
            assert_int_equal(store_flush(node->store), 0);
    }
    fill_disk(node);
    for (int i = 0; i < 20; i++)
        node_change(node, CHANGE_WRITE, "f", NULL, "small");
    node_change(node, CHANGE_DELETE, "f", NULL, NULL);
    node_assert_intact(node);
    unmount_disk(node);
}

/* The disk fills up while it works, many times, at another place each time. */
static void fill_up(struct node *node, uint64_t fold_delay)
{
    uint32_t seed = 99;
    int failures = 0;

    mount_disk(node, "400k");
    node_close(node);
    node_open_with(node, &(struct store_options){.fold_delay = fold_delay, .checkpoint_pages = 20});
    struct flusher *flusher = flusher_start(node->store);
    for (int i = 0; i < 600; i++) {
        g_autofree char *name = g_strdup_printf("f%d", i);
        g_autofree char *bytes = g_strnfill(next_random(&seed) % 9000, 'x');
        g_autofree char *before = tree_description(node->state->tree);
        node_draft(node, CHANGE_CREATE, name, NULL, NULL, 0);
        node_draft(node, CHANGE_WRITE, name, NULL, bytes, strlen(bytes));
        int error = node_commit(node);
        g_autofree char *after = tree_description(node->state->tree);
        assert_true(error == 0 || error == -ENOSPC);
        assert_true((error == 0) == (strcmp(before, after) != 0));
        if (!error || ++failures > 20)
            continue;
        /* Deleting works, or says that it does not, and helps in the end. */
        g_autoptr(GPtrArray) entries = tree_sorted(node->state->tree);
        for (guint j = 0; j < entries->len; j += 2) {
            node_draft(node, CHANGE_DELETE, ((struct entry *)entries->pdata[j])->name, NULL, NULL,
                       0);
            error = node_commit(node);
            assert_true(error == 0 || error == -ENOSPC);
        }
    }
    assert_true(failures > 0);
    g_autofree char *before = tree_description(node->state->tree);
    flusher_stop(flusher);
    node_reopen(node);
    g_autofree char *after = tree_description(node->state->tree);
    assert_string_equal(after, before);
    node_assert_intact(node);
    unmount_disk(node);
}

static void test_disk_that_fills_up(void **state)
{
    fill_up(*state, 0);
}

static void test_disk_that_fills_up_with_a_journal(void **state)
{
    fill_up(*state, 5);
}

static void test_new_database_on_a_full_disk(void **state)
{
    struct node *node = *state;
    g_autofree char *message = NULL;
    struct store *store;
    struct tree *tree;

    mount_disk(node, "100k");
    node_close(node);
    assert_int_equal(unlink(node->place.path), 0);
    fill_disk(node);
    assert_int_equal(store_open(node->place.path, NULL, &store, &tree, &message), -ENOSPC);
    assert_non_null(strstr(message, "config.db"));
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "ballast");
    free_disk(node);
    node_open_with(node, NULL);
    unmount_disk(node);
}

static void set_file_size_limit(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = MIN(bytes, limit.rlim_max);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_write_error(void **state)
{
    struct node *node = *state;
    g_autofree char *bytes = g_strnfill(300000, 'b');

    signal(SIGXFSZ, SIG_IGN);
    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    node_change(node, CHANGE_WRITE, "f", NULL, "before");
    for (rlim_t limit = 20000; limit < 200000; limit += 7777) {
        set_file_size_limit(limit);
        node_draft(node, CHANGE_WRITE, "f", NULL, bytes, 300000);
        assert_int_equal(node_commit(node), -EIO);
        set_file_size_limit(RLIM_INFINITY);
    }
    node_assert_rows(node, "SELECT version, data FROM tree WHERE inode = 2", "3|x'6265666f7265'\n");
    node_change(node, CHANGE_WRITE, "f", NULL, "after");
    node_reopen(node);
    node_assert_rows(node, "SELECT version, data FROM tree WHERE inode = 2", "4|x'6166746572'\n");
    node_assert_intact(node);
}

static void test_read_only_file_system(void **state)
{
    struct node *node = *state;
    g_autofree char *message = NULL;
    struct store *store;
    struct tree *tree;

    mount_disk(node, "1m");
    node_close(node);
    assert_int_equal(
        mount(NULL, node->place.directory, NULL, MS_REMOUNT | MS_RDONLY, "size=1m,mode=0700"), 0);
    int error = store_open(node->place.path, NULL, &store, &tree, &message);
    assert_true(error == -EROFS || error == -EIO);
    assert_non_null(strstr(message, "cannot write to"));
    assert_null(strstr(message, "not an error"));
    assert_int_equal(umount2(node->place.directory, MNT_DETACH), 0);
}

/* ---- Other programs ---- */

static void test_locked_by_another_program(void **state)
{
    struct node *node = *state;
    sqlite3 *other;

    node_close(node);
    node_open_with(node, &(struct store_options){.busy_timeout = 20});
    other = place_connect(node->place.path);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    node_draft(node, CHANGE_CREATE, "f", NULL, NULL, 0);
    assert_int_equal(node_commit(node), -EIO);
    assert_non_null(strstr(store_error(node->store), "locked"));
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    sqlite3_close(other);
}

/* Somebody who reads does not keep anyone from writing. */
static void test_read_by_another_program(void **state)
{
    struct node *node = *state;
    sqlite3 *other = place_connect(node->place.path);

    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    assert_int_equal(sqlite3_exec(other, "BEGIN; SELECT * FROM tree", NULL, NULL, NULL), SQLITE_OK);
    node_change(node, CHANGE_WRITE, "f", NULL, "x");
    assert_int_equal(store_flush(node->store), 0);
    g_autofree char *without = node_file_rows(node, "SELECT data FROM tree WHERE inode = 2");
    assert_string_not_equal(without, "x'78'\n");
    g_autofree char *rows = place_rows(other, "SELECT count(*) FROM tree WHERE data IS NULL");
    assert_string_equal(rows, "2\n");
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(store_flush(node->store), 0);
    g_autofree char *with = node_file_rows(node, "SELECT data FROM tree WHERE inode = 2");
    assert_string_equal(with, "x'78'\n");
}

static void test_open_by_another_program_for_itself(void **state)
{
    struct node *node = *state;
    sqlite3 *other;
    g_autofree char *message = NULL;
    struct store *store;
    struct tree *tree;

    node_close(node);
    other = place_connect(node->place.path);
    assert_int_equal(
        sqlite3_exec(other, "PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE", NULL, NULL, NULL),
        SQLITE_OK);
    assert_int_equal(store_open(node->place.path, &(struct store_options){.busy_timeout = 20},
                                &store, &tree, &message),
                     -EBUSY);
    assert_non_null(strstr(message, "locked"));
    assert_null(store);
    assert_null(tree);
    sqlite3_close(other);
}

/* An idle sqlite3 in some terminal keeps nobody from starting, and what it left in the log is read.
 */
static void test_open_beside_an_idle_program(void **state)
{
    struct node *node = *state;
    sqlite3 *other;

    node_close(node);
    other = place_connect(node->place.path);
    assert_int_equal(sqlite3_exec(other,
                                  "INSERT INTO tree VALUES (0, 0, 9, 1, 1, 8, '__version__', NULL)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    node_open_with(node, &(struct store_options){.busy_timeout = 20});
    assert_int_equal(node->state->tree->root.version, 9);
    node_change(node, CHANGE_CREATE, "f", NULL, NULL);
    g_autofree char *rows = place_rows(other, "SELECT max(inode) FROM tree");
    assert_string_equal(rows, "10\n");
    sqlite3_close(other);
    node_close(node);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db");
}

static void test_open_through_a_symbolic_link(void **state)
{
    struct node *node = *state;
    struct node linked = {0};
    g_autofree char *link_path = g_build_filename(node->place.directory, "link.db", NULL);
    sqlite3 *other;

    node_close(node);
    other = place_connect(node->place.path);
    assert_int_equal(sqlite3_exec(other,
                                  "INSERT INTO tree VALUES (0, 0, 9, 1, 1, 8, '__version__', NULL)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(symlink(node->place.path, link_path), 0);
    linked.place.path = link_path;
    node_open_with(&linked, NULL);
    assert_int_equal(linked.state->tree->root.version, 9);
    node_close(&linked);
    sqlite3_close(other);
}

/* ---- kill -9 ---- */

/* The child: commits until it is killed, and says each version that is acknowledged. */
static void commit_for_ever(struct node *node, int report, uint32_t seed)
{
    struct store_options options = {.fold_delay = next_random(&seed) % 2 ? 5 : 0,
                                    .checkpoint_pages = 1 + next_random(&seed) % 60};
    static char bytes[30000];

    node_open_with(node, &options);
    flusher_start(node->store);
    for (;;) {
        uint64_t version = node->draft->root.version + 1;
        g_autofree char *name = g_strdup_printf("f%lu", version % 7);
        uint32_t size = next_random(&seed) % (next_random(&seed) % 9 ? 600 : 30000);
        size = MAX(size, 16);
        memset(bytes, (int)(version % 251), size);
        struct change next = {.operation = CHANGE_WRITE,
                              .truncate = true,
                              .time = (uint32_t)version,
                              .path = name,
                              .data = (const uint8_t *)bytes,
                              .size = size};
        if (!tree_child(node->state->tree, 0, name))
            next.operation = CHANGE_CREATE;
        if (apply(node->draft, &next, NULL) != 0 || node_commit(node) != 0)
            _exit(1);
        if (write(report, &node->state->tree->root.version, sizeof(uint64_t)) < 0)
            _exit(1);
    }
}

/* Each file says by its bytes which version it is of. */
static void assert_consistent(const struct node *node, uint64_t acknowledged)
{
    g_autoptr(GPtrArray) entries = tree_sorted(node->state->tree);
    uint64_t last = 1;

    for (guint i = 0; i < entries->len; i++) {
        const struct entry *entry = entries->pdata[i];
        g_autofree char *name = g_strdup_printf("f%lu", entry->version % 7);
        assert_string_equal(entry->name, name);
        assert_int_equal(entry->mtime, entry->version);
        for (uint32_t j = 0; j < entry->size; j++)
            assert_int_equal(entry->content->data[j], entry->version % 251);
        last = MAX(last, entry->version);
    }
    assert_true(node->state->tree->root.version >= acknowledged);
    assert_int_equal(node->state->tree->root.version, last);
}

/* Reads acknowledgements until `count` have come, kills, and reads what was still under way. */
static uint64_t kill_after(pid_t child, int report, uint32_t count)
{
    uint64_t acknowledged = 0;
    uint64_t version;
    int status;

    for (uint32_t i = 0; read(report, &version, sizeof(version)) == sizeof(version); i++) {
        acknowledged = version;
        if (i == count)
            assert_int_equal(kill(child, SIGKILL), 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return acknowledged;
}

static void test_kill_loses_nothing(void **state)
{
    struct node *node = *state;
    uint32_t seed = 1234;

    node_close(node);
    for (int round = 0; round < 100; round++) {
        int report[2];
        assert_int_equal(pipe(report), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            close(report[0]);
            commit_for_ever(node, report[1], (uint32_t)round);
        }
        close(report[1]);
        uint64_t acknowledged = kill_after(child, report[0], next_random(&seed) % 120);
        close(report[0]);
        node_open_with(node, NULL);
        assert_true(acknowledged > 1);
        assert_consistent(node, acknowledged);
        node_assert_intact(node);
        node_close(node);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_full_disk, start, stop),
        cmocka_unit_test_setup_teardown(test_full_disk_takes_what_has_room, start, stop),
        cmocka_unit_test_setup_teardown(test_disk_that_fills_up, start, stop),
        cmocka_unit_test_setup_teardown(test_disk_that_fills_up_with_a_journal, start, stop),
        cmocka_unit_test_setup_teardown(test_new_database_on_a_full_disk, start, stop),
        cmocka_unit_test_setup_teardown(test_write_error, start, stop),
        cmocka_unit_test_setup_teardown(test_read_only_file_system, start, stop),
        cmocka_unit_test_setup_teardown(test_locked_by_another_program, start, stop),
        cmocka_unit_test_setup_teardown(test_read_by_another_program, start, stop),
        cmocka_unit_test_setup_teardown(test_open_by_another_program_for_itself, start, stop),
        cmocka_unit_test_setup_teardown(test_open_beside_an_idle_program, start, stop),
        cmocka_unit_test_setup_teardown(test_open_through_a_symbolic_link, start, stop),
        cmocka_unit_test_setup_teardown(test_kill_loses_nothing, start, stop),
    };

    log_detach(); /* failures are expected */
    have_namespace = place_use_memory();
    int failures = cmocka_run_group_tests_name("store_errors", tests, NULL, NULL);
    place_leave_memory();
    return failures;
}
