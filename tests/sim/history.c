/* SPDX-License-Identifier: GPL-3.0-or-later */
/* All states that any node ever had, as a tree of the changes that led to them. */
#include "history.h"

struct history {
    GHashTable *by_digest; /* uint64_t in the past → struct past, borrowed */
    GPtrArray *all;        /* struct past, owned */
};

static void past_free(gpointer pointer)
{
    struct past *past = pointer;

    g_array_unref(past->witnesses);
    g_free(past);
}

struct history *history_new(void)
{
    struct history *history = g_new0(struct history, 1);

    history->by_digest = g_hash_table_new(g_int64_hash, g_int64_equal);
    history->all = g_ptr_array_new_with_free_func(past_free);
    return history;
}

void history_free(struct history *history)
{
    if (!history)
        return;
    g_hash_table_unref(history->by_digest);
    g_ptr_array_unref(history->all);
    g_free(history);
}

struct past *history_find(const struct history *history, uint64_t digest)
{
    return g_hash_table_lookup(history->by_digest, &digest);
}

static struct past *past_new(struct history *history, struct past *parent)
{
    struct past *past = g_new0(struct past, 1);

    past->parent = parent;
    past->depth = parent ? parent->depth + 1 : 0;
    past->witnesses = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    g_ptr_array_add(history->all, past);
    return past;
}

bool history_note_digest(struct history *history, struct past *past, uint64_t digest)
{
    const struct past *known = history_find(history, digest);

    if (known)
        return known == past;
    if (past->has_digest)
        return false;
    past->has_digest = true;
    past->digest = digest;
    g_hash_table_insert(history->by_digest, &past->digest, past);
    return true;
}

struct past *history_start(struct history *history, uint64_t digest)
{
    struct past *past = history_find(history, digest);

    if (past)
        return past;
    past = past_new(history, NULL);
    history_note_digest(history, past, digest);
    return past;
}

struct past *history_extend(struct history *history, struct past *past, change_id change,
                            bool *made)
{
    struct past *child = past->first_child;

    while (child && child->change != change)
        child = child->sibling;
    *made = !child;
    if (child)
        return child;
    child = past_new(history, past);
    child->change = change;
    child->sibling = past->first_child;
    past->first_child = child;
    return child;
}

bool past_has(const struct past *past, change_id change)
{
    for (; past; past = past->parent) {
        if (past->parent && past->change == change)
            return true;
    }
    return false;
}

bool past_is_ancestor(const struct past *ancestor, const struct past *past)
{
    while (past && past->depth > ancestor->depth)
        past = past->parent;
    return past == ancestor;
}

struct past *past_fork(struct past *one, struct past *other)
{
    while (one != other && one && other) {
        if (one->depth >= other->depth)
            one = one->parent;
        else
            other = other->parent;
    }
    return one == other ? one : NULL;
}

struct past *past_first_step(const struct past *ancestor, struct past *past)
{
    while (past->parent != ancestor)
        past = past->parent;
    return past;
}
