/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The published tree: what readers see. Altered by state_publish() alone. */
#include "core/tree.h"

#include <errno.h>
#include <string.h>

#include "core/key.h"

struct directory {
    GHashTable *by_name; /* name → struct entry, both borrowed from the tree's entries */
    GPtrArray *by_inode; /* the same entries, ascending */
};

static void directory_free(struct directory *directory)
{
    g_hash_table_unref(directory->by_name);
    g_ptr_array_unref(directory->by_inode);
    g_free(directory);
}

static void entry_destroy(gpointer entry)
{
    entry_unref(entry);
}

static void directory_destroy(gpointer directory)
{
    directory_free(directory);
}

struct tree *tree_new(void)
{
    struct tree *tree = g_new0(struct tree, 1);

    tree->entries = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, entry_destroy);
    tree->directories =
        g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, directory_destroy);
    tree->sorted = g_ptr_array_new();
    tree->root.version = 1;
    return tree;
}

void tree_free(struct tree *tree)
{
    if (!tree)
        return;
    tree_forget_order(tree);
    g_hash_table_unref(tree->directories);
    g_hash_table_unref(tree->entries);
    g_free(tree);
}

static struct directory *find_directory(const struct tree *tree, uint64_t inode)
{
    return g_hash_table_lookup(tree->directories, INODE_KEY(inode));
}

static struct directory *need_directory(struct tree *tree, uint64_t inode)
{
    struct directory *directory = find_directory(tree, inode);

    if (!directory) {
        directory = g_new(struct directory, 1);
        directory->by_name = g_hash_table_new(g_str_hash, g_str_equal);
        directory->by_inode = g_ptr_array_new();
        g_hash_table_insert(tree->directories, INODE_KEY(inode), directory);
    }
    return directory;
}

