/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A node's state and its database, for tests of the store, of the journal and of the tools. */
#include "store_node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "commit.h"
#include "core/apply.h"
#include "core/index.h"

int node_try_open(struct node *node, char **message)
{
    struct tree *tree;
    int error = store_open(node->place.path, &node->options, &node->store, &tree, message);

    if (error)
        return error;
    node->state = state_new(tree, 0);
    node->draft = draft_new(node->state);
    return 0;
}

void node_open(struct node *node)
{
    g_autofree char *message = NULL;
    int error = node_try_open(node, &message);

    if (error)
        fail_msg("%d: %s", error, message);
}

void node_open_with(struct node *node, const struct store_options *options)
{
    node->options = options ? *options : (struct store_options){0};
    node_open(node);
}

void node_close(struct node *node)
{
    store_close(g_steal_pointer(&node->store));
    draft_free(g_steal_pointer(&node->draft));
    state_free(g_steal_pointer(&node->state));
}

void node_reopen(struct node *node)
{
    node_close(node);
    node_open_with(node, NULL);
}

void node_start(struct node *node, uint64_t fold_delay)
{
    *node = (struct node){.writer = 3, .time = 1000};
    place_start(&node->place);
    node_open_with(node, &(struct store_options){
                             .fold_delay = fold_delay,
                             .busy_timeout = fold_delay > 0 ? 20 : 0,
                         });
}

void node_stop(struct node *node)
{
    if (node->store)
        node_close(node);
    place_stop(&node->place);
}

int node_apply(struct node *node, struct change change)
{
    change.writer = node->writer;
    change.time = node->time++;
    return apply(node->draft, &change, NULL);
}

void node_draft(struct node *node, enum change_operation operation, const char *path,
                const char *to, const void *data, size_t size)
{
    struct change change = {.operation = operation,
                            .truncate = true,
                            .path = path,
                            .to = to,
                            .data = data,
                            .size = (uint32_t)size};

    if (operation == CHANGE_MTIME)
        change.offset = (uint32_t)size;
    int result = node_apply(node, change);
    if (result)
        fail_msg("%d: %s", result, path);
}

int node_commit(struct node *node)
{
    return commit_draft(node->store, node->state, node->draft);
}

void node_change(struct node *node, enum change_operation operation, const char *path,
                 const char *to, const char *text)
{
    node_draft(node, operation, path, to, text, text ? strlen(text) : 0);
    assert_int_equal(node_commit(node), 0);
}

void node_make(struct node *node, enum change_operation operation, const char *path)
{
    assert_int_equal(node_apply(node, (struct change){.operation = operation, .path = path}), 0);
    assert_int_equal(node_commit(node), 0);
}

void node_put(struct node *node, const char *path, uint32_t offset, const void *data, uint32_t size,
              bool truncate)
{
    assert_int_equal(node_apply(node, (struct change){.operation = CHANGE_WRITE,
                                                      .path = path,
                                                      .offset = offset,
                                                      .data = data,
                                                      .size = size,
                                                      .truncate = truncate}),
                     0);
    assert_int_equal(node_commit(node), 0);
}

void node_put_text(struct node *node, const char *path, const char *text)
{
    node_put(node, path, 0, text, (uint32_t)strlen(text), true);
}

void node_move(struct node *node, const char *path, const char *to)
{
    assert_int_equal(
        node_apply(node, (struct change){.operation = CHANGE_RENAME, .path = path, .to = to}), 0);
    assert_int_equal(node_commit(node), 0);
}

/* Row 0 of a synchronisation's commit, which has no history in common. */
void node_synchronise(struct node *node, uint64_t version)
{
    g_autofree char *name = g_strdup_printf("synchronised-%" G_GUINT64_FORMAT, version);
    struct entry *entry = entry_new(version, 0, ENTRY_DIRECTORY, name, strlen(name), NULL, 0);

    entry->version = version;
    draft_put(node->draft, entry);
    node->draft->root = (struct root){version, 2, 5000};
    node->draft->rebuild = true;
    assert_int_equal(node_commit(node), 0);
}

/* The rows as another program sees them at this moment. */
void node_assert_rows(const struct node *node, const char *query, const char *expected)
{
    sqlite3 *db = place_connect(node->place.path);
    g_autofree char *rows = place_rows(db, query);

    sqlite3_close(db);
    assert_string_equal(rows, expected);
}

void node_assert_intact(const struct node *node)
{
    node_assert_rows(node, "PRAGMA integrity_check", "ok\n");
}

/* What config.db itself says, without its WAL. */
char *node_file_rows(const struct node *node, const char *query)
{
    g_autofree char *uri = g_strdup_printf("file:%s?immutable=1", node->place.path);
    sqlite3 *db;

    assert_int_equal(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL),
                     SQLITE_OK);
    char *rows = place_rows(db, query);
    sqlite3_close(db);
    return rows;
}

/* The version that config.db itself is at. */
uint64_t node_stored_version(const struct node *node)
{
    sqlite3 *db = place_connect(node->place.path);
    g_autofree char *rows = place_rows(db, "SELECT version FROM tree WHERE inode = 0");

    sqlite3_close(db);
    return g_ascii_strtoull(rows, NULL, 10);
}

char *node_beside(const struct node *node, const char *suffix)
{
    return g_strconcat(node->place.path, suffix, NULL);
}

size_t size_of(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 ? (size_t)info.st_size : 0;
}

void node_copy_beside(const struct node *from, const struct node *to, const char *suffix)
{
    g_autofree char *source = node_beside(from, suffix);
    g_autofree char *target = node_beside(to, suffix);

    if (g_file_test(source, G_FILE_TEST_EXISTS))
        place_copy(source, target);
}

void node_assert_same_state(const struct node *a, const struct node *b)
{
    struct buffer *first = index_build(a->draft);
    struct buffer *second = index_build(b->draft);

    assert_int_equal(first->capacity, second->capacity);
    assert_memory_equal(first->data, second->data, first->capacity);
    buffer_unref(first);
    buffer_unref(second);
}

/* What `node` would leave if it were killed now, in a place of its own, not opened yet. */
void node_crash(const struct node *node, struct node *left)
{
    *left = (struct node){.options = node->options, .writer = 3, .time = 5000};
    place_start(&left->place);
    node_copy_beside(node, left, "");
    node_copy_beside(node, left, "-wal");
    node_copy_beside(node, left, ".journal");
}

void node_assert_no_quarantine(const struct node *node)
{
    g_autofree char *names = place_names(&node->place);

    if (strstr(names, ".journal."))
        fail_msg("%s", names);
}

/* A start after that finds the same state, and takes changes. */
void node_assert_survives(const struct node *node)
{
    struct node left;

    node_crash(node, &left);
    node_open(&left);
    node_assert_same_state(node, &left);
    node_assert_no_quarantine(&left);
    node_make(&left, CHANGE_MKDIR, "after-the-crash");
    node_close(&left);
    g_autofree char *names = place_names(&left.place);
    assert_string_equal(names, "config.db");
    node_stop(&left);
}

/* Everything that a tree holds, in a text. */
char *tree_description(const struct tree *tree)
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

int node_set_up(void **state)
{
    struct node *node = g_new0(struct node, 1);

    node_start(node, FOLD_DELAY_LONG);
    *state = node;
    return 0;
}

int node_tear_down(void **state)
{
    node_stop(*state);
    g_free(*state);
    return 0;
}
