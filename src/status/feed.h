/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The change feed: the last changes that were applied on this node, in the order of their versions.
 */
#ifndef PMXCFS_STATUS_FEED_H
#define PMXCFS_STATUS_FEED_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "history/askers.h"

/* Records and events: doc/ipc.md, "Change feed". No lock: the owner serialises. */

#define FEED_RECORDS 10000u

/* One change, or one synchronisation (operation "resync"). */
struct feed_record {
    uint64_t sequence;     /* its position in the feed */
    uint64_t version;      /* the global version that it made */
    uint64_t from;         /* the version before it, and before the writes that it stands for */
    uint32_t time;         /* seconds */
    uint32_t node;         /* node id of who made it */
    const char *operation; /* static */
    char *path;            /* NULL: resync */
    char *target;          /* rename, else NULL */
    uint32_t size;         /* bytes of the file as it is now */
    GPtrArray *paths;      /* resync: those that changed (char *), else NULL */
    uint32_t asker;        /* number of the process that asked here; 0: not known */
    uint32_t more;         /* resync: how many more did, beyond what an event can tell */
    uint32_t more_private; /* and how many private ones */
};

/* Writes of one file in a row, by one node, are one record: the last, in the place of the others,
 * whose sequences nobody has any more. Who is quick is told each; nobody misses the last. */
struct feed {
    struct feed_record *records[FEED_RECORDS]; /* a ring; sequences rise */
    size_t first;                              /* index of the oldest */
    size_t count;
    uint64_t next;      /* sequence of the next record, from 1 */
    uint64_t forgotten; /* sequence of the last record that had to go; 0: none */
    uint64_t version;   /* of the last record; 0: not known yet */
    GPtrArray *early;   /* records whose predecessors are still to come */
};

struct feed *feed_new(void);
void feed_free(struct feed *feed);

/* Before anything is added: the version of the tree now. What led to it is not remembered. */
void feed_start(struct feed *feed, uint64_t version);

/* Adds what `effects` (struct effect) tell; `rebuilt`: they are one synchronisation. Changes may
 * come before their predecessors (those wait for the kernel's caches): they are kept until these
 * are there. */
void feed_add(struct feed *feed, const GPtrArray *effects, bool rebuilt);

/* The sequence of the first record after `version`; *missed: how many changes after it are not
 * remembered. */
uint64_t feed_find(const struct feed *feed, uint64_t version, uint64_t *missed);

/* The first record from that sequence on, which *sequence is moved on to: NULL if it is still to
 * come. *missed: how many records from there on are forgotten. */
const struct feed_record *feed_get(const struct feed *feed, uint64_t *sequence, uint64_t *missed);

/* One JSON object in a line, without private paths unless `all`; NULL if nothing of it may be seen.
 * `node_name` NULL: not known; `actor` NULL: not known who asked. free() it. */
char *feed_record_text(const struct feed_record *record, const char *node_name,
                       const struct history_actor *actor, bool all);

#endif
