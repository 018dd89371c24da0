/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nodes that the kernel knows: identities of entries, not inode numbers. */
#include <string.h>

#include "mount/internal.h"

#define KEY(inode) ((gpointer)(uintptr_t)(inode))

/* How long after a change from elsewhere this mount's own changes of the same entry are invalidated
 * too: a page that the kernel read between the two would lack the own change, which the kernel
 * thinks that it has. Any longer time than a change can be under way will do. */
#define FOREIGN_MILLISECONDS 60000u

/* How long whoever has a file open goes on reading its old content when it was replaced in one
 * step: long enough to read 1 MiB to its end, so that nobody reads half of the old and half of the
 * new. */
#define FROZEN_MILLISECONDS 500u

void node_table_init(struct node_table *table)
{
    pthread_mutex_init(&table->lock, NULL);
    table->by_inode = g_hash_table_new(g_direct_hash, g_direct_equal);
    table->lost = g_hash_table_new(g_direct_hash, g_direct_equal);
    table->looking_again = g_hash_table_new(g_direct_hash, g_direct_equal);
    table->root =
        (struct node){.virtual_name = VIRTUAL_NONE, .is_root = true, .named = true, .lookups = 1};
}

static void node_free(struct node *node)
{
    buffer_unref(node->text);
    entry_unref(node->kept);
    g_free(node);
}

