/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a node shows, and what its kernel has. */
#include "kernel/node.h"

#include <assert.h>
#include <string.h>

#include "base/util.h"
#include "core/path.h"

/* Longer than a page is filled before we hear of the write of it, even on a machine that is slow;
 * when that is answered may be much later. */
#define FILLED_MILLISECONDS 10000u

/* Longer than the kernel needs to take an answer, or to ask for the next change of a file that is
 * often rewritten. */
#define CHANGES_MILLISECONDS 1000u

/* Which state of a truncation may follow which. One that waits is never dropped. */
static const struct transition transitions[] = {
    {TRUNCATION_NONE, TRUNCATION_WAITS},  /* an open with O_TRUNC */
    {TRUNCATION_WAITS, TRUNCATION_WAITS}, /* another */
    {TRUNCATION_WAITS, TRUNCATION_SENT},  /* a change takes it along, or its entry is gone */
    {TRUNCATION_SENT, TRUNCATION_WAITS},  /* another open while that is under way */
    {TRUNCATION_SENT, TRUNCATION_NONE},   /* published, or answered without that */
    {TRUNCATION_NONE, TRUNCATION_SENT},   /* an open of an entry that is gone: nothing is sent */
    {TRUNCATION_SENT, TRUNCATION_SENT},   /* another of those */
};

/* --- What a node shows --- */

/* The living entry; NULL: gone, or the root. */
static struct entry *current_of(const struct node *node, const struct tree *tree)
{
    return node->gone || node->is_root ? NULL : tree_entry(tree, node->inode);
}

void node_view(struct node_table *table, struct node *node, const struct tree *tree,
               struct node_view *view)
{
    LOCKED(&table->lock);
    *view = (struct node_view){
        .entry = entry_ref(node->shows_older ? node->older : current_of(node, tree)),
        .gone = node->gone,
        .private = node->private,
        .emptied_at = node->emptied_at,
        .emptied = node->truncation != TRUNCATION_NONE,
        .passing = node->older || node->untaken || node->truncation != TRUNCATION_NONE,
    };
}

struct entry *node_content(struct node_table *table, struct node *node, const struct tree *tree)
{
    LOCKED(&table->lock);
    node->reads++;
    node->reread = node->dropped > 0;
    bool versions = node->tail || (!node->gone && (node->older || node->untaken));
    bool changes = versions || node->writing || node->truncation != TRUNCATION_NONE;
    return changes ? NULL : entry_ref(node->gone ? node->older : current_of(node, tree));
}

/* Appends what a version has beyond the `used` bytes that are there. Bytes of a hole are zeros that
 * nobody has stored. */
static size_t read_version(const struct entry *version, size_t offset, size_t size, size_t used,
                           uint8_t *to)
{
    size_t from = offset + used;

    if (!version || version->size <= from)
        return used;
    size_t part = MIN(size - used, version->size - from);
    if (version->content)
        memcpy(to + used, version->content->data + from, part);
    else
        memset(to + used, 0, part);
    return used + part;
}

static size_t read_own_write(const struct own_write *write, size_t offset, size_t size, size_t used,
                             uint8_t *to)
{
    size_t end = (size_t)write->offset + write->size;
    size_t from = MAX(write->offset, offset);
    size_t upto = MIN(end, offset + size);

    if (write->truncates)
        used = 0;
    if (from >= upto)
        return used;
    if (from - offset > used)
        memset(to + used, 0, from - offset - used);
    memcpy(to + (from - offset), write->data + (from - write->offset), upto - from);
    return MAX(used, upto - offset);
}

