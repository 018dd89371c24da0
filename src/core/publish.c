/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Publication: a draft becomes what readers see. */
#include "core/publish.h"

#include <assert.h>

/* With more changes than that the order of all entries is made anew. */
#define ORDER_KEPT_MAX 256u

/* Moves the draft's entries into the tree. */
static void publish_entries(struct tree *tree, struct draft *draft, const GArray *changes)
{
    if (changes->len > ORDER_KEPT_MAX)
        tree_forget_order(tree);
    /* In ascending order: directories' lists grow at their end then. */
    for (guint i = 0; i < changes->len; i++) {
        const struct draft_change *change = &g_array_index(changes, struct draft_change, i);
        if (change->entry)
            tree_put(tree, change->entry);
        else
            tree_remove(tree, change->inode);
    }
    g_hash_table_steal_all(draft->entries);
    tree->root = draft->root;
    assert(tree->bytes == draft->bytes);
}

static void publish_guests(struct guest_list *guests, struct draft *draft)
{
    GHashTableIter iter;
    gpointer id;
    gpointer guest;

    if (g_hash_table_size(draft->guests) == 0)
        return;
    g_hash_table_iter_init(&iter, draft->guests);
    while (g_hash_table_iter_next(&iter, &id, &guest)) {
        g_hash_table_iter_steal(&iter);
        if (guest)
            g_hash_table_insert(guests->by_id, id, guest);
        else
            g_hash_table_remove(guests->by_id, id);
    }
    guests->last_version = draft->guest_version;
}

void state_publish(struct state *state, struct draft *draft, uint64_t now)
{
    const GArray *changes = draft_changes(draft);

    assert(draft->base == state);
    publish_entries(state->tree, draft, changes);
    publish_guests(&state->guests, draft);
    if (draft->rebuild) {
        state_rebuild(state, now);
    } else {
        for (guint i = 0; i < changes->len; i++) {
            const struct draft_change *change = &g_array_index(changes, struct draft_change, i);
            state_update_lock(state, change->inode, change->entry, now);
        }
    }
    draft_restart(draft);
}
