/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The disk without SQLite: a database as a map of rows, and safety copies. The linker sends all
 * calls of the store here first. */
#include <errno.h>
#include <string.h>

#include "core/draft.h"
#include "core/state.h"
#include "disk_internal.h"
#include "store/safety.h"
#include "store/store.h"

#define FAST_NAME "sim-fast"
#define SQLITE_NAME "sim"
#define COPY_NAME "/config.db.kept-"

/* ---- Rows without SQLite ---- */

struct rows *rows_new(void)
{
    struct rows *rows = g_new0(struct rows, 1);

    rows->entries =
        g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, (GDestroyNotify)entry_unref);
    rows->root.version = 1;
    return rows;
}

void rows_free(struct rows *rows)
{
    if (!rows)
        return;
    g_hash_table_unref(rows->entries);
    g_free(rows);
}

struct rows *rows_copy(const struct rows *rows)
{
    struct rows *copy = rows_new();
    GHashTableIter iter;
    gpointer inode, entry;

    g_hash_table_iter_init(&iter, rows->entries);
    while (g_hash_table_iter_next(&iter, &inode, &entry))
        g_hash_table_insert(copy->entries, inode, entry_ref(entry));
    copy->root = rows->root;
    return copy;
}

/* What a load makes of them: nothing that was only in memory may come back. */
static struct tree *rows_load(const struct rows *rows)
{
    struct tree *tree = tree_new();
    GHashTableIter iter;
    gpointer inode, entry;

    g_hash_table_iter_init(&iter, rows->entries);
    while (g_hash_table_iter_next(&iter, &inode, &entry)) {
        const struct entry *stored = entry;
        struct buffer *content =
            stored->content ? buffer_copy(stored->content->data, stored->size) : NULL;
        struct entry *loaded = entry_new(stored->inode, stored->parent, stored->type, stored->name,
                                         stored->name_length, content, content ? stored->size : 0);
        loaded->version = stored->version;
        loaded->writer = stored->writer;
        loaded->mtime = stored->mtime;
        buffer_unref(content);
        tree_put(tree, loaded);
    }
    tree->root = rows->root;
    return tree;
}

static void rows_commit(struct rows *rows, const struct draft *draft)
{
    GHashTableIter iter;
    gpointer inode, entry;

    g_hash_table_iter_init(&iter, draft->entries);
    while (g_hash_table_iter_next(&iter, &inode, &entry)) {
        if (entry)
            g_hash_table_insert(rows->entries, inode, entry_ref(entry));
        else
            g_hash_table_remove(rows->entries, inode);
    }
    rows->root = draft->root;
}

/* ---- Safety copies ---- */

void copy_free(gpointer pointer)
{
    struct copy *copy = pointer;

    rows_free(copy->rows);
    g_free(copy);
}

static void complain(struct disk *disk, const char *what)
{
    if (disk->listener)
        disk->listener->copies_wrong(disk->listener, what);
}

/* Copies that stay and are newer than `name`: by their date, or as they were made just now. */
static unsigned count_newer(const struct disk *disk, const char *name)
{
    GHashTableIter iter;
    gpointer other, copy;
    unsigned count = 0;

    g_hash_table_iter_init(&iter, disk->copies);
    while (g_hash_table_iter_next(&iter, &other, &copy))
        count += ((struct copy *)copy)->stored &&
                 (strcmp(other, name) > 0 || g_strcmp0(other, disk->kept) == 0);
    return count;
}

/* Only the newest ten need to stay; of attempts that took nothing away, none. */
bool disk_remove_copy(struct disk *disk, const char *name)
{
    const struct copy *copy = g_hash_table_lookup(disk->copies, name);

    if (!copy)
        return false;
    if (copy->stored &&
        (g_strcmp0(name, disk->kept) == 0 || count_newer(disk, name) < SAFETY_COPIES_MAX))
        complain(disk, "one of the ten newest safety copies is deleted");
    g_hash_table_remove(disk->copies, name);
    return true;
}