/* The place of the first entry whose inode is not below `inode`. */
static guint find_place(const GPtrArray *by_inode, uint64_t inode)
{
    guint low = 0;
    guint high = by_inode->len;

    /* New entries have the highest inode of all. */
    if (high > 0 && ((struct entry *)by_inode->pdata[high - 1])->inode < inode)
        return high;
    while (low < high) {
        guint middle = low + (high - low) / 2;
        const struct entry *entry = by_inode->pdata[middle];
        if (entry->inode < inode)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct entry *tree_entry(const struct tree *tree, uint64_t inode)
{
    return g_hash_table_lookup(tree->entries, INODE_KEY(inode));
}

struct entry *tree_child(const struct tree *tree, uint64_t parent, const char *name)
{
    const struct directory *directory = find_directory(tree, parent);

    return directory ? g_hash_table_lookup(directory->by_name, name) : NULL;
}

struct entry *tree_lookup(const struct tree *tree, const char *path, int *error)
{
    struct entry *entry = NULL;
    char name[NAME_MAX_STORED + 1];

    *error = 0;
    while (*path) {
        if (entry && !entry_is_directory(entry)) {
            *error = -ENOTDIR;
            return NULL;
        }
        path = path_next_name(path, name);
        entry = path ? tree_child(tree, entry ? entry->inode : 0, name) : NULL;
        if (!entry) {
            *error = -ENOENT;
            return NULL;
        }
    }
    return entry;
}

char *tree_path(const struct tree *tree, uint64_t inode)
{
    GString *path = g_string_new(NULL);

    while (inode != 0) {
        const struct entry *entry = tree_entry(tree, inode);
        if (!entry) {
            g_string_free(path, TRUE);
            return NULL;
        }
        if (path->len > 0)
            g_string_prepend_c(path, '/');
        g_string_prepend_len(path, entry->name, entry->name_length);
        inode = entry->parent;
    }
    return g_string_free(path, FALSE);
}

char *tree_path_of(const struct tree *tree, uint64_t parent, const char *name)
{
    g_autofree char *directory = tree_path(tree, parent);

    if (!directory)
        return NULL;
    return *directory ? g_strconcat(directory, "/", name, NULL) : g_strdup(name);
}

uint32_t tree_entry_count(const struct tree *tree)
{
    return g_hash_table_size(tree->entries) + 1;
}

uint32_t tree_child_count(const struct tree *tree, uint64_t inode)
{
    const struct directory *directory = find_directory(tree, inode);

    return directory ? directory->by_inode->len : 0;
}

struct entry *tree_next_child(const struct tree *tree, uint64_t inode, uint64_t after)
{
    const struct directory *directory = find_directory(tree, inode);

    if (!directory)
        return NULL;
    guint place = after == 0 ? 0 : find_place(directory->by_inode, after + 1);
    return place < directory->by_inode->len ? directory->by_inode->pdata[place] : NULL;
}

static int compare_inodes(gconstpointer a, gconstpointer b)
{
    const struct entry *first = *(struct entry *const *)a;
    const struct entry *second = *(struct entry *const *)b;

    return (first->inode > second->inode) - (first->inode < second->inode);
}

GPtrArray *tree_sorted(const struct tree *tree)
{
    GPtrArray *sorted = g_ptr_array_sized_new(g_hash_table_size(tree->entries));
    GHashTableIter iter;
    gpointer entry;

    if (tree->sorted) {
        g_ptr_array_extend(sorted, tree->sorted, NULL, NULL);
        return sorted;
    }
    g_hash_table_iter_init(&iter, tree->entries);
    while (g_hash_table_iter_next(&iter, NULL, &entry))
        g_ptr_array_add(sorted, entry);
    g_ptr_array_sort(sorted, compare_inodes);
    return sorted;
}

void tree_forget_order(struct tree *tree)
{
    g_clear_pointer(&tree->sorted, g_ptr_array_unref);
}

void tree_keep_order(struct tree *tree)
{
    if (!tree->sorted)
        tree->sorted = tree_sorted(tree);
}

/* Puts `entry` into a list, instead of another of its inode if there is one. */
static void list_put(GPtrArray *by_inode, struct entry *entry)
{
    guint place = find_place(by_inode, entry->inode);

    if (place < by_inode->len && ((struct entry *)by_inode->pdata[place])->inode == entry->inode)
        by_inode->pdata[place] = entry;
    else
        g_ptr_array_insert(by_inode, (gint)place, entry);
}

static void list_remove(GPtrArray *by_inode, const struct entry *entry)
{
    guint place = find_place(by_inode, entry->inode);

    if (place < by_inode->len && by_inode->pdata[place] == entry)
        g_ptr_array_remove_index(by_inode, place);
}

/* Takes `entry` out of its directory's lists. */
static void unlist(struct tree *tree, const struct entry *entry)
{
    struct directory *directory = find_directory(tree, entry->parent);

    if (g_hash_table_lookup(directory->by_name, entry->name) == entry)
        g_hash_table_remove(directory->by_name, entry->name);
    list_remove(directory->by_inode, entry);
    if (directory->by_inode->len == 0)
        g_hash_table_remove(tree->directories, INODE_KEY(entry->parent));
}

void tree_put(struct tree *tree, struct entry *entry)
{
    struct entry *old = tree_entry(tree, entry->inode);
    struct directory *directory = need_directory(tree, entry->parent);

    if (old) {
        tree->bytes -= old->size;
        if (old->parent != entry->parent || strcmp(old->name, entry->name) != 0) {
            unlist(tree, old);
            directory = need_directory(tree, entry->parent);
        }
    }
    list_put(directory->by_inode, entry);
    if (tree->sorted)
        list_put(tree->sorted, entry);
    g_hash_table_replace(directory->by_name, entry->name, entry);
    tree->bytes += entry->size;
    g_hash_table_replace(tree->entries, INODE_KEY(entry->inode), entry);
}

void tree_remove(struct tree *tree, uint64_t inode)
{
    struct entry *entry = tree_entry(tree, inode);

    if (!entry)
        return;
    tree->bytes -= entry->size;
    unlist(tree, entry);
    if (tree->sorted)
        list_remove(tree->sorted, entry);
    g_hash_table_remove(tree->entries, INODE_KEY(inode));
}
