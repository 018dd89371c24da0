/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Writes what has waited into history.db, in one transaction. */
#ifndef PMXCFS_HISTORY_BATCH_H
#define PMXCFS_HISTORY_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/node_names.h"
#include "history/askers.h"
#include "history/patterns.h"
#include "history/queue.h"
#include "history/store.h"

/* One thread at a time. All but the store is borrowed. Inside history only. */
struct batch_writer {
    const char *path;
    struct history_limits limits;
    const struct patterns *patterns;
    struct askers *askers;
    bool private;                /* contents of private paths are kept */
    struct history_store *store; /* NULL: not open */
};

/* Opens or makes the history, unless it is open, and adds the rows of the records; `lost`: so many
 * are missing before them. `names` NULL: not known. 0 and how many rows there were, all synced; or
 * a negative errno with *message (g_free() it), and nothing of it is there. */
int batch_write(struct batch_writer *writer, const struct record_queue *records, uint64_t lost,
                struct node_names *names, uint64_t *rows, char **message);

#endif