void node_table_destroy(struct node_table *table)
{
    GHashTableIter iter;
    gpointer first;

    g_hash_table_iter_init(&iter, table->by_inode);
    while (g_hash_table_iter_next(&iter, NULL, &first)) {
        for (struct node *node = first; node;) {
            struct node *next = node->next;
            node_free(node);
            node = next;
        }
    }
    g_hash_table_iter_init(&iter, table->lost);
    while (g_hash_table_iter_next(&iter, &first, NULL))
        node_free(first);
    for (int i = 0; i < VIRTUAL_COUNT; i++) {
        if (table->virtuals[i])
            node_free(table->virtuals[i]);
    }
    g_hash_table_unref(table->looking_again);
    g_hash_table_unref(table->lost);
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

/* --- The nodes of an inode. All with the table's lock held. --- */

static struct node *first_of(const struct node_table *table, uint64_t inode)
{
    return g_hash_table_lookup(table->by_inode, KEY(inode));
}

static void link_node(struct node_table *table, struct node *node)
{
    node->next = first_of(table, node->inode);
    g_hash_table_insert(table->by_inode, KEY(node->inode), node);
}

static void unlink_node(struct node_table *table, struct node *node)
{
    struct node *first = first_of(table, node->inode);

    if (first == node) {
        if (node->next)
            g_hash_table_insert(table->by_inode, KEY(node->inode), node->next);
        else
            g_hash_table_remove(table->by_inode, KEY(node->inode));
        return;
    }
    while (first && first->next != node)
        first = first->next;
    if (first)
        first->next = node->next;
}

/* The node that the entry's name leads to; NULL: there is none. A node that has lost its name never
 * gets it back: its pages may be old, and those of a file being rewritten are empty until the
 * writer, not only its write(), is through. */
static struct node *named_of(const struct node_table *table, uint64_t inode)
{
    struct node *node = first_of(table, inode);

    while (node && !node->named)
        node = node->next;
    return node;
}

/* A look-up so long after a thread was told to look again is not that one. Any longer time than a
 * system call can take will do. */
#define LOOKING_AGAIN_MILLISECONDS 10000u
#define LOOKING_AGAIN_MAX 1024u

void node_note_looking_again(struct mount *mount, pid_t thread)
{
    GHashTable *threads = mount->nodes.looking_again;

    pthread_mutex_lock(&mount->nodes.lock);
    if (g_hash_table_size(threads) >= LOOKING_AGAIN_MAX)
        g_hash_table_remove_all(threads);
    g_hash_table_insert(threads, GINT_TO_POINTER(thread), KEY(watch_now()));
    pthread_mutex_unlock(&mount->nodes.lock);
}

static bool is_looking_again(const struct node_table *table, pid_t thread)
{
    gpointer since;

    return g_hash_table_lookup_extended(table->looking_again, GINT_TO_POINTER(thread), NULL,
                                        &since) &&
           watch_now() - (uint64_t)(uintptr_t)since < LOOKING_AGAIN_MILLISECONDS;
}

struct node *node_look_up(struct mount *mount, uint64_t inode, pid_t thread)
{
    struct node_table *table = &mount->nodes;

    pthread_mutex_lock(&table->lock);
    struct node *node = named_of(table, inode);
    if (node && node->truncation != TRUNCATION_NONE) {
        node->named = false; /* only its rewriter goes on with it */
        node = NULL;
    }
    if (!node) {
        node = node_new(VIRTUAL_NONE, inode);
        counter_add(&mount->options.metrics->nodes_made, 1);
        node->named = true;
        link_node(table, node);
    }
    if (is_looking_again(table, thread))
        node->visited = true;
    node->lookups++;
    pthread_mutex_unlock(&table->lock);
    return node;
}

static bool same_text(const struct buffer *first, const struct buffer *second)
{
    if (first == second || !first || !second)
        return first == second;
    return first->capacity == second->capacity &&
           memcmp(first->data, second->data, first->capacity) == 0;
}

struct node *node_look_up_virtual(struct mount *mount, enum virtual_name name)
{
    struct node_table *table = &mount->nodes;
    struct buffer *text = virtual_is_link(name) ? NULL : virtual_text(mount, name);

    pthread_mutex_lock(&table->lock);
    struct node *node = table->virtuals[name];
    if (!node || !same_text(node->text, text)) {
        if (node)
            g_hash_table_add(table->lost, node);
        node = node_new(name, 0);
        counter_add(&mount->options.metrics->nodes_made, 1);
        node->text = buffer_ref(text);
        table->virtuals[name] = node; /* the older one lives on until the kernel forgets it */
    }
    node->lookups++;
    pthread_mutex_unlock(&table->lock);
    buffer_unref(text);
    return node;
}

void node_set_truncation(struct mount *mount, struct node *node, enum truncation truncation)
{
    if (node->truncation == TRUNCATION_WAITS)
        atomic_fetch_sub(&mount->truncations, 1);
    if (truncation == TRUNCATION_WAITS)
        atomic_fetch_add(&mount->truncations, 1);
    node->truncation = truncation;
}

void node_set_deadline(struct mount *mount, struct node *node, uint64_t deadline)
{
    node->deadline = deadline;
    if (node->listed)
        return;
    node->listed = true;
    node->pins++;
    watch_deadline(mount, node);
}

void node_clear_deadline(struct mount *mount, struct node *node)
{
    node->deadline = 0;
    if (!node->listed)
        return;
    node->listed = false;
    node->pins--;
    unwatch_deadline(mount, node);
}

/* --- References --- */

/* Frees a node that nobody refers to any more. With the table's lock held. */
static void release(struct mount *mount, struct node *node)
{
    struct node_table *table = &mount->nodes;

    if (node->lookups > 0 || node->pins > 0 || node->is_root)
        return;
    if (g_hash_table_remove(table->lost, node)) {
        /* It stood nowhere else. */
    } else if (node->virtual_name == VIRTUAL_NONE) {
        unlink_node(table, node);
    } else {
        table->virtuals[node->virtual_name] = NULL;
    }
    counter_add(&mount->options.metrics->nodes_freed, 1);
    node_free(node);
}

void node_forget(struct mount *mount, struct node *node, uint64_t lookups)
{
    struct node_table *table = &mount->nodes;

    pthread_mutex_lock(&table->lock);
    node->lookups -= MIN(lookups, node->lookups);
    /* Nobody is left who could see it thaw. */
    if (node->lookups == 0 && node->truncation != TRUNCATION_WAITS)
        node_clear_deadline(mount, node);
    release(mount, node);
    pthread_mutex_unlock(&table->lock);
}

void node_pin(struct mount *mount, struct node *node)
{
    pthread_mutex_lock(&mount->nodes.lock);
    node->pins++;
    pthread_mutex_unlock(&mount->nodes.lock);
}

void node_unpin(struct mount *mount, struct node *node)
{
    struct node_table *table = &mount->nodes;

    pthread_mutex_lock(&table->lock);
    node->pins--;
    release(mount, node);
    pthread_mutex_unlock(&table->lock);
}

static void pin_into(GPtrArray *nodes, struct node *node)
{
    node->pins++;
    g_ptr_array_add(nodes, node);
}

GPtrArray *node_pin_inode(struct mount *mount, uint64_t inode)
{
    struct node_table *table = &mount->nodes;
    GPtrArray *nodes = NULL;

    pthread_mutex_lock(&table->lock);
    for (struct node *node = inode ? first_of(table, inode) : &table->root; node;
         node = node->next) {
        if (node->lookups == 0)
            continue; /* the kernel has forgotten it */
        if (!nodes)
            nodes = g_ptr_array_new();
        pin_into(nodes, node);
    }
    pthread_mutex_unlock(&table->lock);
    return nodes;
}

struct node *node_pin_waiting(struct mount *mount, uint64_t inode, pid_t *opener)
{
    struct node_table *table = &mount->nodes;

    pthread_mutex_lock(&table->lock);
    struct node *node = first_of(table, inode);
    while (node && node->truncation != TRUNCATION_WAITS)
        node = node->next;
    if (node) {
        node->pins++;
        *opener = node->rewriter;
    }
    pthread_mutex_unlock(&table->lock);
    return node;
}

struct node *node_truncating(struct mount *mount, uint64_t inode)
{
    struct node *node = first_of(&mount->nodes, inode);

    while (node && node->truncates == 0)
        node = node->next;
    return node;
}

GPtrArray *node_pin_all(struct mount *mount)
{
    struct node_table *table = &mount->nodes;
    GPtrArray *nodes = g_ptr_array_new();
    GHashTableIter iter;
    gpointer first;

    pthread_mutex_lock(&table->lock);
    pin_into(nodes, &table->root);
    g_hash_table_iter_init(&iter, table->by_inode);
    while (g_hash_table_iter_next(&iter, NULL, &first)) {
        for (struct node *node = first; node; node = node->next)
            pin_into(nodes, node);
    }
    pthread_mutex_unlock(&table->lock);
    return nodes;
}

GPtrArray *node_pin_links(struct mount *mount)
{
    struct node_table *table = &mount->nodes;
    GPtrArray *nodes = g_ptr_array_new();

    pthread_mutex_lock(&table->lock);
    for (int i = 0; i < VIRTUAL_COUNT; i++) {
        if (virtual_is_link((enum virtual_name)i) && table->virtuals[i])
            pin_into(nodes, table->virtuals[i]);
    }
    pthread_mutex_unlock(&table->lock);
    return nodes;
}

bool node_is_contested(struct mount *mount, uint64_t inode, const struct node *origin)
{
    struct node_table *table = &mount->nodes;
    bool contested = false;

    pthread_mutex_lock(&table->lock);
    for (const struct node *node = first_of(table, inode); node && !contested; node = node->next)
        contested = (node != origin && node->lookups > 0) ||
                    (node->foreign && watch_now() - node->foreign < FOREIGN_MILLISECONDS);
    pthread_mutex_unlock(&table->lock);
    return contested;
}

bool node_takes_names(struct mount *mount, const struct node *node)
{
    bool others = false;

    pthread_mutex_lock(&mount->nodes.lock);
    if (!node->gone) {
        for (struct node *other = first_of(&mount->nodes, node->inode); other;
             other = other->next) {
            others = others || (other != node && other->lookups > 0);
            other->named = other->named && other == node;
        }
    }
    pthread_mutex_unlock(&mount->nodes.lock);
    return others;
}

bool node_is_gone(struct mount *mount, const struct node *node)
{
    pthread_mutex_lock(&mount->nodes.lock);
    bool gone = node->gone;
    pthread_mutex_unlock(&mount->nodes.lock);
    return gone;
}

struct entry *node_entry(struct mount *mount, const struct node *node, char **path)
{
    const struct state *state = replica_read_lock(mount->options.replica);
    char *found = node->is_root ? g_strdup("") : NULL;

    pthread_mutex_lock(&mount->nodes.lock);
    struct entry *entry = entry_ref(node->kept);
    bool gone = node->gone;
    pthread_mutex_unlock(&mount->nodes.lock);
    if (!entry && !node->is_root)
        entry = entry_ref(tree_entry(state->tree, node->inode));
    if (path && !gone && !node->is_root)
        found = tree_path(state->tree, node->inode);
    replica_read_unlock(mount->options.replica);
    if (path)
        *path = found;
    else
        g_free(found);
    return entry;
}

/* --- What a publication does to nodes; with the state's lock held exclusively, and the table's ---
 */

/* The nodes of an entry that goes away keep what it was. */
static void end_nodes(struct mount *mount, struct entry *entry)
{
    struct node_table *table = &mount->nodes;
    struct node *next;

    for (struct node *node = first_of(table, entry->inode); node; node = next) {
        next = node->next;
        node->next = NULL;
        node->gone = true;
        g_hash_table_add(table->lost, node);
        node->named = false;
        node_set_truncation(mount, node, TRUNCATION_NONE);
        if (!node->kept)
            node->kept = entry_ref(entry);
    }
    g_hash_table_remove(table->by_inode, KEY(entry->inode));
}

/* Whoever has the old content open reads it to its end. Its name leads to a new node from now on.
 */
static void freeze(struct mount *mount, struct node *node, struct entry *before, uint64_t now)
{
    node->named = false;
    if (node->kept)
        return; /* frozen already, or truncated by its opener */
    node_set_truncation(mount, node, TRUNCATION_NONE);
    node->kept = entry_ref(before);
    node_set_deadline(mount, node, now + FROZEN_MILLISECONDS);
}

/* The node that asked for the change has the kernel's pages as they should be. A frozen one thaws:
 * its old content would hide the change from those who read through it; the pages around what was
 * written are dropped. */
static void settle_origin(struct mount *mount, struct node *node, const struct effect *effect,
                          uint64_t now)
{
    bool frozen = node->kept && node->truncation == TRUNCATION_NONE;

    /* A truncation that waits is a later one, of another open. */
    if (!frozen && (node->truncation != TRUNCATION_SENT || !effect->truncated))
        return;
    if (frozen)
        node->foreign = now;
    else
        node_set_truncation(mount, node, TRUNCATION_MADE);
    node_clear_deadline(mount, node);
    entry_unref(node->kept);
    node->kept = NULL;
}

/* True if readers must see the content change in one step. */
static bool replaces_content(const struct effect *effect, bool rebuilt)
{
    return effect->before->content && effect->before->content != effect->after->content &&
           (rebuilt || effect->truncated);
}

static void change_nodes(struct mount *mount, const struct effect *effect, bool rebuilt,
                         uint64_t now)
{
    bool replaced = replaces_content(effect, rebuilt);

    for (struct node *node = first_of(&mount->nodes, effect->before->inode); node;
         node = node->next) {
        if (node == effect->origin) {
            settle_origin(mount, node, effect, now);
            continue;
        }
        if (!effect->origin)
            node->foreign = now;
        if (replaced)
            freeze(mount, node, effect->before, now);
    }
}

static bool has_moved(const struct effect *effect)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;

    return before->parent != after->parent || before->type != after->type ||
           strcmp(before->name, after->name) != 0;
}

void mount_publishing(struct mount *mount, const GPtrArray *effects, bool rebuilt)
{
    struct node_table *table = &mount->nodes;
    uint64_t now = watch_now();

    pthread_mutex_lock(&table->lock);
    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = effects->pdata[i];
        struct entry *before = effect->before;
        if (effect->replaced)
            end_nodes(mount, effect->replaced);
        if (before && (!effect->after || (rebuilt && has_moved(effect))))
            end_nodes(mount, before);
        else if (before)
            change_nodes(mount, effect, rebuilt, now);
    }
    pthread_mutex_unlock(&table->lock);
}
