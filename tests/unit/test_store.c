/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config.db: what each change writes, that it is read again as it was, and what happens on full
 * disks, beside other programs, and when the process is killed. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "commit.h"
#include "core/apply.h"
#include "core/state.h"
#include "store/finding.h"
#include "store/flusher.h"
#include "store/store.h"
#include "store_place.h"
#include "tools/backup.h"
#include "tools/save.h"

#define BYTES_MAX 200000u

/* A node's state and its database. */
struct node {
    struct place place;
    struct store *store;
    struct state *state;
    struct draft *draft;
    uint32_t writer;
    uint32_t time;
};

static void open_with(struct node *node, const struct store_options *options)
{
    g_autofree char *message = NULL;
    struct tree *tree;
    int error = store_open(node->place.path, options, &node->store, &tree, &message);

    if (error)
        fail_msg("%d: %s", error, message);
    node->state = state_new(tree, 0);
    node->draft = draft_new(node->state);
}

static void close_node(struct node *node)
{
    store_close(node->store);
    draft_free(node->draft);
    state_free(node->state);
    node->store = NULL;
    node->draft = NULL;
    node->state = NULL;
}

static int start(void **state)
{
    struct node *node = g_new0(struct node, 1);

    place_start(&node->place);
    node->writer = 3;
    node->time = 1000;
    open_with(node, NULL);
    *state = node;
    return 0;
}

static int stop(void **state)
{
    struct node *node = *state;

    if (node->store)
        close_node(node);
    place_stop(&node->place);
    g_free(node);
    return 0;
}

static void reopen(struct node *node)
{
    close_node(node);
    open_with(node, NULL);
}

/* Applies to the draft only; `text` is what is written. */
static void draft_change(struct node *node, enum change_operation operation, const char *path,
                         const char *to, const void *data, size_t size)
{
    struct change change = {.operation = operation,
                            .truncate = true,
                            .writer = node->writer,
                            .time = node->time++,
                            .path = path,
                            .to = to,
                            .data = data,
                            .size = (uint32_t)size};
    int result;

    if (operation == CHANGE_MTIME)
        change.offset = (uint32_t)size;
    result = apply(node->draft, &change, NULL);
    if (result)
        fail_msg("%d: %s", result, path);
}

static int commit(struct node *node)
{
    return commit_draft(node->store, node->state, node->draft);
}

static void change(struct node *node, enum change_operation operation, const char *path,
                   const char *to, const char *text)
{
    draft_change(node, operation, path, to, text, text ? strlen(text) : 0);
    assert_int_equal(commit(node), 0);
}

/* The rows as another program sees them at this moment. */
static void assert_rows(const struct node *node, const char *query, const char *expected)
{
    sqlite3 *db = place_connect(node->place.path);
    g_autofree char *rows = place_rows(db, query);

    sqlite3_close(db);
    assert_string_equal(rows, expected);
}

static void assert_intact(const struct node *node)
{
    assert_rows(node, "PRAGMA integrity_check", "ok\n");
}

/* ---- A new database ---- */

