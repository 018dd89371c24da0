/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The journal: what is in it and what is not, that nothing acknowledged is lost when the process is
 * killed, and that nothing is brought into a database that it was not made on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "commit.h"
#include "core/apply.h"
#include "core/index.h"
#include "core/state.h"
#include "journal/record.h"
#include "journal/replay.h"
#include "store/flusher.h"
#include "store/store.h"
#include "store_place.h"
#include "tools/backup.h"
#include "tools/fold.h"

/* Nothing is folded for its age alone. */
#define LONG 3600000u
#define PATIENCE_SECONDS 60

/* A node's state and its database. */
struct node {
    struct place place;
    struct store_options options;
    struct store *store;
    struct state *state;
    struct draft *draft;
    uint32_t time;
};

static int try_open(struct node *node, char **message)
{
    struct tree *tree;
    int error = store_open(node->place.path, &node->options, &node->store, &tree, message);

    if (error)
        return error;
    node->state = state_new(tree, 0);
    node->draft = draft_new(node->state);
    return 0;
}

static void open_node(struct node *node)
{
    g_autofree char *message = NULL;
    int error = try_open(node, &message);

    if (error)
        fail_msg("%d: %s", error, message);
}

static void close_node(struct node *node)
{
    store_close(node->store);
    draft_free(node->draft);
    state_free(node->state);
    node->store = NULL;
}

static void start_node(struct node *node, uint64_t fold_delay)
{
    *node = (struct node){.options = {.fold_delay = fold_delay, .busy_timeout = 20}, .time = 1000};
    place_start(&node->place);
    open_node(node);
}

static void stop_node(struct node *node)
{
    if (node->store)
        close_node(node);
    place_stop(&node->place);
}

static int start(void **state)
{
    struct node *node = g_new0(struct node, 1);

    start_node(node, LONG);
    *state = node;
    return 0;
}

static int stop(void **state)
{
    stop_node(*state);
    g_free(*state);
    return 0;
}

static int draft_change(struct node *node, struct change change)
{
    change.writer = 3;
    change.time = node->time++;
    return apply(node->draft, &change, NULL);
}

static int commit(struct node *node)
{
    return commit_draft(node->store, node->state, node->draft);
}

static void make(struct node *node, enum change_operation operation, const char *path)
{
    assert_int_equal(draft_change(node, (struct change){.operation = operation, .path = path}), 0);
    assert_int_equal(commit(node), 0);
}

static void put(struct node *node, const char *path, uint32_t offset, const void *data,
                uint32_t size, bool truncate)
{
    assert_int_equal(draft_change(node, (struct change){.operation = CHANGE_WRITE,
                                                        .path = path,
                                                        .offset = offset,
                                                        .data = data,
                                                        .size = size,
                                                        .truncate = truncate}),
                     0);
    assert_int_equal(commit(node), 0);
}

static void put_text(struct node *node, const char *path, const char *text)
{
    put(node, path, 0, text, (uint32_t)strlen(text), true);
}

static void move(struct node *node, const char *path, const char *to)
{
    assert_int_equal(
        draft_change(node, (struct change){.operation = CHANGE_RENAME, .path = path, .to = to}), 0);
    assert_int_equal(commit(node), 0);
}

/* Row 0 of a synchronisation's commit, which has no history in common. */
static void synchronise(struct node *node, uint64_t version)
{
    g_autofree char *name = g_strdup_printf("synchronised-%" G_GUINT64_FORMAT, version);
    struct entry *entry = entry_new(version, 0, ENTRY_DIRECTORY, name, strlen(name), NULL, 0);

    entry->version = version;
    draft_put(node->draft, entry);
    node->draft->root = (struct root){version, 2, 5000};
    node->draft->rebuild = true;
    assert_int_equal(commit(node), 0);
}

static void assert_same_state(const struct node *a, const struct node *b)
{
    struct buffer *first = index_build(a->draft);
    struct buffer *second = index_build(b->draft);

    assert_int_equal(first->capacity, second->capacity);
    assert_memory_equal(first->data, second->data, first->capacity);
    buffer_unref(first);
    buffer_unref(second);
}

/* ---- What a crash leaves ---- */

static char *beside(const struct node *node, const char *suffix)
{
    return g_strconcat(node->place.path, suffix, NULL);
}

static void copy_beside(const struct node *from, const struct node *to, const char *suffix)
{
    g_autofree char *source = beside(from, suffix);
    g_autofree char *target = beside(to, suffix);

    if (g_file_test(source, G_FILE_TEST_EXISTS))
        place_copy(source, target);
}

