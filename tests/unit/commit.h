/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A commit as the replica makes it, for tests of the store that have none. */
#ifndef PMXCFS_TESTS_COMMIT_H
#define PMXCFS_TESTS_COMMIT_H

#include "core/draft.h"
#include "core/publish.h"
#include "store/store.h"

/* A draft that is stored is published, any other dropped. 0 or what store_commit() gave. */
static inline int commit_draft(struct store *store, struct state *state, struct draft *draft)
{
    int error = store_commit(store, draft);

    if (error)
        draft_restart(draft);
    else
        state_publish(state, draft, 0);
    g_ptr_array_set_size(draft->effects, 0);
    return error;
}

#endif
