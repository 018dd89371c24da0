/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nodes that the kernel knows, and what each shows. */
#include "mount/node.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define KEY(inode) ((gpointer)(uintptr_t)(inode))

void node_table_init(struct node_table *table, struct counter *made, struct counter *freed)
{
    *table = (struct node_table){
        .by_inode = g_hash_table_new(g_direct_hash, g_direct_equal),
        .lost = g_hash_table_new(g_direct_hash, g_direct_equal),
        .root = {.virtual_name = VIRTUAL_NONE, .is_root = true, .lookups = 1},
        .made = made,
        .freed = freed,
    };
    lock_init(&table->lock, LOCK_RANK_MOUNT_NODES);
}

static void node_free(gpointer pointer)
{
    struct node *node = pointer;

    buffer_unref(node->text);
    entry_unref(node->shown);
    entry_unref(node->tail);
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
    g_hash_table_unref(table->lost);
    g_hash_table_unref(table->by_inode);
    lock_destroy(&table->lock);
}

static struct node *node_new(struct node_table *table, enum virtual_name name, uint64_t inode)
{
    struct node *node = g_new0(struct node, 1);

    node->virtual_name = name;
    node->inode = inode;
    counter_add(table->made, 1);
    return node;
}

/* --- References --- */

static struct node *node_of(const struct node_table *table, uint64_t inode)
{
    return g_hash_table_lookup(table->by_inode, KEY(inode));
}

struct node *node_look_up(struct node_table *table, uint64_t inode)
{
    lock_take(&table->lock);
    struct node *node = node_of(table, inode);
    if (!node) {
        node = node_new(table, VIRTUAL_NONE, inode);
        g_hash_table_insert(table->by_inode, KEY(inode), node);
    }
    assert(!node->gone);
    node->lookups++;
    lock_give(&table->lock);
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
    lock_take(&table->lock);
    struct node *node = table->virtuals[name];
    if (!node || !same_text(node->text, text)) {
        if (node)
            g_hash_table_add(table->lost, node); /* it lives on until the kernel forgets it */
        node = node_new(table, name, 0);
        node->text = buffer_ref(text);
        table->virtuals[name] = node;
    }
    node->lookups++;
    lock_give(&table->lock);
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
        g_hash_table_remove(table->by_inode, KEY(node->inode));
    } else {
        table->virtuals[node->virtual_name] = NULL;
    }
    counter_add(table->freed, 1);
    node_free(node);
}

void node_forget(struct node_table *table, struct node *node, uint64_t lookups)
{
    lock_take(&table->lock);
    node->lookups -= MIN(lookups, node->lookups);
    release(table, node);
    lock_give(&table->lock);
}

void node_pin(struct node_table *table, struct node *node)
{
    lock_take(&table->lock);
    node->pins++;
    lock_give(&table->lock);
}

void node_unpin(struct node_table *table, struct node *node)
{
    lock_take(&table->lock);
    assert(node->pins > 0);
    node->pins--;
    release(table, node);
    lock_give(&table->lock);
}

struct node *node_find(struct node_table *table, uint64_t inode)
{
    lock_take(&table->lock);
    struct node *node = inode ? node_of(table, inode) : &table->root;
    if (node && node->lookups == 0)
        node = NULL;
    if (node)
        node->pins++;
    lock_give(&table->lock);
    return node;
}

static void pin_into(GPtrArray *nodes, struct node *node)
{
    node->pins++;
    g_ptr_array_add(nodes, node);
}

GPtrArray *node_all(struct node_table *table)
{
    GPtrArray *nodes = g_ptr_array_new();
    GHashTableIter iter;
    gpointer node;

    lock_take(&table->lock);
    pin_into(nodes, &table->root);
    g_hash_table_iter_init(&iter, table->by_inode);
    while (g_hash_table_iter_next(&iter, NULL, &node))
        pin_into(nodes, node);
    lock_give(&table->lock);
    return nodes;
}

