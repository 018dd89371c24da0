/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nodes that the kernel knows: identities of entries, not inode numbers. */
#include <string.h>

#include "mount/internal.h"

#define KEY(inode) ((gpointer)(uintptr_t)(inode))

/* How long after a change from elsewhere this mount's own changes of the same entry are invalidated
 * too: a page that the kernel read between the two would lack the own change, which the kernel
 * thinks that it has. Any longer time than a change can be under way will do. */
#define FOREIGN_MILLISECONDS 60000u

static uint64_t now_milliseconds(void)
{
    return (uint64_t)g_get_monotonic_time() / 1000;
}

void node_table_init(struct node_table *table)
{
    pthread_mutex_init(&table->lock, NULL);
    table->by_inode = g_hash_table_new(g_direct_hash, g_direct_equal);
    table->root = (struct node){.virtual_name = VIRTUAL_NONE, .is_root = true, .lookups = 1};
}

static void node_free(struct node *node)
{
    block_unref(node->text);
    entry_unref(node->last);
    g_free(node);
}

void node_table_destroy(struct node_table *table)
{
    GHashTableIter iter;
    gpointer node;

    /* Nodes that are gone but still known to the kernel are not listed anywhere; they end with the
     * process. */
    g_hash_table_iter_init(&iter, table->by_inode);
    while (g_hash_table_iter_next(&iter, NULL, &node))
        node_free(node);
    for (int i = 0; i < VIRTUAL_COUNT; i++) {
        if (table->virtuals[i])
            node_free(table->virtuals[i]);
    }
    g_hash_table_unref(table->by_inode);
    pthread_mutex_destroy(&table->lock);
}

struct node *node_of(struct mount *mount, fuse_ino_t ino)
{
    return ino == FUSE_ROOT_ID ? &mount->nodes.root : (struct node *)(uintptr_t)ino;
}

fuse_ino_t node_id(const struct node *node)
{
    return node->is_root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
}

static struct node *node_new(enum virtual_name name, uint64_t inode)
{
    struct node *node = g_new0(struct node, 1);

    node->virtual_name = name;
    node->inode = inode;
    return node;
}

struct node *node_look_up(struct mount *mount, uint64_t inode)
{
    struct node_table *table = &mount->nodes;

    pthread_mutex_lock(&table->lock);
    struct node *node = g_hash_table_lookup(table->by_inode, KEY(inode));
    if (!node) {
        node = node_new(VIRTUAL_NONE, inode);
        g_hash_table_insert(table->by_inode, KEY(inode), node);
    }
    node->lookups++;
    pthread_mutex_unlock(&table->lock);
    return node;
}

static bool same_text(const struct block *first, const struct block *second)
{
    if (first == second)
        return true;
    return first->capacity == second->capacity &&
           memcmp(first->data, second->data, first->capacity) == 0;
}

struct node *node_look_up_virtual(struct mount *mount, enum virtual_name name)
{
    struct node_table *table = &mount->nodes;
    struct block *text = virtual_is_link(name) ? NULL : virtual_text(mount, name);

    pthread_mutex_lock(&table->lock);
    struct node *node = table->virtuals[name];
    if (!node || !same_text(node->text, text)) {
        node = node_new(name, 0);
        node->text = block_ref(text);
        table->virtuals[name] = node; /* the older one lives on until the kernel forgets it */
    }
    node->lookups++;
    pthread_mutex_unlock(&table->lock);
    block_unref(text);
    return node;
}

/* Frees a node that nobody refers to any more. With the table's lock held. */
static void release(struct node_table *table, struct node *node)
{
    if (node->lookups > 0 || node->pins > 0 || node->is_root)
        return;
    if (node->virtual_name != VIRTUAL_NONE) {
        if (table->virtuals[node->virtual_name] == node)
            table->virtuals[node->virtual_name] = NULL;
    } else if (g_hash_table_lookup(table->by_inode, KEY(node->inode)) == node) {
        g_hash_table_remove(table->by_inode, KEY(node->inode));
    }
    node_free(node);
}