static void test_new_database(void **state)
{
    struct node *node = *state;
    struct stat info;

    assert_int_equal(node->state->tree->root.version, 1);
    assert_int_equal(tree_entry_count(node->state->tree), 1);
    assert_int_equal(stat(node->place.path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    close_node(node);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db");
    assert_rows(node, "SELECT sql FROM sqlite_master", TREE_TABLE "\n");
    assert_rows(node, "PRAGMA journal_mode", "wal\n");
    assert_rows(node, "PRAGMA page_size", "4096\n");
    assert_rows(node, "PRAGMA encoding", "UTF-8\n");
    assert_rows(node, ALL_ROWS, "");
    open_with(node, NULL);
    assert_int_equal(node->state->tree->root.version, 1);
}

static void test_schema_is_that_of_other_implementations(void **state)
{
    struct node *node = *state;
    g_autoptr(GPtrArray) vectors = place_vectors();

    for (guint i = 0; i < vectors->len; i++) {
        g_autofree char *path = g_build_filename(node->place.directory, "vector.db", NULL);
        place_copy(vectors->pdata[i], path);
        sqlite3 *db = place_connect(path);
        g_autofree char *schema = place_rows(db, "SELECT sql FROM sqlite_master");
        sqlite3_close(db);
        assert_string_equal(schema, TREE_TABLE "\n");
    }
}

static void test_remains_of_an_unfinished_creation_are_no_harm(void **state)
{
    struct node *node = *state;
    g_autofree char *unfinished = g_strconcat(node->place.path, ".new", NULL);

    close_node(node);
    assert_int_equal(unlink(node->place.path), 0);
    assert_true(g_file_set_contents(unfinished, "half", 4, NULL));
    open_with(node, NULL);
    close_node(node);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db");
}

static void test_directory_that_is_missing_is_named(void **state)
{
    struct node *node = *state;
    g_autofree char *path = g_build_filename(node->place.directory, "no", "config.db", NULL);
    g_autofree char *message = NULL;
    struct store *store;
    struct tree *tree;

    assert_int_equal(store_open(path, NULL, &store, &tree, &message), -ENOENT);
    assert_non_null(strstr(message, path));
}

static void test_readable_for_others_is_made_private(void **state)
{
    struct node *node = *state;
    struct stat info;

    close_node(node);
    assert_int_equal(chmod(node->place.path, 0644), 0);
    open_with(node, NULL);
    assert_int_equal(stat(node->place.path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
}

/* Through another of SQLite's file layers, as a simulated disk is: on files, and in memory. */
static void test_other_file_layers(void **state)
{
    struct node *node = *state;
    static const char *const layers[] = {"unix", "memdb"};
    g_autofree char *path = g_build_filename(node->place.directory, "other.db", NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(layers); i++) {
        struct node other = {.place.path = path};
        const struct store_options options = {.vfs = layers[i]};
        sqlite3 *holder = NULL;
        open_with(&other, &options);
        /* What is in memory is there as long as somebody has it open. */
        assert_int_equal(sqlite3_open_v2(path, &holder, SQLITE_OPEN_READWRITE, layers[i]),
                         SQLITE_OK);
        change(&other, CHANGE_CREATE, "f", NULL, NULL);
        change(&other, CHANGE_WRITE, "f", NULL, "text");
        close_node(&other);
        open_with(&other, &options);
        assert_int_equal(other.state->tree->root.version, 3);
        assert_int_equal(tree_child(other.state->tree, 0, "f")->size, 4);
        close_node(&other);
        sqlite3_close(holder);
        unlink(path);
    }
    g_autofree char *names = place_names(&node->place);
    assert_null(strstr(names, "other"));
}

/* ---- What a change writes ---- */

static void test_rows_of_each_change(void **state)
{
    struct node *node = *state;

    change(node, CHANGE_MKDIR, "dir", NULL, NULL);
    assert_rows(node, ALL_ROWS,
                "0|0|2|3|1000|8|__version__|NULL\n"
                "2|0|2|3|1000|4|dir|NULL\n");
    change(node, CHANGE_CREATE, "dir/file", NULL, NULL);
    assert_rows(node, ALL_ROWS,
                "0|0|3|3|1001|8|__version__|NULL\n"
                "2|0|2|3|1000|4|dir|NULL\n"
                "3|2|3|3|1001|8|file|NULL\n");
    node->writer = 9;
    change(node, CHANGE_WRITE, "dir/file", NULL, "ab");
    assert_rows(node, ALL_ROWS,
                "0|0|4|9|1002|8|__version__|NULL\n"
                "2|0|2|3|1000|4|dir|NULL\n"
                "3|2|4|9|1002|8|file|x'6162'\n");
    draft_change(node, CHANGE_MTIME, "dir", NULL, NULL, 77);
    assert_int_equal(commit(node), 0);
    assert_rows(node, ALL_ROWS,
                "0|0|5|9|77|8|__version__|NULL\n"
                "2|0|5|9|77|4|dir|NULL\n"
                "3|2|4|9|1002|8|file|x'6162'\n");
    change(node, CHANGE_CREATE, "new", NULL, NULL);
    change(node, CHANGE_WRITE, "new", NULL, "c");
    change(node, CHANGE_RENAME, "new", "dir/file", NULL);
    assert_rows(node, ALL_ROWS,
                "0|0|8|9|1006|8|__version__|NULL\n"
                "2|0|5|9|77|4|dir|NULL\n"
                "6|2|8|9|1006|8|file|x'63'\n");
    change(node, CHANGE_WRITE, "dir/file", NULL, "");
    assert_rows(node, ALL_ROWS,
                "0|0|9|9|1007|8|__version__|NULL\n"
                "2|0|5|9|77|4|dir|NULL\n"
                "6|2|9|9|1007|8|file|NULL\n");
    change(node, CHANGE_DELETE, "dir/file", NULL, NULL);
    change(node, CHANGE_DELETE, "dir", NULL, NULL);
    assert_rows(node, ALL_ROWS, "0|0|11|9|1009|8|__version__|NULL\n");
    assert_intact(node);
}

/* Zeros that a truncation makes of an empty file are a size without bytes, and are not stored. */
static void test_hole_is_not_stored(void **state)
{
    struct node *node = *state;
    struct change hole = {.operation = CHANGE_WRITE, .truncate = true, .path = "f", .offset = 50};

    change(node, CHANGE_CREATE, "f", NULL, NULL);
    assert_int_equal(apply(node->draft, &hole, NULL), 0);
    assert_int_equal(commit(node), 0);
    assert_int_equal(tree_child(node->state->tree, 0, "f")->size, 50);
    assert_rows(node, "SELECT name, typeof(data) FROM tree WHERE inode = 2", "f|null\n");
}

/* Many changes of one draft are one transaction, and only their outcome is written. */
static void test_batch_is_one_transaction(void **state)
{
    struct node *node = *state;
    sqlite3 *other = place_connect(node->place.path);

    draft_change(node, CHANGE_MKDIR, "d", NULL, NULL, 0);
    draft_change(node, CHANGE_CREATE, "d/a", NULL, NULL, 0);
    draft_change(node, CHANGE_WRITE, "d/a", NULL, "x", 1);
    draft_change(node, CHANGE_CREATE, "gone", NULL, NULL, 0);
    draft_change(node, CHANGE_DELETE, "gone", NULL, NULL, 0);
    g_autofree char *before = place_rows(other, "PRAGMA data_version");
    g_autofree char *nothing = place_rows(other, ALL_ROWS);
    assert_string_equal(nothing, "");
    assert_int_equal(commit(node), 0);
    g_autofree char *after = place_rows(other, "PRAGMA data_version");
    assert_string_not_equal(after, before);
    sqlite3_close(other);
    assert_rows(node, ALL_ROWS,
                "0|0|6|3|1004|8|__version__|NULL\n"
                "2|0|2|3|1000|4|d|NULL\n"
                "3|2|4|3|1002|8|a|x'78'\n");
}

static void test_name_is_stored_as_text_of_its_bytes(void **state)
{
    struct node *node = *state;
    g_autofree char *longest = g_strnfill(1024, 'n');

    change(node, CHANGE_CREATE, "\xff\xc3(\x80", NULL, NULL);
    change(node, CHANGE_CREATE, "it's", NULL, NULL);
    draft_put(node->draft, entry_new(70, 0, ENTRY_FILE, longest, 1024, NULL, 0));
    node->draft->root.version = 70;
    assert_int_equal(commit(node), 0);
    assert_rows(node,
                "SELECT typeof(name), hex(substr(CAST(name AS BLOB), 1, 5)), "
                "length(CAST(name AS BLOB)) FROM tree WHERE inode > 0",
                "text|FFC32880|4\ntext|69742773|4\ntext|6E6E6E6E6E|1024\n");
    reopen(node);
    assert_non_null(tree_child(node->state->tree, 0, "\xff\xc3(\x80"));
    assert_non_null(tree_child(node->state->tree, 0, longest));
}

/* ---- Reading it again ---- */

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Everything that a tree holds, in a text. */
static char *describe(const struct tree *tree)
{
    GString *text = g_string_new(NULL);
    g_autoptr(GPtrArray) entries = tree_sorted(tree);

    g_string_append_printf(text, "%lu %u %u %lu\n", tree->root.version, tree->root.writer,
                           tree->root.mtime, tree->bytes);
    for (guint i = 0; i < entries->len; i++) {
        const struct entry *entry = entries->pdata[i];
        g_autofree char *sum = g_compute_checksum_for_data(
            G_CHECKSUM_SHA256, entry->content ? entry->content->data : NULL,
            entry->content ? entry->size : 0);
        g_string_append_printf(text, "%lu %lu %lu %u %u %u %u %s %s\n", entry->inode, entry->parent,
                               entry->version, entry->writer, entry->mtime, entry->size,
                               entry->type, entry->name, sum);
    }
    return g_string_free(text, FALSE);
}

static void random_change(struct node *node, uint32_t *seed)
{
    static const char *const names[] = {"a", "b", "nodes", "\xe4", "100.conf", "qemu-server"};
    static uint8_t bytes[BYTES_MAX];
    g_autofree char *path =
        g_strdup_printf("%s/%s", names[next_random(seed) % 6], names[next_random(seed) % 6]);
    g_autofree char *other =
        g_strdup_printf("%s/%s", names[next_random(seed) % 6], names[next_random(seed) % 6]);
    uint32_t size = next_random(seed) % (next_random(seed) % 10 == 0 ? BYTES_MAX : 300);

    if (next_random(seed) % 4 == 0)
        *strchr(path, '/') = '\0';
    memset(bytes, (int)next_random(seed), size);
    struct change change = {.operation = (enum change_operation)(1 + next_random(seed) % 6),
                            .truncate = next_random(seed) % 2,
                            .writer = next_random(seed) % 5,
                            .time = next_random(seed),
                            .offset = next_random(seed) % 100,
                            .size = size,
                            .path = path,
                            .to = other,
                            .data = bytes};
    if (change.operation != CHANGE_WRITE && change.operation != CHANGE_MTIME)
        change.offset = 0;
    apply(node->draft, &change, NULL);
}

static void test_random_changes_are_read_again(void **state)
{
    struct node *node = *state;
    uint32_t seed = 4711;

    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 100; i++) {
            random_change(node, &seed);
            if (next_random(&seed) % 3 == 0)
                assert_int_equal(commit(node), 0);
        }
        assert_int_equal(commit(node), 0);
        if (round % 3 == 0)
            assert_int_equal(store_flush(node->store), 0);
        g_autofree char *before = describe(node->state->tree);
        assert_true(strlen(before) > 40);
        reopen(node);
        g_autofree char *after = describe(node->state->tree);
        assert_string_equal(after, before);
        assert_intact(node);
    }
}

/* What others stored, loaded and written by us, has the rows that they wrote. */
static void test_vectors_are_written_as_they_were(void **state)
{
    struct node *node = *state;
    g_autoptr(GPtrArray) vectors = place_vectors();

    for (guint i = 0; i < vectors->len; i++) {
        sqlite3 *original;
        g_autofree char *path = g_build_filename(node->place.directory, "vector.db", NULL);
        place_copy(vectors->pdata[i], path);
        original = place_connect(path);
        g_autofree char *rows = place_rows(
            original, "SELECT inode, parent, version, writer, mtime, CASE inode WHEN 0 THEN "
                      "8 ELSE type END, name, nullif(data, x'') FROM tree ORDER BY inode");
        sqlite3_close(original);
        struct node loaded = {.place.path = path};
        open_with(&loaded, NULL);
        g_autoptr(GPtrArray) entries = tree_sorted(loaded.state->tree);
        for (guint j = 0; j < entries->len; j++)
            draft_put(node->draft, entry_ref(entries->pdata[j]));
        node->draft->root = loaded.state->tree->root;
        assert_int_equal(commit(node), 0);
        assert_rows(node, ALL_ROWS, rows);
        close_node(&loaded);
        close_node(node);
        unlink(path);
        unlink(node->place.path);
        open_with(node, NULL);
    }
}

/* As a synchronisation's commit: one draft with everything. */
static void test_large_commit(void **state)
{
    struct node *node = *state;
    struct buffer *content = buffer_new(1048576);

    memset(content->data, 'z', content->capacity);
    for (uint64_t inode = 2; inode < 5002; inode++) {
        g_autofree char *name = g_strdup_printf("f%lu", inode);
        bool large = inode % 250 == 0;
        draft_put(node->draft, entry_new(inode, 0, ENTRY_FILE, name, strlen(name), content,
                                         large ? content->capacity : 700));
    }
    node->draft->root.version = 5001;
    buffer_unref(content);
    assert_int_equal(commit(node), 0);
    g_autofree char *before = describe(node->state->tree);
    reopen(node);
    g_autofree char *after = describe(node->state->tree);
    assert_string_equal(after, before);
    assert_intact(node);
}

/* ---- Disks that say no ---- */

static bool have_namespace;

/* A disk of its own, below the test's directory. */
static void mount_disk(struct node *node, const char *size)
{
    if (!have_namespace)
        skip();
    close_node(node);
    assert_int_equal(unlink(node->place.path), 0);
    g_autofree char *options = g_strdup_printf("size=%s,mode=0700", size);
    assert_int_equal(mount("tmpfs", node->place.directory, "tmpfs", 0, options), 0);
    open_with(node, NULL);
}

static void unmount_disk(struct node *node)
{
    close_node(node);
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
    change(node, CHANGE_CREATE, "f", NULL, NULL);
    change(node, CHANGE_WRITE, "f", NULL, "before");
    fill_disk(node);
    g_autofree char *before = describe(node->state->tree);
    for (int i = 0; i < 5; i++) {
        draft_change(node, CHANGE_WRITE, "f", NULL, bytes, 100000);
        assert_int_equal(commit(node), -ENOSPC);
        assert_string_not_equal(store_error(node->store), "");
    }
    assert_rows(node, "SELECT version, data FROM tree WHERE inode = 2", "3|x'6265666f7265'\n");
    free_disk(node);
    change(node, CHANGE_WRITE, "f", NULL, bytes);
    g_autofree char *after = describe(node->state->tree);
    assert_string_not_equal(after, before);
    reopen(node);
    g_autofree char *again = describe(node->state->tree);
    assert_string_equal(again, after);
    assert_intact(node);
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
    change(node, CHANGE_CREATE, "f", NULL, NULL);
    for (int i = 0; i < 10; i++) {
        change(node, CHANGE_WRITE, "f", NULL, bytes);
        if (i == 5)
            assert_int_equal(store_flush(node->store), 0);
    }
    fill_disk(node);
    for (int i = 0; i < 20; i++)
        change(node, CHANGE_WRITE, "f", NULL, "small");
    change(node, CHANGE_DELETE, "f", NULL, NULL);
    assert_intact(node);
    unmount_disk(node);
}

/* The disk fills up while it works, many times, at another place each time. */
static void fill_up(struct node *node, uint64_t fold_delay)
{
    uint32_t seed = 99;
    int failures = 0;

    mount_disk(node, "400k");
    close_node(node);
    open_with(node, &(struct store_options){.fold_delay = fold_delay, .checkpoint_pages = 20});
    struct flusher *flusher = flusher_start(node->store);
    for (int i = 0; i < 600; i++) {
        g_autofree char *name = g_strdup_printf("f%d", i);
        g_autofree char *bytes = g_strnfill(next_random(&seed) % 9000, 'x');
        g_autofree char *before = describe(node->state->tree);
        draft_change(node, CHANGE_CREATE, name, NULL, NULL, 0);
        draft_change(node, CHANGE_WRITE, name, NULL, bytes, strlen(bytes));
        int error = commit(node);
        g_autofree char *after = describe(node->state->tree);
        assert_true(error == 0 || error == -ENOSPC);
        assert_true((error == 0) == (strcmp(before, after) != 0));
        if (!error || ++failures > 20)
            continue;
        /* Deleting works, or says that it does not, and helps in the end. */
        g_autoptr(GPtrArray) entries = tree_sorted(node->state->tree);
        for (guint j = 0; j < entries->len; j += 2) {
            draft_change(node, CHANGE_DELETE, ((struct entry *)entries->pdata[j])->name, NULL, NULL,
                         0);
            error = commit(node);
            assert_true(error == 0 || error == -ENOSPC);
        }
    }
    assert_true(failures > 0);
    g_autofree char *before = describe(node->state->tree);
    flusher_stop(flusher);
    reopen(node);
    g_autofree char *after = describe(node->state->tree);
    assert_string_equal(after, before);
    assert_intact(node);
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
    close_node(node);
    assert_int_equal(unlink(node->place.path), 0);
    fill_disk(node);
    assert_int_equal(store_open(node->place.path, NULL, &store, &tree, &message), -ENOSPC);
    assert_non_null(strstr(message, "config.db"));
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "ballast");
    free_disk(node);
    open_with(node, NULL);
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
    change(node, CHANGE_CREATE, "f", NULL, NULL);
    change(node, CHANGE_WRITE, "f", NULL, "before");
    for (rlim_t limit = 20000; limit < 200000; limit += 7777) {
        set_file_size_limit(limit);
        draft_change(node, CHANGE_WRITE, "f", NULL, bytes, 300000);
        assert_int_equal(commit(node), -EIO);
        set_file_size_limit(RLIM_INFINITY);
    }
    assert_rows(node, "SELECT version, data FROM tree WHERE inode = 2", "3|x'6265666f7265'\n");
    change(node, CHANGE_WRITE, "f", NULL, "after");
    reopen(node);
    assert_rows(node, "SELECT version, data FROM tree WHERE inode = 2", "4|x'6166746572'\n");
    assert_intact(node);
}

/* ---- Other programs ---- */

static void test_locked_by_another_program(void **state)
{
    struct node *node = *state;
    sqlite3 *other;

    close_node(node);
    open_with(node, &(struct store_options){.busy_timeout = 20});
    other = place_connect(node->place.path);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    draft_change(node, CHANGE_CREATE, "f", NULL, NULL, 0);
    assert_int_equal(commit(node), -EIO);
    assert_non_null(strstr(store_error(node->store), "locked"));
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    change(node, CHANGE_CREATE, "f", NULL, NULL);
    sqlite3_close(other);
}

/* What config.db itself says, without its WAL. */
static char *rows_of_file(const struct node *node, const char *query)
{
    g_autofree char *uri = g_strdup_printf("file:%s?immutable=1", node->place.path);
    sqlite3 *db;

    assert_int_equal(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL),
                     SQLITE_OK);
    char *rows = place_rows(db, query);
    sqlite3_close(db);
    return rows;
}