/* What an attempt has written for this process, but for what is there to stay. */
static void settle_copies(struct disk *disk)
{
    GHashTableIter iter;
    gpointer copy;

    g_hash_table_iter_init(&iter, disk->copies);
    while (g_hash_table_iter_next(&iter, NULL, &copy))
        ((struct copy *)copy)->stored = true;
}

static void check_attempts(struct disk *disk)
{
    GHashTableIter iter;
    gpointer copy;
    unsigned attempts = 0;

    g_hash_table_iter_init(&iter, disk->copies);
    while (g_hash_table_iter_next(&iter, NULL, &copy))
        attempts += !((struct copy *)copy)->stored;
    if (attempts > 1)
        complain(disk, "one own state has more than one safety copy");
}

static struct copy *last_copy(const struct disk *disk)
{
    return disk->kept ? g_hash_table_lookup(disk->copies, disk->kept) : NULL;
}

bool disk_has_kept(const struct disk *disk, const struct entry *entry)
{
    const struct copy *copy = last_copy(disk);
    const struct entry *kept =
        copy ? g_hash_table_lookup(copy->rows->entries, (gpointer)(uintptr_t)entry->inode) : NULL;

    return kept && kept->version == entry->version && kept->size == entry->size &&
           strcmp(kept->name, entry->name) == 0 && kept->content == entry->content;
}

void disk_forget_kept(struct disk *disk)
{
    g_clear_pointer(&disk->kept, g_free);
}

void disk_add_copies(struct disk *disk, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct copy *copy = g_new(struct copy, 1);
        *copy = (struct copy){rows_new(), true, true};
        g_hash_table_insert(disk->copies,
                            g_strdup_printf("%s" COPY_NAME "20000101-%06u-1", disk->directory, i),
                            copy);
    }
}

unsigned disk_count_copies(const struct disk *disk, unsigned *old)
{
    GHashTableIter iter;
    gpointer name;

    *old = 0;
    g_hash_table_iter_init(&iter, disk->copies);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        *old += strstr(name, COPY_NAME "20000101-") != NULL;
    return g_hash_table_size(disk->copies);
}

bool disk_is_kept(const struct disk *disk, const char *name)
{
    GHashTableIter iter, entries;
    gpointer copy, entry;

    g_hash_table_iter_init(&iter, disk->copies);
    while (g_hash_table_iter_next(&iter, NULL, &copy)) {
        g_hash_table_iter_init(&entries, ((struct copy *)copy)->rows->entries);
        while (g_hash_table_iter_next(&entries, NULL, &entry)) {
            if (strcmp(((struct entry *)entry)->name, name) == 0)
                return true;
        }
    }
    return false;
}

const char *disk_safety_directory(const struct disk *disk)
{
    return disk->directory;
}

/* On a full disk there may be room for an empty database, and none for what belongs into it. */
static int open_copy(struct disk *disk, const char *path, struct store **store, struct tree **tree,
                     char **message)
{
    *message = NULL;
    *tree = NULL;
    *store = NULL;
    if (disk_is_useless(disk)) {
        *message = g_strdup("the disk is failing");
        return -EIO;
    }
    struct copy *copy = g_new(struct copy, 1);
    *copy = (struct copy){rows_new(), false, false};
    g_hash_table_insert(disk->copies, g_strdup(path), copy);
    g_free(disk->kept);
    disk->kept = g_strdup(path);
    *tree = tree_new();
    *store = (struct store *)(void *)&disk->copies;
    return 0;
}

static int commit_copy(struct disk *disk, const struct draft *draft)
{
    struct copy *copy = last_copy(disk);

    if (disk_is_useless(disk))
        return -EIO;
    if (disk->full)
        return -ENOSPC;
    rows_commit(copy->rows, draft);
    copy->whole = true;
    return 0;
}