/* What `node` would leave if it were killed now, in a place of its own, not opened yet. */
static void crash(const struct node *node, struct node *left)
{
    *left = (struct node){.options = node->options, .time = 5000};
    place_start(&left->place);
    copy_beside(node, left, "");
    copy_beside(node, left, "-wal");
    copy_beside(node, left, ".journal");
}

static void assert_no_quarantine(const struct node *node)
{
    g_autofree char *names = place_names(&node->place);

    if (strstr(names, ".journal."))
        fail_msg("%s", names);
}

/* A start after that finds the same state, and takes changes. */
static void assert_survives(const struct node *node)
{
    struct node left;

    crash(node, &left);
    open_node(&left);
    assert_same_state(node, &left);
    assert_no_quarantine(&left);
    make(&left, CHANGE_MKDIR, "after-the-crash");
    close_node(&left);
    g_autofree char *names = place_names(&left.place);
    assert_string_equal(names, "config.db");
    stop_node(&left);
}

/* The version that config.db itself is at. */
static uint64_t stored_version(const struct node *node)
{
    sqlite3 *db = place_connect(node->place.path);
    g_autofree char *rows = place_rows(db, "SELECT version FROM tree WHERE inode = 0");

    sqlite3_close(db);
    return g_ascii_strtoull(rows, NULL, 10);
}

static size_t size_of(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 ? (size_t)info.st_size : 0;
}

/* ---- Records ---- */

static struct entry *random_entry(GRand *random, uint64_t inode)
{
    uint32_t size = (uint32_t)g_rand_int_range(random, 0, 3000);
    struct buffer *content = g_rand_int_range(random, 0, 8) ? buffer_new(size) : NULL;
    char name[20];

    for (uint32_t i = 0; content && i < size; i++)
        content->data[i] = (uint8_t)g_rand_int_range(random, 0, 4);
    g_snprintf(name, sizeof(name), "n%d", g_rand_int_range(random, 0, 3));
    struct entry *entry = entry_new(inode, (uint64_t)g_rand_int_range(random, 0, 2), ENTRY_FILE,
                                    name, strlen(name), content, content ? size : 0);
    buffer_unref(content);
    entry->version = g_rand_int(random);
    entry->writer = g_rand_int(random);
    entry->mtime = g_rand_int(random);
    return entry;
}

/* Alters a few bytes in the middle, cuts, or extends. */
static struct entry *edited(GRand *random, const struct entry *before)
{
    if (!before || !before->content || g_rand_int_range(random, 0, 4) == 0)
        return random_entry(random, 7);
    int32_t delta = g_rand_int_range(random, 0, 2) ? 0 : g_rand_int_range(random, -300, 300);
    uint32_t size = (uint32_t)MAX(1, (int32_t)before->size + delta);
    struct buffer *content = buffer_new(size);
    memset(content->data, 1, size);
    memcpy(content->data, before->content->data, MIN(size, before->size));
    content->data[g_rand_int_range(random, 0, (int32_t)size)] ^= 1;
    struct entry *entry =
        entry_new(7, before->parent, ENTRY_FILE, before->name, before->name_length, content, size);
    buffer_unref(content);
    entry->version = before->version + 1;
    return entry;
}

/* What a row has of the content begins and ends with a byte that differs. */
static void assert_shortest(const struct journal_row *row, const struct entry *before,
                            const struct entry *after)
{
    uint32_t old_size = before && before->content ? before->size : 0;
    uint32_t size = after->content ? after->size : 0;
    uint32_t from = 0;
    uint32_t to = size;

    while (from < MIN(size, old_size) && after->content->data[from] == before->content->data[from])
        from++;
    while (size <= old_size && to > from &&
           after->content->data[to - 1] == before->content->data[to - 1])
        to--;
    assert_int_equal(row->offset, from);
    assert_int_equal(row->length, to - from);
}

static void assert_row_gives(const GByteArray *bytes, const struct entry *before,
                             struct entry *after)
{
    struct journal_record record;
    struct journal_row row;

    assert_true(journal_record_read(bytes->data, bytes->len, &record));
    assert_true(journal_record_is_whole(bytes->data, &record));
    assert_int_equal(journal_aligned(record.size), bytes->len);
    struct reader reader = {.data = record.rows, .left = record.rows_size};
    assert_true(journal_row_read(&reader, &row));
    assert_shortest(&row, before, after);
    struct entry *made = journal_row_apply(&row, before);
    uint8_t wanted[DIGEST_SIZE];
    uint8_t found[DIGEST_SIZE];
    assert_non_null(made);
    journal_digest(after, wanted);
    journal_digest(made, found);
    assert_memory_equal(found, wanted, DIGEST_SIZE);
    assert_int_equal(made->inode, 7);
    assert_false(journal_row_read(&reader, &row));
    assert_false(reader.bad);
    entry_unref(made);
}

