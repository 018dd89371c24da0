/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The history: how its parts hang together with the others (doc/history.md). */
#ifndef PMXCFS_DAEMON_HISTORY_H
#define PMXCFS_DAEMON_HISTORY_H

#include "daemon/reverter.h"
#include "history/askers.h"
#include "history/recorder.h"
#include "host/options.h"
#include "status/status.h"
#include "store/store.h"

/* Everything NULL: no history is written. */
struct history {
    struct store_witness witness; /* of the store */
    struct askers *askers;
    struct recorder *recorder;
    struct tree_reverter reverter;
    struct trials *trials;
};

/* Before the database is opened, whose journal it is told of. Never fails: without threads there is
 * no history, which is logged. */
void history_start(struct history *history, const struct options *options);

/* What the store is to tell; NULL: no history is written. */
struct store_witness *history_witness(struct history *history);

/* The database is loaded, and there are names of nodes now. */
void history_loaded(struct history *history, const struct tree *tree, struct status *status);

/* There are a replica that takes changes, and a mount that shows them. */
void history_ready(struct history *history, const struct options *options, struct replica *replica,
                   struct mount *mount);

/* No trial asks for more changes; when those under way are answered, none asks for anything; and
 * when nobody asks for the trials any more, they are freed. */
void history_begin_stop(struct history *history);
void history_stop_trials(struct history *history);
void history_forget_trials(struct history *history);

/* Writes what waits. When nobody publishes, asks or flushes any more; what the store folds then is
 * written already. `status`: that of history_loaded(), or NULL. */
void history_stop(struct history *history, struct status *status);

#endif