void node_forget(struct mount *mount, struct node *node, uint64_t lookups)
{
    struct node_table *table = &mount->nodes;

    pthread_mutex_lock(&table->lock);
    node->lookups -= MIN(lookups, node->lookups);
    release(table, node);
    pthread_mutex_unlock(&table->lock);
}

struct node *node_pin(struct mount *mount, uint64_t inode)
{
    struct node_table *table = &mount->nodes;

    pthread_mutex_lock(&table->lock);
    struct node *node = inode ? g_hash_table_lookup(table->by_inode, KEY(inode)) : &table->root;
    if (node)
        node->pins++;
    pthread_mutex_unlock(&table->lock);
    return node;
}

void node_unpin(struct mount *mount, struct node *node)
{
    struct node_table *table = &mount->nodes;

    pthread_mutex_lock(&table->lock);
    node->pins--;
    release(table, node);
    pthread_mutex_unlock(&table->lock);
}

bool node_is_contested(struct mount *mount, uint64_t inode)
{
    struct node_table *table = &mount->nodes;

    pthread_mutex_lock(&table->lock);
    struct node *node = g_hash_table_lookup(table->by_inode, KEY(inode));
    uint64_t foreign = node ? atomic_load(&node->foreign) : 0;
    pthread_mutex_unlock(&table->lock);
    return foreign && now_milliseconds() - foreign < FOREIGN_MILLISECONDS;
}

static void pin_into(GPtrArray *nodes, struct node *node)
{
    node->pins++;
    g_ptr_array_add(nodes, node);
}

GPtrArray *node_pin_all(struct mount *mount)
{
    struct node_table *table = &mount->nodes;
    GPtrArray *nodes = g_ptr_array_new();
    GHashTableIter iter;
    gpointer node;

    pthread_mutex_lock(&table->lock);
    for (int i = 0; i < VIRTUAL_COUNT; i++) {
        if (virtual_is_link((enum virtual_name)i) && table->virtuals[i])
            pin_into(nodes, table->virtuals[i]);
    }
    pin_into(nodes, &table->root);
    g_hash_table_iter_init(&iter, table->by_inode);
    while (g_hash_table_iter_next(&iter, NULL, &node))
        pin_into(nodes, node);
    pthread_mutex_unlock(&table->lock);
    return nodes;
}

struct entry *node_entry(struct mount *mount, const struct node *node, char **path)
{
    const struct state *state = replica_read_lock(mount->options.replica);
    struct entry *entry = node->last;
    char *found = NULL;

    if (node->is_root) {
        found = g_strdup("");
    } else if (!entry) {
        entry = tree_entry(state->tree, node->inode);
        if (entry && path)
            found = tree_path(state->tree, node->inode);
    }
    entry_ref(entry);
    replica_read_unlock(mount->options.replica);
    if (path)
        *path = found;
    else
        g_free(found);
    return entry;
}

/* The node of an entry that goes away keeps what it was. With the state's lock held exclusively. */
static void end_node(struct node_table *table, struct entry *entry)
{
    struct node *node = g_hash_table_lookup(table->by_inode, KEY(entry->inode));

    if (!node)
        return;
    g_hash_table_remove(table->by_inode, KEY(entry->inode));
    node->last = entry_ref(entry);
    /* The invalidator may hold a pin for a moment; it, or the kernel's last forget, frees the node.
     */
}

static bool has_moved(const struct effect *effect)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;

    return before->parent != after->parent || before->type != after->type ||
           g_strcmp0(before->name, after->name) != 0;
}

void mount_publishing(struct mount *mount, const GPtrArray *effects, bool rebuilt)
{
    struct node_table *table = &mount->nodes;
    uint64_t now = now_milliseconds();

    pthread_mutex_lock(&table->lock);
    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = effects->pdata[i];
        struct entry *before = effect->before;
        if (effect->replaced)
            end_node(table, effect->replaced);
        if (before && (!effect->after || (rebuilt && has_moved(effect)))) {
            end_node(table, before);
            continue;
        }
        struct node *node =
            before ? g_hash_table_lookup(table->by_inode, KEY(before->inode)) : NULL;
        if (node && effect->origin != mount)
            atomic_store(&node->foreign, now);
    }
    pthread_mutex_unlock(&table->lock);
}
