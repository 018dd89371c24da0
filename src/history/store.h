/* SPDX-License-Identifier: GPL-3.0-or-later */
/* history.db, written: changes go in, and what is too old or too much goes out. */
#ifndef PMXCFS_HISTORY_STORE_H
#define PMXCFS_HISTORY_STORE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/entry.h"
#include "history/reader.h"

struct history_limits {
    uint64_t bytes;      /* of the file */
    int64_t age;         /* seconds that a change is kept */
    int64_t deleted_age; /* seconds that the last version of a deleted path is kept at least */
};

/* One thread at a time. */
struct history_store;

/* Opens `path`, or makes it. A damaged one is set aside, which is logged, and a new one made. 0 or
 * a negative errno with *message (g_free() it). */
int history_store_open(const char *path, const struct history_limits *limits,
                       struct history_store **store, char **message);
void history_store_close(struct history_store *store); /* NULL is allowed */

/* A transaction; what is added in between is in the file, synced, when commit returns 0. Else
 * nothing of it is, and the store can be used again: history_store_begin() opens it anew, set aside
 * if it is damaged. Negative errno; history_store_error() says it in words. */
int history_store_begin(struct history_store *store);
int history_store_commit(struct history_store *store);
void history_store_rollback(struct history_store *store);

/* Sets the file aside and begins a new one, which is logged; not within a transaction. 0 or a
 * negative errno. */
int history_store_renew(struct history_store *store);
const char *history_store_error(const struct history_store *store);

/* One change of one path, as it is to be added. All is borrowed. */
struct history_row {
    uint64_t version;
    int64_t time;
    uint32_t node;
    enum history_operation operation;
    const char *path;
    const char *other;          /* NULL: none */
    const struct entry *before; /* NULL: nothing was there ... */
    bool before_known;          /* ... unless this is false: it was what the history has last */
    const struct entry *after;  /* NULL: nothing is there */
    const struct history_actor *actor; /* NULL: not known */
    bool private;                      /* without content */
};

/* Adds it; the id, or a negative errno. Within a transaction. */
int64_t history_store_add(struct history_store *store, const struct history_row *row);

/* Remembers what a node is called. */
int history_store_name(struct history_store *store, uint32_t node, const char *name);

/* What the history has last of every path: path (owned) → struct history_known (owned). NULL: it
 * cannot be read. */
struct history_known {
    uint8_t type; /* enum entry_type; 0: it is not there */
    uint32_t size;
    uint32_t mtime;
    uint64_t version; /* of the entry */
};
GHashTable *history_store_known(struct history_store *store);

/* All that is in the tree has been added: from here on it can be told exactly, unless it could
 * before. */
int history_store_complete(struct history_store *store, int64_t now);

/* Takes out what is over the limits. Within a transaction. 0 or a negative errno. */
int history_store_prune(struct history_store *store, int64_t now);

/* The version that was recorded last; 0: none was. */
uint64_t history_store_version(const struct history_store *store);
int history_store_set_version(struct history_store *store, uint64_t version);

/* Adds to the number of changes that were not recorded. */
int history_store_left_out(struct history_store *store, uint64_t count);

struct history_store_size {
    uint64_t bytes;
    int64_t complete; /* seconds */
    uint64_t left_out;
    bool fresh; /* nothing was ever recorded */
};
void history_store_size(struct history_store *store, struct history_store_size *size);

#endif
