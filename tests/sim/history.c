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

static struct past *state_of(struct past *past)
{
    return past && past->alike ? past->alike : past;
}

bool history_note_digest(struct history *history, struct past *past, uint64_t digest)
{
    const struct past *known = history_find(history, digest);

    past = state_of(past);
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

static struct past *child_of(const struct past *past, change_id change)
{
    struct past *child = past->first_child;

    while (child && child->change != change)
        child = child->sibling;
    return child;
}

struct past *history_extend(struct history *history, struct past *past, change_id change,
                            bool *made)
{
    struct past *state = state_of(past);
    struct past *child = child_of(state, change);

    for (const struct past *way = state->ways; way && !child; way = way->next_way)
        child = child_of(way, change);
    *made = !child;
    if (child)
        return state_of(child);
    child = past_new(history, state);
    child->change = change;
    child->sibling = state->first_child;
    state->first_child = child;
    return child;
}

static void add_way(struct past *way, struct past *state)
{
    way->alike = state;
    way->next_way = state->ways;
    state->ways = way;
}

/* The same change makes the same of both, too. */
void history_note_alike(struct past *one, struct past *other)
{
    struct past *state = state_of(one);
    struct past *way = state_of(other);

    if (way->has_digest) {
        state = way;
        way = state_of(one);
    }
    if (way == state || way->has_digest)
        return;
    struct past *more = g_steal_pointer(&way->ways);
    add_way(way, state);
    while (more) {
        struct past *next = more->next_way;
        add_way(more, state);
        more = next;
    }
    for (struct past *child = way->first_child; child; child = child->sibling) {
        struct past *same = child_of(state, child->change);
        if (same)
            history_note_alike(child, same);
    }
}

bool past_has(const struct past *past, change_id change)
{
    for (; past; past = past->parent) {
        if (past->parent && past->change == change)
            return true;
    }
    return false;
}

bool past_is_same(struct past *one, struct past *other)
{
    return state_of(one) == state_of(other);
}

static uint64_t searches;

static bool is_found(struct past *past, change_id change, uint64_t search)
{
    for (past = state_of(past); past && past->search != search; past = state_of(past->parent)) {
        past->search = search;
        if (past->parent && past->change == change)
            return true;
        for (const struct past *way = past->ways; way; way = way->next_way) {
            if (way->change == change || is_found(way->parent, change, search))
                return true;
        }
    }
    return false;
}

bool past_may_have(struct past *past, change_id change)
{
    return is_found(past, change, ++searches);
}

static bool leads_back(struct past *past, const struct past *ancestor, uint64_t search)
{
    for (past = state_of(past); past; past = state_of(past->parent)) {
        if (past == ancestor)
            return true;
        if (past->depth <= ancestor->depth || past->search == search)
            return false;
        past->search = search;
        for (const struct past *way = past->ways; way; way = way->next_way) {
            if (leads_back(way->parent, ancestor, search))
                return true;
        }
    }
    return false;
}

bool past_is_ancestor(struct past *ancestor, struct past *past)
{
    return leads_back(past, state_of(ancestor), ++searches);
}

/* What came before by the first way that leads there from `ancestor`, or NULL. */
static struct past *parent_after(struct past *ancestor, struct past *past)
{
    struct past *way = state_of(past);

    if (past_is_ancestor(ancestor, way->parent))
        return way->parent;
    for (way = way->ways; way && !past_is_ancestor(ancestor, way->parent); way = way->next_way)
        ;
    return way ? way->parent : NULL;
}

struct past *past_fork(struct past *one, struct past *other)
{
    while (one && !past_is_ancestor(one, other))
        one = one->parent;
    return one;
}

struct past *past_first_step(struct past *ancestor, struct past *past)
{
    struct past *parent;

    while ((parent = parent_after(ancestor, past)) && !past_is_same(parent, ancestor))
        past = parent;
    return past;
}