static void test_rows_give_what_was_put_in(void **state)
{
    GRand *random = g_rand_new_with_seed(1);
    GByteArray *bytes = g_byte_array_new();
    struct root root = {5, 1, 2};
    struct entry *before = NULL;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        struct entry *after = edited(random, before);
        journal_record_begin(bytes, 1, i, &root, &root);
        journal_record_add(bytes, 7, g_rand_boolean(random), before, after);
        journal_record_finish(bytes);
        assert_row_gives(bytes, before, after);
        entry_unref(before);
        before = after;
    }
    entry_unref(before);
    g_byte_array_unref(bytes);
    g_rand_free(random);
}

/* A record has the bytes that were written, not the file; a rename and a touch have none at all. */
static void test_size_of_records(void **state)
{
    struct node *node = *state;
    g_autofree char *journal = beside(node, ".journal");
    g_autofree uint8_t *data = g_malloc0(100000);
    size_t before;

    make(node, CHANGE_CREATE, "f");
    put(node, "f", 0, data, 100000, true);
    before = size_of(journal);
    put(node, "f", 100000, "appended", 8, false);
    put(node, "f", 5000, "middle", 6, false);
    move(node, "f", "g");
    assert_int_equal(
        draft_change(node,
                     (struct change){.operation = CHANGE_MTIME, .path = "g", .offset = 12345}),
        0);
    assert_int_equal(commit(node), 0);
    put(node, "g", 200, NULL, 0, true);
    assert_in_range(size_of(journal) - before, 1, 5 * 140);
    assert_survives(node);
}

static void test_a_damaged_byte_is_found(void **state)
{
    GByteArray *bytes = g_byte_array_new();
    struct root root = {5, 1, 2};
    struct journal_record record;
    struct entry *entry = entry_new(7, 0, ENTRY_DIRECTORY, "name", 4, NULL, 0);

    (void)state;
    journal_record_begin(bytes, 1, 0, &root, &root);
    journal_record_add(bytes, 7, false, NULL, entry);
    journal_record_finish(bytes);
    assert_true(journal_record_read(bytes->data, bytes->len, &record));
    for (uint32_t i = 0; i < record.size; i++) {
        struct journal_record damaged;
        bytes->data[i] ^= 0x10;
        assert_false(journal_record_read(bytes->data, bytes->len, &damaged) &&
                     damaged.size <= bytes->len && journal_record_is_whole(bytes->data, &damaged));
        bytes->data[i] ^= 0x10;
    }
    entry_unref(entry);
    g_byte_array_unref(bytes);
}

/* ---- Commits ---- */