/* Somebody who reads does not keep anyone from writing. */
static void test_read_by_another_program(void **state)
{
    struct node *node = *state;
    sqlite3 *other = place_connect(node->place.path);

    change(node, CHANGE_CREATE, "f", NULL, NULL);
    assert_int_equal(sqlite3_exec(other, "BEGIN; SELECT * FROM tree", NULL, NULL, NULL), SQLITE_OK);
    change(node, CHANGE_WRITE, "f", NULL, "x");
    assert_int_equal(store_flush(node->store), 0);
    g_autofree char *without = rows_of_file(node, "SELECT data FROM tree WHERE inode = 2");
    assert_string_not_equal(without, "x'78'\n");
    g_autofree char *rows = place_rows(other, "SELECT count(*) FROM tree WHERE data IS NULL");
    assert_string_equal(rows, "2\n");
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(store_flush(node->store), 0);
    g_autofree char *with = rows_of_file(node, "SELECT data FROM tree WHERE inode = 2");
    assert_string_equal(with, "x'78'\n");
}

static void test_open_by_another_program_for_itself(void **state)
{
    struct node *node = *state;
    sqlite3 *other;
    g_autofree char *message = NULL;
    struct store *store;
    struct tree *tree;

    close_node(node);
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

    close_node(node);
    other = place_connect(node->place.path);
    assert_int_equal(sqlite3_exec(other,
                                  "INSERT INTO tree VALUES (0, 0, 9, 1, 1, 8, '__version__', NULL)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    open_with(node, &(struct store_options){.busy_timeout = 20});
    assert_int_equal(node->state->tree->root.version, 9);
    change(node, CHANGE_CREATE, "f", NULL, NULL);
    g_autofree char *rows = place_rows(other, "SELECT max(inode) FROM tree");
    assert_string_equal(rows, "10\n");
    sqlite3_close(other);
    close_node(node);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db");
}

static void test_open_through_a_symbolic_link(void **state)
{
    struct node *node = *state;
    struct node linked = {0};
    g_autofree char *link_path = g_build_filename(node->place.directory, "link.db", NULL);
    sqlite3 *other;

    close_node(node);
    other = place_connect(node->place.path);
    assert_int_equal(sqlite3_exec(other,
                                  "INSERT INTO tree VALUES (0, 0, 9, 1, 1, 8, '__version__', NULL)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(symlink(node->place.path, link_path), 0);
    linked.place.path = link_path;
    open_with(&linked, NULL);
    assert_int_equal(linked.state->tree->root.version, 9);
    close_node(&linked);
    sqlite3_close(other);
}

static void test_read_only_file_system(void **state)
{
    struct node *node = *state;
    g_autofree char *message = NULL;
    struct store *store;
    struct tree *tree;

    mount_disk(node, "1m");
    close_node(node);
    assert_int_equal(
        mount(NULL, node->place.directory, NULL, MS_REMOUNT | MS_RDONLY, "size=1m,mode=0700"), 0);
    int error = store_open(node->place.path, NULL, &store, &tree, &message);
    assert_true(error == -EROFS || error == -EIO);
    assert_non_null(strstr(message, "cannot write to"));
    assert_null(strstr(message, "not an error"));
    assert_int_equal(umount2(node->place.directory, MNT_DETACH), 0);
}

static void test_backup(void **state)
{
    struct node *node = *state;
    struct node copy = {0};
    g_autofree char *message = NULL;
    struct stat info;

    copy.place.path = g_build_filename(node->place.directory, "copy.db", NULL);
    change(node, CHANGE_CREATE, "f", NULL, NULL);
    assert_int_equal(tools_backup(node->place.path, copy.place.path, &message), 0);
    change(node, CHANGE_WRITE, "f", NULL, "later");
    assert_int_equal(tools_backup(node->place.path, copy.place.path, &message), 0);
    assert_int_equal(stat(copy.place.path, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    open_with(&copy, NULL);
    g_autofree char *ours = describe(node->state->tree);
    g_autofree char *theirs = describe(copy.state->tree);
    assert_string_equal(theirs, ours);
    close_node(&copy);
    close_node(node);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db copy.db");
    g_autofree char *missing = g_build_filename(node->place.directory, "missing", NULL);
    assert_int_equal(tools_backup(missing, copy.place.path, &message), -ENOENT);
    assert_non_null(message);
    g_free(copy.place.path);
}

static void test_create_does_not_overwrite(void **state)
{
    struct node *node = *state;
    g_autofree char *message = NULL;

    close_node(node);
    g_autofree char *before = place_snapshot(&node->place);
    assert_int_equal(tools_create(node->place.path, &message), -EEXIST);
    assert_non_null(strstr(message, "is there already"));
    g_autofree char *after = place_snapshot(&node->place);
    assert_string_equal(after, before);
}

/* ---- The WAL and the flusher ---- */

#define LONG 3600000u

static off_t wal_size(const struct node *node)
{
    g_autofree char *path = g_strconcat(node->place.path, "-wal", NULL);
    struct stat info;

    return stat(path, &info) == 0 ? info.st_size : 0;
}

/* As a synchronisation's commit, which goes not by the journal. */
static void change_directly(struct node *node, const char *path, const char *text)
{
    draft_change(node, CHANGE_WRITE, path, NULL, text, strlen(text));
    node->draft->rebuild = true;
    assert_int_equal(commit(node), 0);
}

static void test_commits_do_not_checkpoint_beside_a_journal(void **state)
{
    struct node *node = *state;
    g_autofree char *bytes = g_strnfill(100000, 'b');
    struct stat before;
    struct stat after;

    close_node(node);
    open_with(node, &(struct store_options){.fold_delay = LONG});
    change(node, CHANGE_CREATE, "f", NULL, NULL);
    change_directly(node, "f", "small");
    assert_int_equal(store_flush(node->store), 0);
    assert_int_equal(stat(node->place.path, &before), 0);
    for (int i = 0; i < 100; i++)
        change_directly(node, "f", bytes);
    assert_int_equal(stat(node->place.path, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_true(wal_size(node) > 100 * 100000);
    assert_int_equal(store_flush(node->store), 0);
    g_autofree char *rows = rows_of_file(node, "SELECT version FROM tree WHERE inode = 0");
    assert_string_equal(rows, "103\n");
    close_node(node);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db");
}

/* However many commits and folds, the WAL is used again and again: it stops growing, though each
 * adds a page at least to what it holds. */
static void assert_wal_is_bounded(struct node *node, uint64_t fold_delay)
{
    struct store_options options = {.fold_delay = fold_delay, .checkpoint_pages = 50};

    close_node(node);
    open_with(node, &options);
    change(node, CHANGE_CREATE, "f", NULL, NULL);
    for (int i = 0; i < 500; i++) {
        change(node, CHANGE_WRITE, "f", NULL, i % 2 ? "one" : "two");
        if (fold_delay > 0)
            assert_int_equal(store_flush(node->store), 0);
    }
    assert_in_range(wal_size(node), 1, 60 * 4200);
    assert_intact(node);
}

static void test_wal_is_bounded_by_commits(void **state)
{
    assert_wal_is_bounded(*state, 0);
}

static void test_wal_is_bounded_by_folds(void **state)
{
    assert_wal_is_bounded(*state, LONG);
}

static void test_flusher_moves_a_direct_commit(void **state)
{
    struct node *node = *state;
    g_autofree char *rows = NULL;

    close_node(node);
    open_with(node, &(struct store_options){.fold_delay = 10});
    struct flusher *flusher = flusher_start(node->store);
    change(node, CHANGE_CREATE, "f", NULL, NULL);
    change_directly(node, "f", "text");
    while (g_strcmp0(rows, "3\n") != 0) {
        g_usleep(1000);
        g_free(rows);
        rows = rows_of_file(node, "SELECT version FROM tree WHERE inode = 0");
    }
    flusher_stop(flusher);
    /* The WAL starts anew with the next commit. */
    off_t before = wal_size(node);
    change_directly(node, "f", "x");
    assert_int_equal(wal_size(node), before);
}

static void test_flusher_stops_when_idle(void **state)
{
    struct node *node = *state;

    for (int i = 0; i < 50; i++)
        flusher_stop(flusher_start(node->store));
    struct flusher *flusher = flusher_start(node->store);
    change(node, CHANGE_CREATE, "f", NULL, NULL);
    flusher_stop(flusher);
    change(node, CHANGE_DELETE, "f", NULL, NULL);
}

/* ---- kill -9 ---- */

/* The child: commits until it is killed, and says each version that is acknowledged. */
static void commit_for_ever(struct node *node, int report, uint32_t seed)
{
    struct store_options options = {.fold_delay = next_random(&seed) % 2 ? 5 : 0,
                                    .checkpoint_pages = 1 + next_random(&seed) % 60};
    static char bytes[30000];

    open_with(node, &options);
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
        if (apply(node->draft, &next, NULL) != 0 || commit(node) != 0)
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

    close_node(node);
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
        open_with(node, NULL);
        assert_true(acknowledged > 1);
        assert_consistent(node, acknowledged);
        assert_intact(node);
        close_node(node);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_new_database, start, stop),
        cmocka_unit_test_setup_teardown(test_schema_is_that_of_other_implementations, start, stop),
        cmocka_unit_test_setup_teardown(test_remains_of_an_unfinished_creation_are_no_harm, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_directory_that_is_missing_is_named, start, stop),
        cmocka_unit_test_setup_teardown(test_readable_for_others_is_made_private, start, stop),
        cmocka_unit_test_setup_teardown(test_other_file_layers, start, stop),
        cmocka_unit_test_setup_teardown(test_rows_of_each_change, start, stop),
        cmocka_unit_test_setup_teardown(test_hole_is_not_stored, start, stop),
        cmocka_unit_test_setup_teardown(test_batch_is_one_transaction, start, stop),
        cmocka_unit_test_setup_teardown(test_name_is_stored_as_text_of_its_bytes, start, stop),
        cmocka_unit_test_setup_teardown(test_random_changes_are_read_again, start, stop),
        cmocka_unit_test_setup_teardown(test_vectors_are_written_as_they_were, start, stop),
        cmocka_unit_test_setup_teardown(test_large_commit, start, stop),
        cmocka_unit_test_setup_teardown(test_full_disk, start, stop),
        cmocka_unit_test_setup_teardown(test_full_disk_takes_what_has_room, start, stop),
        cmocka_unit_test_setup_teardown(test_disk_that_fills_up, start, stop),
        cmocka_unit_test_setup_teardown(test_disk_that_fills_up_with_a_journal, start, stop),
        cmocka_unit_test_setup_teardown(test_new_database_on_a_full_disk, start, stop),
        cmocka_unit_test_setup_teardown(test_write_error, start, stop),
        cmocka_unit_test_setup_teardown(test_locked_by_another_program, start, stop),
        cmocka_unit_test_setup_teardown(test_read_by_another_program, start, stop),
        cmocka_unit_test_setup_teardown(test_open_by_another_program_for_itself, start, stop),
        cmocka_unit_test_setup_teardown(test_open_beside_an_idle_program, start, stop),
        cmocka_unit_test_setup_teardown(test_open_through_a_symbolic_link, start, stop),
        cmocka_unit_test_setup_teardown(test_read_only_file_system, start, stop),
        cmocka_unit_test_setup_teardown(test_backup, start, stop),
        cmocka_unit_test_setup_teardown(test_create_does_not_overwrite, start, stop),
        cmocka_unit_test_setup_teardown(test_commits_do_not_checkpoint_beside_a_journal, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_wal_is_bounded_by_commits, start, stop),
        cmocka_unit_test_setup_teardown(test_wal_is_bounded_by_folds, start, stop),
        cmocka_unit_test_setup_teardown(test_flusher_moves_a_direct_commit, start, stop),
        cmocka_unit_test_setup_teardown(test_flusher_stops_when_idle, start, stop),
        cmocka_unit_test_setup_teardown(test_kill_loses_nothing, start, stop),
    };

    log_detach(); /* failures are expected */
    have_namespace = place_use_memory();
    int failures = cmocka_run_group_tests_name("store", tests, NULL, NULL);
    place_leave_memory();
    return failures;
}
