/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What waits to be written into the history: changes as they were published, and whole trees that
 * are to be compared with what the history has. */
#include "history/record.h"

#include <string.h>

#include "core/path.h"

/* So much is added at most before it is seen whether that is too much. */
#define PRUNE_BYTES (2u * 1024 * 1024)
#define ROW_BYTES 200u /* without a content */

static struct entry *ref(struct entry *entry)
{
    return entry ? entry_ref(entry) : NULL;
}

/* What was there before is in the history, in the tree, or counted with an earlier record; a file
 * that grows in place has its content once. */
static size_t bytes_of(const struct record *record)
{
    const struct buffer *before = record->before ? record->before->content : NULL;
    const struct buffer *after = record->after ? record->after->content : NULL;

    return sizeof(*record) + 2 * sizeof(struct entry) +
           (after && after != before ? after->capacity : 0);
}

struct record *record_of_effect(const struct effect *effect, bool replayed)
{
    if (!effect->path || path_is_below_lock(effect->path))
        return NULL;
    size_t path_size = strlen(effect->path) + 1;
    size_t to_size = effect->to ? strlen(effect->to) + 1 : 0;
    struct record *record = g_malloc(sizeof(*record) + path_size + to_size);
    char *paths = (char *)(record + 1);
    memcpy(paths, effect->path, path_size);
    if (effect->to)
        memcpy(paths + path_size, effect->to, to_size);
    *record = (struct record){
        .version = effect->version,
        .time = effect->time,
        .node = effect->writer,
        .operation = (enum history_operation)effect->operation,
        .asker = effect->asker,
        .replayed = replayed,
        .truncated = effect->truncated,
        .path = paths,
        .to = effect->to ? paths + path_size : NULL,
        .before = ref(effect->before),
        .after = ref(effect->after),
        .replaced = ref(effect->replaced),
    };
    record->bytes = bytes_of(record);
    return record;
}

void record_absorb(struct record *record, struct record *step)
{
    struct entry *between = record->before;

    record->before = step->before;
    step->before = between;
    if (step->operation == HISTORY_WRITE)
        record->operation = HISTORY_WRITE;
    record->bytes = bytes_of(record);
}

struct record *record_of_tree(const struct tree *tree, enum history_operation operation,
                              const struct effect *effect)
{
    struct record *record = g_new(struct record, 1);
    GHashTableIter iter;
    gpointer entry;

    *record = (struct record){
        .version = effect ? effect->version : tree->root.version,
        .time = effect ? effect->time : tree->root.mtime,
        .node = effect ? effect->writer : tree->root.writer,
        .operation = operation,
        .asker = effect ? effect->asker : 0,
        .tree = g_ptr_array_new_with_free_func(entry_destroy),
    };
    g_hash_table_iter_init(&iter, tree->entries);
    while (g_hash_table_iter_next(&iter, NULL, &entry))
        g_ptr_array_add(record->tree, entry_ref(entry));
    record->bytes = sizeof(*record) + record->tree->len * sizeof(gpointer);
    return record;
}

void record_free(struct record *record)
{
    if (!record)
        return;
    entry_unref(record->before);
    entry_unref(record->after);
    entry_unref(record->replaced);
    if (record->tree)
        g_ptr_array_unref(record->tree);
    g_free(record);
}

/* --- Rows --- */

static int add(struct record_writer *writer, const struct history_row *row)
{
    int64_t id = history_store_add(writer->store, row);

    writer->rows++;
    writer->unpruned += ROW_BYTES + (row->after ? row->after->size : 0);
    if (id < 0 || writer->unpruned < PRUNE_BYTES)
        return id < 0 ? (int)id : 0;
    writer->unpruned = 0;
    return history_store_prune(writer->store, writer->now);
}

static struct history_row row_of(const struct record_writer *writer, const struct record *record,
                                 const char *path)
{
    return (struct history_row){
        .version = record->version,
        .time = record->time,
        .node = record->node,
        .operation = record->operation,
        .path = path,
        .before_known = true,
        .actor = writer->actor,
        .private = path_is_private(path) && !writer->private,
    };
}

/* A name that is never kept and is renamed over a file was only a step in writing that; the other
 * way round the file is gone, as far as the history goes. */
static int write_rename(struct record_writer *writer, const struct record *record)
{
    bool from = !patterns_skip(writer->patterns, record->path);
    bool to = record->to && !patterns_skip(writer->patterns, record->to);
    int error = 0;

    if (from) {
        struct history_row row = row_of(writer, record, record->path);
        row.before = record->before;
        row.other = to ? record->to : NULL;
        row.operation = to ? HISTORY_RENAME : HISTORY_DELETE;
        error = add(writer, &row);
    }
    if (to && !error) {
        struct history_row row = row_of(writer, record, record->to);
        row.before = record->replaced;
        row.after = record->after;
        row.other = from ? record->path : NULL;
        row.operation = from ? HISTORY_RENAME : record->replaced ? HISTORY_WRITE : HISTORY_CREATE;
        error = add(writer, &row);
    }
    return error;
}