static void test_config_db_stays_behind_and_nothing_is_lost(void **state)
{
    struct node *node = *state;
    g_autofree char *journal = beside(node, ".journal");
    struct stat info;

    make(node, CHANGE_MKDIR, "d");
    make(node, CHANGE_CREATE, "d/f");
    put_text(node, "d/f", "content");
    assert_int_equal(stored_version(node), 0);
    assert_int_equal(stat(journal, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_survives(node);
    assert_int_equal(store_flush(node->store), 0);
    assert_int_equal(stored_version(node), 4);
    assert_survives(node);
    move(node, "d/f", "d/g");
    make(node, CHANGE_DELETE, "d/g");
    assert_int_equal(stored_version(node), 4);
    assert_survives(node);
}

static void test_a_clean_stop_leaves_nothing_outside(void **state)
{
    struct node *node = *state;

    make(node, CHANGE_MKDIR, "d");
    close_node(node);
    g_autofree char *names = place_names(&node->place);
    assert_string_equal(names, "config.db");
    assert_int_equal(stored_version(node), 2);
    node->options.fold_delay = 0;
    open_node(node);
    assert_non_null(tree_child(node->state->tree, 0, "d"));
}

static void test_no_journal(void **state)
{
    struct node node;

    (void)state;
    start_node(&node, 0);
    make(&node, CHANGE_MKDIR, "d");
    assert_int_equal(stored_version(&node), 2);
    g_autofree char *names = place_names(&node.place);
    assert_null(strstr(names, "journal"));
    stop_node(&node);
}

/* One that has a journal no more brings in what is there. */
static void test_left_behind_for_one_without_a_journal(void **state)
{
    struct node *node = *state;
    struct node left;

    make(node, CHANGE_MKDIR, "d");
    crash(node, &left);
    left.options.fold_delay = 0;
    open_node(&left);
    assert_same_state(node, &left);
    assert_int_equal(stored_version(&left), 2);
    g_autofree char *names = place_names(&left.place);
    assert_null(strstr(names, "journal"));
    stop_node(&left);
}

/* Changes of all kinds, folded now and then, and in each state killed. */
static void test_random_changes(void **state)
{
    struct node *node = *state;
    GRand *random = g_rand_new_with_seed(7);
    g_autofree uint8_t *data = g_malloc(5000);
    char path[16];
    char to[16];

    for (unsigned i = 0; i < 400; i++) {
        uint32_t size = (uint32_t)g_rand_int_range(random, 0, 5000);
        memset(data, (int)i, size);
        g_snprintf(path, sizeof(path), "f%d", g_rand_int_range(random, 0, 8));
        g_snprintf(to, sizeof(to), "f%d", g_rand_int_range(random, 0, 8));
        const struct change changes[] = {
            {.operation = CHANGE_CREATE, .path = path},
            {.operation = CHANGE_WRITE,
             .path = path,
             .data = data,
             .size = size,
             .offset = (uint32_t)g_rand_int_range(random, 0, 6000),
             .truncate = g_rand_boolean(random)},
            {.operation = CHANGE_RENAME, .path = path, .to = to},
            {.operation = CHANGE_DELETE, .path = path},
            {.operation = CHANGE_MTIME, .path = path, .offset = i},
        };
        unsigned which = (unsigned)g_rand_int_range(random, 0, 8);
        if (draft_change(node, changes[which < 5 ? which : 1]) == 0 && i % 3 != 0)
            assert_int_equal(commit(node), 0);
        if (i % 37 == 0)
            assert_int_equal(store_flush(node->store), 0);
        if (i % 101 == 100)
            synchronise(node, node->draft->root.version + 5);
        if (i % 5 == 0) {
            assert_int_equal(commit(node), 0);
            assert_survives(node);
        }
    }
    g_rand_free(random);
}

/* Both halves of the file, several times over. */
static void test_much_is_folded_by_itself(void **state)
{
    struct node *node = *state;
    struct flusher *flusher = flusher_start(node->store);
    g_autofree uint8_t *data = g_malloc0(200000);
    g_autofree char *journal = beside(node, ".journal");

    assert_non_null(flusher);
    make(node, CHANGE_CREATE, "f");
    for (unsigned i = 0; i < 300; i++) {
        memset(data, (int)i, 200000);
        put(node, "f", 0, data, 200000, false);
    }
    assert_survives(node);
    assert_true(stored_version(node) > 10);
    assert_in_range(size_of(journal), 1, JOURNAL_AREAS * (size_t)JOURNAL_AREA_SIZE);
    flusher_stop(flusher);
}

/* A full area does not wait for the flusher, which there is not. */
static void test_a_full_journal_goes_on(void **state)
{
    struct node *node = *state;
    g_autofree uint8_t *data = g_malloc0(1000000);

    make(node, CHANGE_CREATE, "f");
    for (unsigned i = 0; i < 30; i++) {
        memset(data, (int)i, 1000000);
        put(node, "f", 0, data, 1000000, false);
        if (i % 7 == 6)
            assert_survives(node);
    }
    assert_survives(node);
}

static void test_large_drafts_go_to_config_db(void **state)
{
    struct node *node = *state;
    g_autofree uint8_t *data = g_malloc0(1000000);
    char path[16];

    make(node, CHANGE_MKDIR, "before");
    for (unsigned i = 0; i < 6; i++) {
        g_snprintf(path, sizeof(path), "f%u", i);
        assert_int_equal(
            draft_change(node, (struct change){.operation = CHANGE_CREATE, .path = path}), 0);
        assert_int_equal(draft_change(node, (struct change){.operation = CHANGE_WRITE,
                                                            .path = path,
                                                            .data = data,
                                                            .size = 1000000}),
                         0);
    }
    assert_int_equal(commit(node), 0);
    assert_int_equal(stored_version(node), node->state->tree->root.version);
    assert_survives(node);
    make(node, CHANGE_MKDIR, "after");
    assert_survives(node);
}

static void test_a_synchronisation_goes_to_config_db(void **state)
{
    struct node *node = *state;

    make(node, CHANGE_MKDIR, "before");
    synchronise(node, 50);
    assert_int_equal(stored_version(node), 50);
    assert_survives(node);
    make(node, CHANGE_MKDIR, "after");
    assert_int_equal(stored_version(node), 50);
    assert_survives(node);
}

static void wait_stored(const struct node *node, uint64_t version)
{
    gint64 end = g_get_monotonic_time() + PATIENCE_SECONDS * G_TIME_SPAN_SECOND;

    while (stored_version(node) != version) {
        assert_true(g_get_monotonic_time() < end);
        g_usleep(1000);
    }
}

static void test_the_flusher_folds_in_time(void **state)
{
    struct node node;

    (void)state;
    start_node(&node, 100);
    struct flusher *flusher = flusher_start(node.store);
    for (unsigned i = 0; i < 5; i++) {
        g_autofree char *path = g_strdup_printf("d%u", i);
        make(&node, CHANGE_MKDIR, path);
        wait_stored(&node, node.state->tree->root.version);
    }
    flusher_stop(flusher);
    stop_node(&node);
}

/* Without a flusher, too, config.db is never further behind than was promised. */
static void test_who_finds_it_late_folds(void **state)
{
    struct node node;

    (void)state;
    start_node(&node, 1);
    make(&node, CHANGE_MKDIR, "first");
    g_usleep(3000);
    make(&node, CHANGE_MKDIR, "second");
    assert_int_equal(stored_version(&node), 3);
    stop_node(&node);
}

/* ---- Errors ---- */

static sqlite3 *lock(const struct node *node)
{
    sqlite3 *other = place_connect(node->place.path);

    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return other;
}

/* Another program's lock holds nobody up, until config.db would be too far behind. */
static void test_changes_are_refused_when_they_cannot_be_brought_in(void **state)
{
    struct node node;

    (void)state;
    start_node(&node, LONG);
    sqlite3 *other = lock(&node);
    make(&node, CHANGE_MKDIR, "first");
    assert_int_equal(store_flush(node.store), -EBUSY);
    make(&node, CHANGE_MKDIR, "second");
    assert_survives(&node);
    sqlite3_close(other);
    close_node(&node);

    node.options.fold_delay = 1;
    open_node(&node);
    make(&node, CHANGE_MKDIR, "third");
    other = lock(&node);
    g_usleep(3000);
    assert_int_equal(
        draft_change(&node, (struct change){.operation = CHANGE_MKDIR, .path = "fourth"}), 0);
    assert_int_equal(commit(&node), -EIO);
    assert_non_null(strstr(store_error(node.store), "locked"));
    assert_survives(&node);
    sqlite3_close(other);
    make(&node, CHANGE_MKDIR, "fourth");
    assert_int_equal(stored_version(&node), 5);
    stop_node(&node);
}

/* What config.db does not take at the start stays in the journal, and is refused to grow. */
static void test_a_start_that_cannot_bring_in(void **state)
{
    struct node *node = *state;
    struct node left;

    make(node, CHANGE_MKDIR, "first");
    crash(node, &left);
    /* A connection of its own finds the lock; the check before it only reads. */
    sqlite3 *other = lock(&left);
    open_node(&left);
    assert_same_state(node, &left);
    assert_int_equal(
        draft_change(&left, (struct change){.operation = CHANGE_MKDIR, .path = "second"}), 0);
    assert_int_equal(commit(&left), -EIO);
    assert_survives(&left);
    sqlite3_close(other);
    make(&left, CHANGE_MKDIR, "second");
    assert_int_equal(stored_version(&left), 3);
    make(&left, CHANGE_MKDIR, "third");
    assert_int_equal(stored_version(&left), 3);
    assert_survives(&left);
    stop_node(&left);
}

/* ---- What is not brought in ---- */

static char *quarantine_name(const struct node *node, const char *word)
{
    g_autofree char *names = place_names(&node->place);
    g_auto(GStrv) list = g_strsplit(names, " ", -1);
    g_autofree char *prefix = g_strdup_printf("config.db.journal.%s-", word);
    char *found = NULL;

    for (char **name = list; *name; name++) {
        if (!g_str_has_prefix(*name, prefix))
            continue;
        assert_null(found);
        found = g_build_filename(node->place.directory, *name, NULL);
    }
    return found;
}

/* The journal at `left` is not replayed but kept, and config.db is as `sql` made it. */
static void assert_overtaken(struct node *left, const char *sql)
{
    g_autofree char *journal = beside(left, ".journal");
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    gsize size;

    place_run(&left->place, sql);
    sqlite3 *db = place_connect(left->place.path);
    g_autofree char *rows = place_rows(db, ALL_ROWS);
    assert_true(g_file_get_contents(journal, &before, &size, NULL));
    open_node(left);
    g_autofree char *found = place_rows(db, ALL_ROWS);
    sqlite3_close(db);
    assert_string_equal(found, rows);
    g_autofree char *quarantine = quarantine_name(left, "overtaken");
    assert_non_null(quarantine);
    struct stat info;
    assert_int_equal(stat(quarantine, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_true(g_file_get_contents(quarantine, &after, NULL, NULL));
    assert_memory_equal(before, after, size);
    make(left, CHANGE_MKDIR, "goes-on");
    stop_node(left);
}

static void test_overtaken(void **state)
{
    struct node *node = *state;
    static const char *const others_work[] = {
        "UPDATE tree SET version = 9 WHERE inode = 0",
        "UPDATE tree SET writer = 9 WHERE inode = 0",
        "UPDATE tree SET mtime = 9 WHERE inode = 0",
        "UPDATE tree SET data = 'other' WHERE name = 'f'",
        "UPDATE tree SET name = 'other' WHERE name = 'f'",
        "DELETE FROM tree WHERE name = 'f'",
        "INSERT INTO tree VALUES (4, 0, 3, 1, 1, 4, 'other', NULL)",
    };

    make(node, CHANGE_CREATE, "f");
    put_text(node, "f", "as it was");
    assert_int_equal(store_flush(node->store), 0);
    make(node, CHANGE_MKDIR, "new");
    put_text(node, "f", "as it is");
    put_text(node, "f", "as it is now");
    for (size_t i = 0; i < G_N_ELEMENTS(others_work); i++) {
        struct node left;
        crash(node, &left);
        assert_overtaken(&left, others_work[i]);
    }
}

/* A backup of long ago, and one of a moment that was neither's. */
static void test_a_restored_backup(void **state)
{
    struct node *node = *state;
    g_autofree char *backup = beside(node, ".backup");
    g_autofree char *message = NULL;

    for (unsigned i = 0; i < 2; i++) {
        struct node left;
        make(node, CHANGE_MKDIR, i ? "b" : "a");
        assert_int_equal(tools_backup(node->place.path, backup, &message), 0);
        make(node, CHANGE_MKDIR, i ? "b/more" : "a/more");
        assert_int_equal(store_flush(node->store), 0);
        make(node, CHANGE_MKDIR, i ? "b/most" : "a/most");
        crash(node, &left);
        g_autofree char *log = beside(&left, "-wal");
        unlink(log);
        place_copy(backup, left.place.path);
        assert_overtaken(&left, "SELECT 1");
    }
}

static void test_ten_are_kept(void **state)
{
    struct node *node = *state;
    g_autofree char *journal = beside(node, ".journal");
    struct node left;

    make(node, CHANGE_MKDIR, "d");
    crash(node, &left);
    g_autofree char *left_journal = beside(&left, ".journal");
    open_node(&left);
    close_node(&left);
    place_run(&left.place, "UPDATE tree SET version = 9 WHERE inode = 0");
    for (unsigned i = 0; i < 12; i++) {
        g_autofree char *old = g_strdup_printf("%s.%s-20010101-0000%02u", left_journal,
                                               i % 2 ? "damaged" : "overtaken", i);
        assert_true(g_file_set_contents(old, "", 0, NULL));
    }
    place_copy(journal, left_journal);
    open_node(&left);
    g_autofree char *names = place_names(&left.place);
    g_auto(GStrv) list = g_strsplit(names, ".journal.", -1);
    assert_int_equal(g_strv_length(list) - 1, 10);
    assert_null(strstr(names, "20010101-000002"));
    assert_non_null(strstr(names, "20010101-000003"));
    stop_node(&left);
}

/* A database that is refused stays as it is, and the journal too. */
static void test_a_refused_database(void **state)
{
    struct node *node = *state;
    struct node left;
    g_autofree char *message = NULL;

    make(node, CHANGE_MKDIR, "d");
    assert_int_equal(store_flush(node->store), 0);
    make(node, CHANGE_MKDIR, "e");
    crash(node, &left);
    place_run(&left.place, "UPDATE tree SET parent = 77 WHERE name = 'd'");
    g_autofree char *before = place_snapshot(&left.place);
    assert_int_equal(try_open(&left, &message), -EBADMSG);
    g_autofree char *after = place_snapshot(&left.place);
    assert_string_equal(before, after);
    stop_node(&left);
}

/* ---- Torn and damaged ---- */

/* A last record of which only some bytes arrived was not acknowledged. */
static void test_torn_at_every_byte(void **state)
{
    struct node *node = *state;
    g_autofree char *journal = beside(node, ".journal");
    struct node before;

    make(node, CHANGE_CREATE, "f");
    crash(node, &before);
    size_t start_of_last = size_of(journal);
    put_text(node, "f", "content");
    size_t end = size_of(journal);
    open_node(&before);
    for (size_t size = start_of_last; size < end - 8; size++) {
        struct node left;
        crash(node, &left);
        g_autofree char *torn = beside(&left, ".journal");
        assert_int_equal(truncate(torn, (off_t)size), 0);
        open_node(&left);
        assert_same_state(&left, &before);
        assert_no_quarantine(&left);
        stop_node(&left);
    }
    stop_node(&before);
}

static void flip(const char *path, size_t at)
{
    g_autofree char *bytes = NULL;
    gsize size;

    assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    assert_true(at < size);
    bytes[at] ^= 0x40;
    assert_true(g_file_set_contents(path, bytes, (gssize)size, NULL));
}

/* What is before a damaged record is brought in, and what follows is put into quarantine. */
static void test_damaged_in_the_middle(void **state)
{
    struct node *node = *state;
    g_autofree char *journal = beside(node, ".journal");
    size_t ends[4];

    for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++) {
        g_autofree char *path = g_strdup_printf("d%u", i);
        make(node, CHANGE_MKDIR, path);
        ends[i] = size_of(journal);
    }
    for (unsigned damaged = 0; damaged < 3; damaged++) {
        for (size_t at = damaged ? ends[damaged - 1] : 0; at < ends[damaged] - 8; at += 5) {
            struct node left;
            crash(node, &left);
            g_autofree char *copy = beside(&left, ".journal");
            flip(copy, at);
            open_node(&left);
            assert_int_equal(left.state->tree->root.version, damaged + 1);
            g_autofree char *quarantine = quarantine_name(&left, "damaged");
            assert_non_null(quarantine);
            assert_int_equal(size_of(quarantine), size_of(journal));
            stop_node(&left);
        }
    }
}

/* What was there before the file's space was used again is no part of it. */
static void test_what_is_left_of_earlier_use(void **state)
{
    struct node *node = *state;

    for (unsigned i = 0; i < 6; i++) {
        for (unsigned j = 0; j < 12 - 2 * i; j++) {
            g_autofree char *path = g_strdup_printf("d%u-%u", i, j);
            make(node, CHANGE_MKDIR, path);
        }
        assert_survives(node);
        struct node left;
        crash(node, &left);
        g_autofree char *journal = beside(&left, ".journal");
        /* The first byte of the area in use: as if nothing of it had been written yet. */
        size_t begin = i % 2 ? JOURNAL_AREA_SIZE : 0;
        FILE *file = fopen(journal, "r+");
        assert_non_null(file);
        assert_int_equal(fseek(file, (long)begin, SEEK_SET), 0);
        assert_int_equal(fputc('x', file), 'x');
        fclose(file);
        open_node(&left);
        g_autofree char *quarantine = quarantine_name(&left, "damaged");
        assert_non_null(quarantine); /* whole records follow, of its own generation */
        stop_node(&left);
        assert_int_equal(store_flush(node->store), 0);
        assert_survives(node);
    }
}

static void test_no_journal_of_ours(void **state)
{
    struct node *node = *state;
    static const char text[] = "this is no journal at all, but long enough to be mistaken for one";

    for (size_t size = 0; size < sizeof(text); size++) {
        struct node left;
        make(node, CHANGE_MKDIR, "d");
        make(node, CHANGE_DELETE, "d");
        assert_int_equal(store_flush(node->store), 0);
        crash(node, &left);
        g_autofree char *journal = beside(&left, ".journal");
        assert_true(g_file_set_contents(journal, text, (gssize)size, NULL));
        open_node(&left);
        assert_same_state(node, &left);
        make(&left, CHANGE_MKDIR, "e");
        assert_survives(&left);
        stop_node(&left);
    }
}

/* ---- Copies, and folding without a start ---- */

static void test_backup_has_what_is_in_the_journal(void **state)
{
    struct node *node = *state;
    struct node copy = {.options.busy_timeout = 20};
    g_autofree char *message = NULL;

    copy.place.path = beside(node, ".copy");
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *path = g_strdup_printf("d%u", i);
        make(node, CHANGE_MKDIR, path);
        if (i == 2)
            assert_int_equal(store_flush(node->store), 0);
        assert_int_equal(tools_backup(node->place.path, copy.place.path, &message), 0);
        open_node(&copy);
        assert_same_state(node, &copy);
        close_node(&copy);
    }
    g_autofree char *names = place_names(&node->place);
    assert_null(strstr(names, "copy.")); /* nothing is left beside it */
    assert_survives(node);
    g_free(copy.place.path);
}

static void test_fold_left(void **state)
{
    struct node *node = *state;
    struct node left;
    struct replay_report report;
    g_autofree char *message = NULL;
    g_autofree char *missing = beside(node, ".missing");

    make(node, CHANGE_MKDIR, "d");
    make(node, CHANGE_MKDIR, "e");
    crash(node, &left);
    assert_int_equal(tools_fold(left.place.path, &report, &message), 0);
    assert_int_equal(report.changes, 2);
    assert_int_equal(report.version_before, 1);
    assert_int_equal(report.version, 3);
    assert_null(report.quarantine);
    assert_int_equal(stored_version(&left), 3);
    g_autofree char *names = place_names(&left.place);
    assert_string_equal(names, "config.db");
    assert_int_equal(tools_fold(left.place.path, &report, &message), 0);
    assert_int_equal(report.changes, 0);
    copy_beside(node, &left, ".journal");
    place_run(&left.place, "UPDATE tree SET version = 9 WHERE inode = 0");
    assert_int_equal(tools_fold(left.place.path, &report, &message), 0);
    assert_int_equal(report.changes, 0);
    assert_non_null(strstr(report.quarantine, "config.db.journal.overtaken-"));
    g_free(report.quarantine);
    assert_int_equal(tools_fold(missing, &report, &message), -ENOENT);
    assert_non_null(strstr(message, "there is no"));
    assert_false(g_file_test(missing, G_FILE_TEST_EXISTS));
    stop_node(&left);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_give_what_was_put_in),
        cmocka_unit_test(test_a_damaged_byte_is_found),
        cmocka_unit_test_setup_teardown(test_size_of_records, start, stop),
        cmocka_unit_test_setup_teardown(test_config_db_stays_behind_and_nothing_is_lost, start,
                                        stop),
        cmocka_unit_test_setup_teardown(test_a_clean_stop_leaves_nothing_outside, start, stop),
        cmocka_unit_test(test_no_journal),
        cmocka_unit_test_setup_teardown(test_left_behind_for_one_without_a_journal, start, stop),
        cmocka_unit_test_setup_teardown(test_random_changes, start, stop),
        cmocka_unit_test_setup_teardown(test_much_is_folded_by_itself, start, stop),
        cmocka_unit_test_setup_teardown(test_a_full_journal_goes_on, start, stop),
        cmocka_unit_test_setup_teardown(test_large_drafts_go_to_config_db, start, stop),
        cmocka_unit_test_setup_teardown(test_a_synchronisation_goes_to_config_db, start, stop),
        cmocka_unit_test(test_the_flusher_folds_in_time),
        cmocka_unit_test(test_who_finds_it_late_folds),
        cmocka_unit_test(test_changes_are_refused_when_they_cannot_be_brought_in),
        cmocka_unit_test_setup_teardown(test_a_start_that_cannot_bring_in, start, stop),
        cmocka_unit_test_setup_teardown(test_overtaken, start, stop),
        cmocka_unit_test_setup_teardown(test_a_restored_backup, start, stop),
        cmocka_unit_test_setup_teardown(test_ten_are_kept, start, stop),
        cmocka_unit_test_setup_teardown(test_a_refused_database, start, stop),
        cmocka_unit_test_setup_teardown(test_torn_at_every_byte, start, stop),
        cmocka_unit_test_setup_teardown(test_damaged_in_the_middle, start, stop),
        cmocka_unit_test_setup_teardown(test_what_is_left_of_earlier_use, start, stop),
        cmocka_unit_test_setup_teardown(test_no_journal_of_ours, start, stop),
        cmocka_unit_test_setup_teardown(test_backup_has_what_is_in_the_journal, start, stop),
        cmocka_unit_test_setup_teardown(test_fold_left, start, stop),
    };

    place_use_memory();
    int result = cmocka_run_group_tests(tests, NULL, NULL);
    place_leave_memory();
    return result;
}