size_t node_read(struct node_table *table, struct node *node, const struct tree *tree, bool direct,
                 size_t offset, size_t size, uint8_t *to)
{
    size_t used = 0;

    LOCKED(&table->lock);
    const struct entry *current = current_of(node, tree);
    bool emptied = node->truncation != TRUNCATION_NONE;
    if (direct) {
        if (!emptied)
            used = read_version(node->gone ? node->older : current, offset, size, used, to);
    } else {
        const struct entry *shown = node->shows_older ? node->older : current;
        const struct entry *other = node->shows_older ? current : node->older;
        if (!node->gone)
            used = read_version(node->untaken, offset, size, used, to);
        used = read_version(shown, offset, size, used, to);
        if (node->fills)
            used = read_version(other, offset, size, used, to);
        if (node->fills || node->untaken)
            used = read_version(node->tail, offset, size, used, to);
        node->spoiled |= offset + used > (emptied || !shown ? 0 : shown->size);
        if (node->writing)
            used = read_own_write(node->writing, offset, size, used, to);
    }
    return used;
}

bool node_is_emptied(struct node_table *table, const struct node *node)
{
    LOCKED(&table->lock);
    return node->truncation != TRUNCATION_NONE;
}

bool node_is_gone(struct node_table *table, const struct node *node)
{
    LOCKED(&table->lock);
    return node->gone;
}

bool node_is_overtaken(struct node_table *table, const struct node *node)
{
    LOCKED(&table->lock);
    return node->overtaken;
}

char *node_path(struct node_table *table, const struct node *node, const struct tree *tree)
{
    if (node->is_root)
        return g_strdup("");
    return node_is_gone(table, node) ? NULL : tree_path(tree, node->inode);
}

/* With the lock held. */
static void set_truncation(struct node_table *table, struct node *node, enum truncation truncation)
{
    assert(transition_is_in(transitions, G_N_ELEMENTS(transitions), (int)node->truncation,
                            (int)truncation));
    table->waiting -= node->truncation == TRUNCATION_WAITS;
    table->waiting += truncation == TRUNCATION_WAITS;
    node->truncation = truncation;
}

/* With the lock held. */
static bool take_truncation(struct node_table *table, struct node *node)
{
    bool waits = node->truncation == TRUNCATION_WAITS;

    if (waits)
        set_truncation(table, node, TRUNCATION_SENT);
    return waits;
}

/* --- Publication. With the lock held. --- */

static void replace(struct entry **slot, struct entry *entry)
{
    struct entry *before = *slot;

    *slot = entry_ref(entry);
    entry_unref(before);
}

/* A version is no longer the older one, or what is untaken, but the kernel may have its size: it
 * may not have taken another since. */
static void keep_tail(struct node *node, struct entry *version)
{
    if (version && (!node->tail || version->size > node->tail->size))
        replace(&node->tail, version);
}

/* The node of an entry that goes away keeps what it showed. `path`: NULL if it is not known. `own`:
 * the kernel knows. */
static void end_node(struct node_table *table, struct entry *entry, const char *path, bool own)
{
    struct node *node = node_of(table, entry->inode);

    if (!node)
        return;
    g_hash_table_remove(table->by_inode, NODE_KEY(entry->inode));
    g_hash_table_add(table->lost, node);
    take_truncation(table, node); /* for good: there is nothing to send */
    node->gone = true;
    node->private = !path || path_is_private(path);
    if (!own)
        node_pin_into(table->ended, node);
    keep_tail(node, node->untaken);
    if (!node->shows_older) { /* one that is kept for pages alone is no longer shown */
        keep_tail(node, node->older);
        replace(&node->older, entry);
    }
    node->shows_older = node->fills = true;
}

static void forget_older(struct node *node)
{
    replace(&node->older, NULL);
    replace(&node->tail, NULL);
    node->fills = false;
}

static void end_shortening(struct node *node)
{
    replace(&node->untaken, NULL);
    node->shortening.number = 0;
}

/* What asked for the change through this node must see it at once, whatever came before. */
static void change_own(struct node_table *table, struct node *node, const struct effect *effect)
{
    if (effect->truncated && node->truncation == TRUNCATION_SENT)
        set_truncation(table, node, TRUNCATION_NONE);
    node->shows_older = false;
    node->fills = node->older != NULL;
    node->holds_from = 0;
}

