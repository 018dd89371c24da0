/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The published tree: what readers see. Altered by state_publish() alone. */
#include "core/tree.h"

#include <errno.h>
#include <string.h>

#include "core/key.h"

static void list_destroy(gpointer list)
{
    g_ptr_array_unref(list);
}

struct tree *tree_new(void)
{
    struct tree *tree = g_new0(struct tree, 1);

    tree->entries = g_hash_table_new_full(g_direct_hash, NULL, NULL, entry_destroy);
    tree->names = g_hash_table_new(name_hash, name_equal);
    tree->children = g_hash_table_new_full(g_direct_hash, NULL, NULL, list_destroy);
    tree->sorted = g_ptr_array_new();
    tree->root.version = 1;
    return tree;
}

void tree_free(struct tree *tree)
{
    if (!tree)
        return;
    tree_forget_order(tree);
    g_hash_table_unref(tree->children);
    g_hash_table_unref(tree->names);
    g_hash_table_unref(tree->entries);
    g_free(tree);
}

/* The children of a directory in ascending inode order; NULL: it never had any. */
static GPtrArray *children_of(const struct tree *tree, uint64_t directory)
{
    return g_hash_table_lookup(tree->children, INODE_KEY(directory));
}

/* The position of the first entry whose inode is not below `inode`. */
static guint find_position(const GPtrArray *by_inode, uint64_t inode)
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

struct entry *tree_named(const struct tree *tree, uint64_t parent, const char *name, size_t length)
{
    return g_hash_table_lookup(tree->names, NAME_KEY(parent, name, length));
}

struct entry *tree_child(const struct tree *tree, uint64_t parent, const char *name)
{
    return tree_named(tree, parent, name, strlen(name));
}

struct entry *tree_lookup(const struct tree *tree, const char *path, int *error)
{
    const char *end = path + strlen(path);
    struct entry *entry = NULL;
    size_t length;

    *error = 0;
    while (path < end) {
        if (entry && !entry_is_directory(entry)) {
            *error = -ENOTDIR;
            return NULL;
        }
        const char *name = path_next_name(&path, end, &length);
        entry = tree_named(tree, entry ? entry->inode : 0, name, length);
        if (!entry) {
            *error = -ENOENT;
            return NULL;
        }
    }
    return entry;
}

char *tree_path_of(const struct tree *tree, uint64_t parent, const char *name)
{
    size_t name_size = strlen(name) + 1;
    size_t size = name_size;
    const struct entry *entry;

    for (uint64_t inode = parent; inode != 0; inode = entry->parent) {
        entry = tree_entry(tree, inode);
        if (!entry)
            return NULL;
        size += entry->name_length + 1;
    }
    /* From its end to its beginning, as the tree leads. */
    char *path = g_malloc(size);
    char *to = path + size - name_size;
    memcpy(to, name, name_size);
    for (uint64_t inode = parent; inode != 0; inode = entry->parent) {
        entry = tree_entry(tree, inode);
        *--to = '/';
        to -= entry->name_length;
        memcpy(to, entry->name, entry->name_length);
    }
    return path;
}

char *tree_path(const struct tree *tree, uint64_t inode)
{
    const struct entry *entry = tree_entry(tree, inode);

    if (inode != 0 && !entry)
        return NULL;
    return entry ? tree_path_of(tree, entry->parent, entry->name) : g_strdup("");
}

uint32_t tree_entry_count(const struct tree *tree)
{
    return g_hash_table_size(tree->entries) + 1;
}

uint32_t tree_child_count(const struct tree *tree, uint64_t inode)
{
    const GPtrArray *children = children_of(tree, inode);

    return children ? children->len : 0;
}

struct entry *tree_next_child(const struct tree *tree, uint64_t inode, uint64_t after)
{
    const GPtrArray *children = children_of(tree, inode);

    if (!children)
        return NULL;
    guint position = after == 0 ? 0 : find_position(children, after + 1);
    return position < children->len ? children->pdata[position] : NULL;
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
    guint position = find_position(by_inode, entry->inode);

    if (position < by_inode->len &&
        ((struct entry *)by_inode->pdata[position])->inode == entry->inode)
        by_inode->pdata[position] = entry;
    else
        g_ptr_array_insert(by_inode, (gint)position, entry);
}

static void list_remove(GPtrArray *by_inode, const struct entry *entry)
{
    guint position = find_position(by_inode, entry->inode);

    if (position < by_inode->len && by_inode->pdata[position] == entry)
        g_ptr_array_remove_index(by_inode, position);
}

/* Takes `entry` out of its directory. */
static void leave_directory(struct tree *tree, const struct entry *entry)
{
    GPtrArray *children = children_of(tree, entry->parent);

    /* While a draft is published, another may have the name already. */
    if (g_hash_table_lookup(tree->names, entry) == entry)
        g_hash_table_remove(tree->names, entry);
    if (children) /* else the directory was removed before what is in it */
        list_remove(children, entry);
}

/* Puts `entry` into its directory, instead of what has its inode or its name there. */
static void enter_directory(struct tree *tree, struct entry *entry)
{
    GPtrArray *children = children_of(tree, entry->parent);

    if (!children) {
        children = g_ptr_array_new();
        g_hash_table_insert(tree->children, INODE_KEY(entry->parent), children);
    }
    list_put(children, entry);
    g_hash_table_add(tree->names, entry);
}

void tree_put(struct tree *tree, struct entry *entry)
{
    struct entry *old = tree_entry(tree, entry->inode);

    if (old) {
        tree->bytes -= old->size;
        if (!name_equal(old, entry))
            leave_directory(tree, old);
    }
    enter_directory(tree, entry);
    if (tree->sorted)
        list_put(tree->sorted, entry);
    tree->bytes += entry->size;
    g_hash_table_replace(tree->entries, INODE_KEY(entry->inode), entry);
}

void tree_remove(struct tree *tree, uint64_t inode)
{
    struct entry *entry = tree_entry(tree, inode);

    if (!entry)
        return;
    tree->bytes -= entry->size;
    leave_directory(tree, entry);
    g_hash_table_remove(tree->children, INODE_KEY(inode));
    if (tree->sorted)
        list_remove(tree->sorted, entry);
    g_hash_table_remove(tree->entries, INODE_KEY(inode));
}
