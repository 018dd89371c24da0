/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Opens the database at the start, and gives a new one the host's corosync.conf. */
#include "daemon/database.h"

#include <glib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/draft.h"
#include "core/state.h"
#include "host/corosync_conf.h"

static int open_store(const struct options *options, struct store_witness *witness,
                      struct store **store, struct tree **tree)
{
    const struct store_options store_options = {
        .durability = options->durability_full ? STORE_FULL : STORE_NORMAL,
        .fold_delay = options->fold_delay,
        .witness = witness,
    };
    g_autofree char *path = g_build_filename(options->state_dir, "config.db", NULL);
    g_autofree char *message = NULL;

    int error = store_open(path, &store_options, store, tree, &message);
    if (error < 0)
        log_error("%s", message);
    return error;
}

/* Imports the host's file, if there is one, and stores it. Takes `tree` over, which is not altered.
 */
static int import(const struct options *options, struct store *store, struct tree *tree)
{
    struct state *state = state_new(tree, 0);
    struct draft *draft = draft_new(state);

    int error = corosync_conf_import(options->corosync_conf, draft, clock_seconds());
    if (error == 0 && !draft_is_empty(draft)) {
        error = store_commit(store, draft);
        if (error < 0)
            log_error("cannot store the imported corosync.conf: %s", strerror(-error));
    }
    draft_free(draft);
    state_free(state);
    return error;
}

static bool nothing_ever_was_in(const struct tree *tree)
{
    return tree->root.version <= 1 && tree_entry_count(tree) == 1;
}

int database_open(const struct options *options, struct store_witness *witness,
                  struct store **store, struct tree **tree)
{
    int error = open_store(options, witness, store, tree);
    if (error < 0 || options->local || !nothing_ever_was_in(*tree))
        return error;
    error = import(options, *store, g_steal_pointer(tree));
    store_close(g_steal_pointer(store));
    /* Loading it anew is the shortest way to a tree that is exactly what is stored. */
    return error < 0 ? error : open_store(options, witness, store, tree);
}