/* The kernel has pages and a size of the old version: both are shown until it asks again. */
static void change_foreign(struct node *node, const struct effect *effect)
{
    node->foreign++;
    if (node->truncation != TRUNCATION_NONE)
        return; /* it is empty here, and will be there */
    if (!node->shows_older) {
        keep_tail(node, node->older);
        replace(&node->older, effect->before);
        node->shows_older = node->fills = true;
    }
    node->resized = node->older->size != effect->after->size;
}

/* The node of that address, if it is one yet: who asked may have been cancelled, and it forgotten.
 */
static struct node *find_asked(struct node_table *table, const void *origin)
{
    GHashTableIter iter;
    gpointer node;

    if (g_hash_table_contains(table->lost, origin))
        return (struct node *)origin;
    g_hash_table_iter_init(&iter, table->by_inode);
    while (g_hash_table_iter_next(&iter, NULL, &node)) {
        if (node == origin)
            return node;
    }
    return NULL;
}

/* A change goes to what has the path, which may be another file by then than the one that it was
 * asked for, which has been moved or is gone: it is as new to this node as others' changes are. */
static void note_overtaken(struct node_table *table, struct effect *effect)
{
    struct node *asked = find_asked(table, effect->origin);

    if (asked && effect->operation == CHANGE_WRITE)
        asked->overtaken = true;
    effect->origin = NULL;
}

static void change_node(struct node_table *table, struct effect *effect)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;
    struct node *node = node_of(table, before->inode);

    /* Renames are asked for through no node. */
    if (effect->operation != CHANGE_RENAME && effect->origin && effect->origin != node)
        note_overtaken(table, effect);
    if (!node || (before->content == after->content && before->size == after->size &&
                  effect->origin != node))
        return;
    if (effect->origin == node)
        change_own(table, node, effect);
    else
        change_foreign(node, effect);
}

void node_table_publishing(struct node_table *table, const GPtrArray *effects, bool rebuilt)
{
    LOCKED(&table->lock);
    for (guint i = 0; i < effects->len; i++) {
        struct effect *effect = effects->pdata[i];
        struct entry *before = effect->before;
        bool own = effect->origin != NULL;
        if (effect->replaced)
            end_node(table, effect->replaced, effect->to, own);
        if (before && (!effect->after || (rebuilt && !entry_same_place(before, effect->after))))
            end_node(table, before, effect->after ? NULL : effect->path, own);
        else if (before)
            change_node(table, effect);
    }
}

void node_begin_drop(struct node_table *table, struct node *node, uint64_t now)
{
    LOCKED(&table->lock);
    node->dropped = now;
    node->dropping = true;
    atomic_store(&node->spoiled, false);
    node->fills = node->older != NULL;
}

void node_end_drop(struct node_table *table, struct node *node, uint64_t now)
{
    LOCKED(&table->lock);
    node->dropped = now;
    node->dropping = false;
}

bool node_has_older(struct node_table *table, const struct node *node)
{
    LOCKED(&table->lock);
    return node->older && !node->gone;
}

bool node_shows_other_size(struct node_table *table, const struct node *node)
{
    LOCKED(&table->lock);
    return node->shows_older && node->resized && !node->gone && node->truncation == TRUNCATION_NONE;
}

uint64_t node_reads(struct node_table *table, const struct node *node)
{
    LOCKED(&table->lock);
    return node->reads;
}

void node_hold_askers(struct node_table *table, struct node *node, uint64_t from)
{
    LOCKED(&table->lock);
    node->holds_from = from;
}

bool node_holds_askers(struct node_table *table, const struct node *node, uint64_t now)
{
    LOCKED(&table->lock);
    return node->holds_from && now >= node->holds_from && node->resized && !node->gone &&
           node->truncation == TRUNCATION_NONE;
}

/* With the lock held. */
static bool changes_size(const struct node *node, uint64_t now)
{
    return node->writing || node->truncation != TRUNCATION_NONE || node->untaken ||
           now < node->changed + CHANGES_MILLISECONDS;
}

uint64_t node_show_newer(struct node_table *table, struct node *node, uint64_t now)
{
    LOCKED(&table->lock);
    if (!node->gone && node->shows_older) {
        node->shows_older = false;
        node->fills = changes_size(node, now);
    }
    return node->foreign;
}