/* --- Trees --- */

static const struct entry *above(GHashTable *by_inode, const struct entry *entry)
{
    return entry->parent == 0 ? NULL
                              : g_hash_table_lookup(by_inode, (gpointer)(uintptr_t)entry->parent);
}

/* From its end to its beginning: moving what is there for each level takes too long for many. */
static char *path_of(GHashTable *by_inode, const struct entry *entry)
{
    const struct entry *up;
    size_t size = entry->name_length;

    for (up = above(by_inode, entry); up; up = above(by_inode, up))
        size += up->name_length + 1;
    char *path = g_malloc(size + 1);
    char *to = path + size;
    for (*to = '\0', up = entry; up; up = above(by_inode, up)) {
        if (up != entry)
            *--to = '/';
        to -= up->name_length;
        memcpy(to, up->name, up->name_length);
    }
    return path;
}

/* All paths of the entries: path (owned) → entry (borrowed). */
static GHashTable *paths_of(const GPtrArray *entries)
{
    GHashTable *paths = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GHashTable) by_inode = g_hash_table_new(g_direct_hash, g_direct_equal);

    for (guint i = 0; i < entries->len; i++) {
        struct entry *entry = entries->pdata[i];
        g_hash_table_insert(by_inode, (gpointer)(uintptr_t)entry->inode, entry);
    }
    for (guint i = 0; i < entries->len; i++)
        g_hash_table_insert(paths, path_of(by_inode, entries->pdata[i]), entries->pdata[i]);
    return paths;
}

static bool is_known(const struct history_known *known, const struct entry *entry)
{
    return known && known->type == entry->type && known->version == entry->version &&
           known->mtime == entry->mtime && known->size == entry->size;
}

static gint compare_texts(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The paths that differ, in order, borrowed. */
static GPtrArray *differing(const struct record_writer *writer, GHashTable *paths,
                            GHashTable *known)
{
    GPtrArray *list = g_ptr_array_new();
    GHashTableIter iter;
    gpointer path, value;

    g_hash_table_iter_init(&iter, paths);
    while (g_hash_table_iter_next(&iter, &path, &value)) {
        if (!is_known(g_hash_table_lookup(known, path), value) &&
            !patterns_skip(writer->patterns, path))
            g_ptr_array_add(list, path);
    }
    g_hash_table_iter_init(&iter, known);
    while (g_hash_table_iter_next(&iter, &path, &value)) {
        const struct history_known *last = value;
        if (last->type != 0 && !g_hash_table_contains(paths, path))
            g_ptr_array_add(list, path);
    }
    g_ptr_array_sort(list, compare_texts);
    return list;
}

static int write_difference(struct record_writer *writer, const struct record *record,
                            const char *path, const struct entry *entry)
{
    struct history_row row = row_of(writer, record, path);

    row.before_known = false;
    row.after = entry;
    if (record->operation == HISTORY_FOUND) {
        row.time = writer->now;
        row.version = entry ? entry->version : record->version;
        row.node = entry ? entry->writer : record->node;
    }
    return add(writer, &row);
}

static int write_tree(struct record_writer *writer, const struct record *record)
{
    GHashTable *known = history_store_known(writer->store);

    if (!known)
        return -EIO;
    GHashTable *paths = paths_of(record->tree);
    GPtrArray *list = differing(writer, paths, known);
    int error = 0;
    for (guint i = 0; i < list->len && !error; i++)
        error = write_difference(writer, record, list->pdata[i],
                                 g_hash_table_lookup(paths, list->pdata[i]));
    g_ptr_array_unref(list);
    g_hash_table_unref(paths);
    g_hash_table_unref(known);
    return error;
}

int record_write(struct record_writer *writer, const struct record *record)
{
    if (record->tree)
        return write_tree(writer, record);
    if (record->to)
        return write_rename(writer, record);
    if (patterns_skip(writer->patterns, record->path))
        return 0;
    struct history_row row = row_of(writer, record, record->path);
    row.before = record->before;
    row.after = record->after;
    return add(writer, &row);
}

int record_write_gap(struct record_writer *writer, uint64_t version, uint64_t left_out)
{
    const struct history_row row = {
        .version = version,
        .time = writer->now,
        .operation = HISTORY_GAP,
        .path = "",
        .before_known = true,
    };
    int error = add(writer, &row);

    return error ? error : history_store_left_out(writer->store, left_out);
}
