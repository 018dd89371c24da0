/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The recorder: a thread that writes what is published into history.db, off the writer's way. */
#ifndef PMXCFS_HISTORY_RECORDER_H
#define PMXCFS_HISTORY_RECORDER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/node_names.h"
#include "core/draft.h"
#include "history/askers.h"
#include "history/store.h"

struct recorder_options {
    const char *directory; /* where history.db is */
    struct history_limits limits;
    const char *patterns; /* what is not kept (history/patterns.h); NULL: the usual */
    bool private;         /* contents of private paths are kept */
    uint64_t delay;       /* milliseconds that a change may wait to be written */
    size_t queue_bytes;   /* that may wait in memory; 0: 32 MiB */
    struct askers *askers;
};

struct recorder;

/* Starts the thread, which opens or makes the history when there is something to write: a database
 * that is refused leaves no trace. Nothing that is wrong with that keeps anyone
 * from anything: it is logged, and tried again. NULL, with errno set, if there can be no thread. */
struct recorder *recorder_start(const struct recorder_options *options);

/* Writes what waits, and ends the thread. NULL is allowed. */
void recorder_stop(struct recorder *recorder);

/* What nodes are called; once. Any thread asks. */
void recorder_set_names(struct recorder *recorder, struct node_names *names);

/* What a journal holds that a killed daemon left, before it goes into config.db: written, unless
 * the history has it, when this returns or 10 s have passed. Borrows `effects`. */
void recorder_replayed(struct recorder *recorder, const GPtrArray *effects);

/* At the start: the tree as it was loaded. What the history has not is added as found. */
void recorder_found(struct recorder *recorder, const struct tree *tree);

/* What was published. The writer; memory only. */
void recorder_take(struct recorder *recorder, const GPtrArray *effects);

/* The same, when the history has to be compared with the tree: it is new, something was left out,
 * or the tree was rebuilt. The writer, with the tree as it is now; memory only. */
bool recorder_wants_tree(struct recorder *recorder);
void recorder_take_tree(struct recorder *recorder, const struct tree *tree,
                        const GPtrArray *effects, bool rebuilt);

/* Waits until all up to that version, which is published now or in a moment, is written. True: it
 * is, or the history cannot be written. False: it was not published within 100 ms, or not written
 * within 5 s. Any thread but the recorder's. */
bool recorder_settle(struct recorder *recorder, uint64_t version);

/* Waits until all that was published until now is written. True: it is. False: it was not within
 * 5 s, cannot be at the moment, or some of it was left out. Any thread but the recorder's. */
bool recorder_write(struct recorder *recorder);

/* A whole tree waits to be compared with the history, or is being compared: that takes seconds for
 * a large one that is new here. Any thread. */
bool recorder_is_comparing(struct recorder *recorder);

/* What is to be written at once; how many records were taken until now. Any thread; never blocks.
 */
uint64_t recorder_ask(struct recorder *recorder);

/* Whether changes are written as soon as they are taken: who asked for them is not in the journal,
 * and must survive a kill while there are trials. Any thread. */
void recorder_set_prompt(struct recorder *recorder, bool prompt);

struct recorder_status {
    const char *path; /* the recorder's */
    uint64_t taken;   /* records, since the start */
    uint64_t written; /* of these, with those that were left out */
    uint64_t rows;    /* that they made */
    uint64_t waiting_bytes;
    uint64_t left_out; /* ever since the history was begun */
    uint64_t bytes;    /* of the file */
    int64_t complete;  /* seconds: how far it reaches back; 0: not at all yet */
    bool failing;      /* the last attempt to write failed */
};
void recorder_get_status(struct recorder *recorder, struct recorder_status *status);

#endif
