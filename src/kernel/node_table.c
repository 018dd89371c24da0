/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nodes that the kernel knows, and who refers to them. */
#include "kernel/node_table.h"

#include <assert.h>
#include <string.h>

void node_table_init(struct node_table *table, struct kernel_metrics *metrics)
{
    *table = (struct node_table){
        .by_inode = g_hash_table_new(g_direct_hash, g_direct_equal),
        .lost = g_hash_table_new(g_direct_hash, g_direct_equal),
        .ended = g_ptr_array_new(),
        .root = {.virtual_name = VIRTUAL_NONE, .is_root = true, .lookups = 1},
        .metrics = metrics,
    };
    lock_init(&table->lock, LOCK_RANK_NODES);
}

static void node_free(gpointer pointer)
{
    struct node *node = pointer;

    buffer_unref(node->text);
    entry_unref(node->older);
    entry_unref(node->tail);
    entry_unref(node->untaken);
    g_free(node);
}

void node_table_destroy(struct node_table *table)
{
    GHashTableIter iter;
    gpointer node;

    g_hash_table_iter_init(&iter, table->by_inode);
    while (g_hash_table_iter_next(&iter, NULL, &node))
        node_free(node);
    g_hash_table_iter_init(&iter, table->lost);
    while (g_hash_table_iter_next(&iter, &node, NULL))
        node_free(node);
    for (int i = 0; i < VIRTUAL_COUNT; i++) {
        if (table->virtuals[i])
            node_free(table->virtuals[i]);
    }
    g_ptr_array_unref(table->ended);
    g_hash_table_unref(table->lost);
    g_hash_table_unref(table->by_inode);
    lock_destroy(&table->lock);
}

static struct node *node_new(struct node_table *table, enum virtual_name name, uint64_t inode)
{
    struct node *node = g_new0(struct node, 1);

    node->virtual_name = name;
    node->inode = inode;
    counter_add(&table->metrics->nodes_made, 1);
    return node;
}

/* --- References --- */

struct node *node_of(const struct node_table *table, uint64_t inode)
{
    return g_hash_table_lookup(table->by_inode, NODE_KEY(inode));
}

struct node *node_look_up(struct node_table *table, uint64_t inode)
{
    LOCKED(&table->lock);
    struct node *node = node_of(table, inode);
    if (!node) {
        node = node_new(table, VIRTUAL_NONE, inode);
        g_hash_table_insert(table->by_inode, NODE_KEY(inode), node);
    }
    assert(!node->gone);
    node->lookups++;
    return node;
}

static bool same_text(const struct buffer *first, const struct buffer *second)
{
    if (first == second || !first || !second)
        return first == second;
    return first->capacity == second->capacity &&
           memcmp(first->data, second->data, first->capacity) == 0;
}

struct node *node_look_up_virtual(struct node_table *table, enum virtual_name name,
                                  struct buffer *text)
{
    LOCKED(&table->lock);
    struct node *node = table->virtuals[name];
    if (!node || !same_text(node->text, text)) {
        if (node)
            g_hash_table_add(table->lost, node); /* it lives on until the kernel forgets it */
        node = node_new(table, name, 0);
        node->text = buffer_ref(text);
        table->virtuals[name] = node;
    }
    node->lookups++;
    return node;
}

/* Frees a node that nobody refers to any more. With the lock held. */
static void release(struct node_table *table, struct node *node)
{
    if (node->lookups > 0 || node->pins > 0 || node->is_root)
        return;
    if (g_hash_table_remove(table->lost, node)) {
        /* It stood nowhere else. */
    } else if (node->virtual_name == VIRTUAL_NONE) {
        g_hash_table_remove(table->by_inode, NODE_KEY(node->inode));
    } else {
        table->virtuals[node->virtual_name] = NULL;
    }
    counter_add(&table->metrics->nodes_freed, 1);
    node_free(node);
}

void node_forget(struct node_table *table, struct node *node, uint64_t lookups)
{
    LOCKED(&table->lock);
    node->lookups -= MIN(lookups, node->lookups);
    release(table, node);
}

void node_pin(struct node_table *table, struct node *node)
{
    LOCKED(&table->lock);
    node->pins++;
}

void node_unpin(struct node_table *table, struct node *node)
{
    LOCKED(&table->lock);
    assert(node->pins > 0);
    node->pins--;
    release(table, node);
}

struct node *node_find(struct node_table *table, uint64_t inode)
{
    LOCKED(&table->lock);
    struct node *node = inode ? node_of(table, inode) : &table->root;
    if (node && node->lookups == 0)
        node = NULL;
    if (node)
        node->pins++;
    return node;
}

void node_pin_into(GPtrArray *nodes, struct node *node)
{
    node->pins++;
    g_ptr_array_add(nodes, node);
}

GPtrArray *node_all(struct node_table *table)
{
    GPtrArray *nodes = g_ptr_array_new();
    GHashTableIter iter;
    gpointer node;

    LOCKED(&table->lock);
    node_pin_into(nodes, &table->root);
    g_hash_table_iter_init(&iter, table->by_inode);
    while (g_hash_table_iter_next(&iter, NULL, &node))
        node_pin_into(nodes, node);
    return nodes;
}

GPtrArray *node_all_links(struct node_table *table)
{
    GPtrArray *nodes = g_ptr_array_new();

    LOCKED(&table->lock);
    for (int i = 0; i < VIRTUAL_COUNT; i++) {
        if (virtual_is_link((enum virtual_name)i) && table->virtuals[i])
            node_pin_into(nodes, table->virtuals[i]);
    }
    return nodes;
}

GPtrArray *node_take_ended(struct node_table *table)
{
    LOCKED(&table->lock);
    GPtrArray *ended = table->ended;
    table->ended = g_ptr_array_new();
    return ended;
}

bool node_is_known(struct node_table *table, const struct node *node)
{
    LOCKED(&table->lock);
    return node->lookups > 0;
}

static bool has_node(const struct node_table *table, const struct entry *entry)
{
    return entry && node_of(table, entry->inode);
}

/* A name may be looked up in the directory, or be listed. The root's node is always there. */
static bool has_directory(const struct node_table *table, const struct entry *entry)
{
    return entry && (entry->parent == 0 || node_of(table, entry->parent));
}

static bool keeps_name(const struct effect *effect)
{
    return effect->before && effect->after && entry_same_place(effect->before, effect->after);
}

static bool is_known(const struct node_table *table, const struct effect *effect)
{
    if (has_node(table, effect->before) || has_node(table, effect->after) ||
        has_node(table, effect->replaced))
        return true;
    return !keeps_name(effect) &&
           (has_directory(table, effect->before) || has_directory(table, effect->after));
}

bool node_any_known(struct node_table *table, const GPtrArray *effects)
{
    LOCKED(&table->lock);
    bool known = table->ended->len > 0;
    for (guint i = 0; i < effects->len && !known; i++)
        known = is_known(table, effects->pdata[i]);
    return known;
}