GPtrArray *node_all_links(struct node_table *table)
{
    GPtrArray *nodes = g_ptr_array_new();

    lock_take(&table->lock);
    for (int i = 0; i < VIRTUAL_COUNT; i++) {
        if (virtual_is_link((enum virtual_name)i) && table->virtuals[i])
            pin_into(nodes, table->virtuals[i]);
    }
    lock_give(&table->lock);
    return nodes;
}

bool node_is_known(struct node_table *table, const struct node *node)
{
    lock_take(&table->lock);
    bool known = node->lookups > 0;
    lock_give(&table->lock);
    return known;
}

/* --- What a node shows --- */

void node_view(struct node_table *table, struct node *node, const struct tree *tree, bool reads,
               struct view *view)
{
    lock_take(&table->lock);
    bool lives = !node->gone && !node->is_root;
    struct entry *current = lives ? tree_entry(tree, node->inode) : NULL;
    *view = (struct view){
        .layers = {entry_ref(node->shown ? node->shown : current),
                   entry_ref(node->shown ? current : NULL), entry_ref(node->tail)},
        .gone = node->gone,
        .emptied = node->truncation != TRUNCATION_NONE,
        .passing = node->shown || node->tail || node->truncation != TRUNCATION_NONE,
    };
    if (reads && (node->changing > 0 || node->truncation != TRUNCATION_NONE))
        node->read_meanwhile = true;
    lock_give(&table->lock);
}

void view_clear(struct view *view)
{
    for (int i = 0; i < VIEW_LAYERS; i++)
        entry_unref(view->layers[i]);
}

bool node_is_gone(struct node_table *table, const struct node *node)
{
    lock_take(&table->lock);
    bool gone = node->gone;
    lock_give(&table->lock);
    return gone;
}

char *node_path(struct node_table *table, const struct node *node, const struct tree *tree)
{
    if (node->is_root)
        return g_strdup("");
    return node_is_gone(table, node) ? NULL : tree_path(tree, node->inode);
}

/* --- Publication. With the lock held. --- */

static void replace(struct entry **slot, struct entry *entry)
{
    struct entry *before = *slot;

    *slot = entry_ref(entry);
    entry_unref(before);
}

/* The kernel may believe in the size of this version for a while. */
static void note_tail(struct node *node, struct entry *version)
{
    if (version && (!node->tail || version->size > node->tail->size))
        replace(&node->tail, version);
}

static struct entry *empty_version(const struct entry *entry)
{
    struct entry *empty = entry_new(entry->inode, entry->parent, entry->type, entry->name,
                                    entry->name_length, NULL, 0);
    empty->mtime = entry->mtime;
    return empty;
}

/* The node of an entry that goes away keeps what it showed. */
static void end_node(struct node_table *table, struct entry *entry)
{
    struct node *node = node_of(table, entry->inode);

    if (!node)
        return;
    g_hash_table_remove(table->by_inode, KEY(entry->inode));
    g_hash_table_add(table->lost, node);
    node->gone = true;
    if (node->truncation != TRUNCATION_NONE) {
        entry_unref(node->shown);
        node->shown = empty_version(entry);
        node->truncation = TRUNCATION_NONE;
    } else if (!node->shown) {
        node->shown = entry_ref(entry);
    }
}

/* What asked for the change through this node must see it at once, whatever came before. */
static void change_own(struct node *node, const struct effect *effect)
{
    if (effect->truncated && node->truncation == TRUNCATION_SENT)
        node->truncation = TRUNCATION_NONE;
    note_tail(node, node->shown);
    replace(&node->shown, NULL);
}

/* The kernel has pages and a size of the old version: both are shown until it has dropped them. */
static void change_foreign(struct node *node, const struct effect *effect)
{
    if (node->truncation != TRUNCATION_NONE)
        return; /* it is empty here, and will be there */
    if (!node->shown)
        node->shown = entry_ref(effect->before);
    note_tail(node, effect->before);
}

