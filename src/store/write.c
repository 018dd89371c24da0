/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Writes a database as a whole. */
#include "store/write.h"

#include "core/draft.h"
#include "core/state.h"
#include "store/store.h"

int store_write(const char *path, GHashTable *entries, const struct root *root, char **message)
{
    const struct store_options options = {.durability = STORE_FULL};
    struct store *store;
    struct tree *empty;
    GHashTableIter iter;
    gpointer entry;
    int error = store_open(path, &options, &store, &empty, message);

    if (error)
        return error;
    struct state *state = state_new(empty, 0);
    struct draft *draft = draft_new(state);
    g_hash_table_iter_init(&iter, entries);
    while (g_hash_table_iter_next(&iter, NULL, &entry))
        draft_put(draft, entry_ref(entry));
    draft->root = *root;
    error = store_commit(store, draft);
    if (error)
        *message = g_strdup_printf("cannot write to %s: %s", path, store_error(store));
    draft_free(draft);
    state_free(state);
    store_close(store);
    return error;
}
