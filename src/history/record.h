/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What waits to be written into the history: changes as they were published, and whole trees that
 * are to be compared with what the history has. */
#ifndef PMXCFS_HISTORY_RECORD_H
#define PMXCFS_HISTORY_RECORD_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/draft.h"
#include "history/format.h"
#include "history/patterns.h"
#include "history/store.h"

struct record {
    struct record *next; /* in a queue */
    struct record *previous;
    uint64_t number; /* its position among all that were taken */
    uint64_t version;
    int64_t time;
    uint32_t node;
    enum history_operation operation;
    uint32_t asker;       /* 0: not known */
    bool replayed;        /* the history may have it already */
    bool truncated;       /* write: it begins anew, it does not go on */
    const char *path;     /* NULL: a tree. Both in the same piece of memory, behind the record */
    const char *to;       /* rename */
    struct entry *before; /* references ... */
    struct entry *after;
    struct entry *replaced; /* rename: the target that went away */
    GPtrArray *tree;        /* struct entry: all of them, references. NULL: a change */
    size_t bytes;           /* what it keeps in memory */
};

/* A change; NULL: it is none that is ever kept. */
struct record *record_of_effect(const struct effect *effect, bool replayed);

/* All that is in `tree` now, the caller being its writer: what differs from the history is added as
 * `operation`. HISTORY_FOUND: with the version and writer of each entry; else with those of
 * `effect`. */
struct record *record_of_tree(const struct tree *tree, enum history_operation operation,
                              const struct effect *effect);
void record_free(struct record *record); /* NULL is allowed */

/* Makes `step`, which led to what `record` began with, part of that; what is left of it is to be
 * freed. */
void record_absorb(struct record *record, struct record *step);

/* How a record is written. */
struct record_writer {
    struct history_store *store;
    const struct patterns *patterns;
    bool private;                      /* contents of private paths are kept */
    int64_t now;                       /* seconds */
    const struct history_actor *actor; /* of the record; NULL: not known */
    uint64_t rows;                     /* counted: so many were added */
    size_t unpruned; /* bytes that were added since it was seen whether that is too much */
};

/* Adds the rows of a record; 0 or a negative errno. Within a transaction. */
int record_write(struct record_writer *writer, const struct record *record);

/* Says in the history that changes are missing here. 0 or a negative errno. */
int record_write_gap(struct record_writer *writer, uint64_t version, uint64_t left_out);

#endif