/* ---- The store's functions ---- */

int __real_store_open(const char *path, const struct store_options *options, struct store **store,
                      struct tree **tree, char **message);
int __real_store_commit(struct store *store, const struct draft *draft);
int __real_store_flush(struct store *store);
void __real_store_close(struct store *store);
void __real_store_set_listener(struct store *store, struct store_listener *listener);
const char *__real_store_error(const struct store *store);
const struct replay_report *__real_store_recovery(const struct store *store);
int __wrap_store_open(const char *path, const struct store_options *options, struct store **store,
                      struct tree **tree, char **message);
int __wrap_store_commit(struct store *store, const struct draft *draft);
int __wrap_store_flush(struct store *store);
void __wrap_store_close(struct store *store);
void __wrap_store_set_listener(struct store *store, struct store_listener *listener);
const char *__wrap_store_error(const struct store *store);
const struct replay_report *__wrap_store_recovery(const struct store *store);

/* A disk that is its own open store. NULL: a real store. */
static struct disk *fast_disk(const struct store *store)
{
    return disk_at(store, 0);
}

/* A safety copy that is open stands for a store by the place where its disk keeps it. */
static struct disk *copy_disk(const struct store *store)
{
    return disk_at(store, offsetof(struct disk, copies));
}

const char *disk_vfs(const struct disk *disk)
{
    return disk->sqlite ? SQLITE_NAME : FAST_NAME;
}

int __wrap_store_open(const char *path, const struct store_options *options, struct store **store,
                      struct tree **tree, char **message)
{
    struct disk *disk = disk_of(path);

    if (disk && strstr(path, COPY_NAME))
        return open_copy(disk, path, store, tree, message);
    if (disk)
        settle_copies(disk);
    if (!disk || disk->sqlite)
        return __real_store_open(path, options, store, tree, message);
    *message = NULL;
    *tree = rows_load(disk->rows);
    *store = (struct store *)disk;
    return 0;
}

static int commit_fast(struct disk *disk, const struct draft *draft)
{
    disk_count_step(disk);
    if (disk_is_useless(disk) || (disk->bad_block && draft->rebuild))
        return -EIO;
    if (disk->full)
        return -ENOSPC;
    rows_commit(disk->rows, draft);
    disk_count_step(disk);
    return disk->crashed ? -EIO : 0;
}

int __wrap_store_commit(struct store *store, const struct draft *draft)
{
    struct disk *fast = fast_disk(store);

    if (copy_disk(store))
        return commit_copy(copy_disk(store), draft);
    struct disk *disk = fast ? fast : disk_of(store_path(store));
    if (draft->rebuild)
        check_attempts(disk);
    disk->in_rebuild = draft->rebuild;
    int error = fast ? commit_fast(disk, draft) : __real_store_commit(store, draft);
    disk->in_rebuild = false;
    if (!error && draft->rebuild)
        settle_copies(disk);
    if (!disk->listener || disk->crashed)
        return error;
    if (!error)
        disk->listener->stored(disk->listener);
    else if (!fast && !draft_is_empty(draft))
        disk->listener->refused(disk->listener, draft);
    return error;
}

int __wrap_store_flush(struct store *store)
{
    return fast_disk(store) ? 0 : __real_store_flush(store);
}

void __wrap_store_close(struct store *store)
{
    if (!fast_disk(store) && !copy_disk(store))
        __real_store_close(store);
}

void __wrap_store_set_listener(struct store *store, struct store_listener *listener)
{
    if (!fast_disk(store))
        __real_store_set_listener(store, listener);
}

const char *__wrap_store_error(const struct store *store)
{
    return copy_disk(store) ? "the disk is full or failing" : __real_store_error(store);
}

const struct replay_report *__wrap_store_recovery(const struct store *store)
{
    static const struct replay_report nothing;

    return fast_disk(store) ? &nothing : __real_store_recovery(store);
}