void node_settle(struct node_table *table, struct node *node, uint64_t foreign)
{
    LOCKED(&table->lock);
    if (!node->shows_older && node->foreign == foreign)
        forget_older(node);
}

bool node_was_sized_since(struct node_table *table, const struct node *node, uint64_t time)
{
    LOCKED(&table->lock);
    return node->sized >= time;
}

/* --- Own changes of the content --- */

uint32_t node_emptied_at(struct node_table *table, const struct node *node)
{
    LOCKED(&table->lock);
    return node->emptied_at;
}

bool node_truncate(struct node_table *table, struct node *node, const struct emptying *emptying)
{
    LOCKED(&table->lock);
    bool listed = !node->gone && !node->timed;
    set_truncation(table, node, node->gone ? TRUNCATION_SENT : TRUNCATION_WAITS);
    node->opener = emptying->opener;
    node->due = emptying->due;
    node->sized = node->changed = emptying->now;
    node->emptied_at = emptying->time;
    if (listed) {
        node->timed = true;
        node->pins++;
    }
    return listed;
}

bool node_begin_change(struct node_table *table, struct node *node, struct own_write *write)
{
    LOCKED(&table->lock);
    bool taken = take_truncation(table, node);
    node->overtaken = false; /* no other change of the content is under way */
    if (write) {
        write->truncates = taken;
        write->refilled = node->reread && write->heard < node->dropped + FILLED_MILLISECONDS;
        node->writing = write;
        end_shortening(node);
    }
    return taken;
}

void node_begin_shortening(struct node_table *table, struct node *node, const struct tree *tree,
                           pid_t thread, uint32_t size)
{
    LOCKED(&table->lock);
    if (node->gone)
        return;
    keep_tail(node, node->older);
    replace(&node->untaken, node->shows_older ? node->older : current_of(node, tree));
    node->shortening = (struct shortening){
        .number = ++table->shortenings,
        .size = size,
        .thread = thread,
    };
}

bool node_is_shortened(struct node_table *table, const struct node *node,
                       struct shortening *shortening)
{
    LOCKED(&table->lock);
    *shortening = node->shortening;
    return shortening->number > 0 && !node->gone;
}

void node_end_shortening(struct node_table *table, struct node *node, uint64_t number)
{
    LOCKED(&table->lock);
    if (node->shortening.number == number)
        end_shortening(node);
}

/* With the lock held. */
static void end_truncation(struct node_table *table, struct node *node)
{
    if (!node->gone && node->truncation == TRUNCATION_SENT)
        set_truncation(table, node, TRUNCATION_NONE);
}

bool node_end_truncation(struct node_table *table, struct node *node)
{
    LOCKED(&table->lock);
    end_truncation(table, node);
    return node->untaken != NULL;
}

bool node_end_change(struct node_table *table, struct node *node, bool truncates, uint64_t now)
{
    LOCKED(&table->lock);
    bool refilled = node->writing && node->writing->refilled;
    bool stale = refilled || (node->reread && now < node->dropped + FILLED_MILLISECONDS);
    node->writing = NULL;
    if (truncates)
        end_truncation(table, node);
    node->spoiled |= stale;
    node->changed = now;
    node->dropped = node->dropping ? node->dropped : 0;
    node->reread = false;
    return stale || node->untaken;
}

enum node_due node_meet(struct node_table *table, struct node *node, uint64_t now)
{
    LOCKED(&table->lock);
    if (node->truncation == TRUNCATION_WAITS && node->due > now)
        return NODE_STAYS;
    node->timed = false;
    if (!take_truncation(table, node))
        return NODE_DONE;
    node->overtaken = false;
    return NODE_SEND;
}

pid_t node_waits_for(struct node_table *table, const struct node *node)
{
    LOCKED(&table->lock);
    return node->truncation == TRUNCATION_WAITS ? node->opener : 0;
}

bool node_table_waits(struct node_table *table)
{
    LOCKED(&table->lock);
    return table->waiting > 0;
}