static void change_node(struct node_table *table, const struct effect *effect)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;
    struct node *node = node_of(table, before->inode);

    if (!node || (before->content == after->content && before->size == after->size &&
                  effect->origin != node))
        return;
    if (effect->origin == node)
        change_own(node, effect);
    else
        change_foreign(node, effect);
}

static bool has_moved(const struct effect *effect)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;

    return before->parent != after->parent || before->type != after->type ||
           strcmp(before->name, after->name) != 0;
}

void node_table_publishing(struct node_table *table, const GPtrArray *effects, bool rebuilt)
{
    lock_take(&table->lock);
    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = effects->pdata[i];
        struct entry *before = effect->before;
        if (effect->replaced)
            end_node(table, effect->replaced);
        if (before && (!effect->after || (rebuilt && has_moved(effect))))
            end_node(table, before);
        else if (before)
            change_node(table, effect);
    }
    lock_give(&table->lock);
}

void node_show_new(struct node_table *table, struct node *node)
{
    lock_take(&table->lock);
    if (!node->gone) {
        note_tail(node, node->shown);
        replace(&node->shown, NULL);
    }
    lock_give(&table->lock);
}

void node_settle(struct node_table *table, struct node *node)
{
    lock_take(&table->lock);
    /* What another change shows meanwhile is settled after that one's notifications. */
    if (!node->shown)
        replace(&node->tail, NULL);
    lock_give(&table->lock);
}

uint64_t node_unsettled_until(struct node_table *table, const struct node *node, uint64_t lasting)
{
    lock_take(&table->lock);
    uint64_t until = node->sized ? node->sized + lasting : 0;
    lock_give(&table->lock);
    return until;
}

/* --- Own changes of the content --- */

int node_truncate(struct node_table *table, struct node *node, uint64_t now, uint64_t due,
                  bool *listed)
{
    lock_take(&table->lock);
    bool gone = node->gone;
    *listed = !gone && !node->timed;
    if (!gone) {
        node->truncation = TRUNCATION_WAITS;
        node->due = due;
        node->sized = now;
        node->timed = true;
        node->pins += *listed;
    }
    lock_give(&table->lock);
    return gone ? -ENOENT : 0;
}

/* With the lock held. */
static bool take_truncation(struct node *node)
{
    bool waits = node->truncation == TRUNCATION_WAITS;

    if (waits)
        node->truncation = TRUNCATION_SENT;
    return waits;
}

bool node_begin_change(struct node_table *table, struct node *node)
{
    lock_take(&table->lock);
    bool taken = take_truncation(node);
    node->changing++;
    lock_give(&table->lock);
    return taken;
}

bool node_begin_truncation(struct node_table *table, struct node *node)
{
    lock_take(&table->lock);
    bool taken = take_truncation(node);
    node->changing += taken;
    lock_give(&table->lock);
    return taken;
}

bool node_end_change(struct node_table *table, struct node *node, bool failed)
{
    lock_take(&table->lock);
    assert(node->changing > 0);
    node->changing--;
    if (failed && node->truncation == TRUNCATION_SENT)
        node->truncation = TRUNCATION_NONE;
    bool stale = node->changing == 0 && node->truncation == TRUNCATION_NONE && node->read_meanwhile;
    if (stale)
        node->read_meanwhile = false;
    lock_give(&table->lock);
    return stale;
}

enum node_due node_meet(struct node_table *table, struct node *node, uint64_t now)
{
    enum node_due result = NODE_DONE;

    lock_take(&table->lock);
    if (node->truncation == TRUNCATION_WAITS && node->due > now) {
        result = NODE_STAYS;
    } else {
        node->timed = false;
        if (take_truncation(node)) {
            node->changing++;
            result = NODE_SEND;
        }
    }
    lock_give(&table->lock);
    return result;
}
