/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Refusals that an administrator can meet, told in the log: why, where, and what to do; each cause
 * once in a while. */
#ifndef PMXCFS_REPLICA_REFUSALS_H
#define PMXCFS_REPLICA_REFUSALS_H

#include <stdint.h>

#include "base/lock.h"
#include "base/metrics.h"

enum refusal {
    REFUSAL_QUORUM,     /* no quorum */
    REFUSAL_COROSYNC,   /* no connection to corosync, and so no quorum */
    REFUSAL_NOT_JOINED, /* not in the group (yet) */
    REFUSAL_WAITING,    /* too much waits for the end of a synchronisation */
    REFUSAL_PROTOCOL,   /* a member's protocol is newer */
    REFUSAL_DATABASE,   /* database error */
    REFUSAL_LIMIT,      /* a limit of sizes or numbers is reached */
    REFUSAL_FORM,       /* a path that other nodes trip over */
    REFUSAL_GUEST,      /* the guest id is taken */
    REFUSAL_VERSION,    /* the global version cannot rise any more */
    REFUSAL_COUNT,
};

struct refusals {
    struct lock lock;
    struct {
        uint64_t logged;     /* milliseconds; 0: never */
        uint64_t suppressed; /* since then */
        struct counter count;
    } causes[REFUSAL_COUNT];
};

void refusals_init(struct refusals *refusals);
void refusals_destroy(struct refusals *refusals);

/* How many there were, and the label of a cause. */
uint64_t refusals_count(const struct refusals *refusals, enum refusal cause);
const char *refusals_name(enum refusal cause);

/* Logs a refusal for `path`, `detail` being what the cause alone does not tell (NULL: nothing),
 * unless one of that cause was logged less than 10 s ago: then it is counted, and told with the
 * next one. `now`: milliseconds. Any thread. */
void refusals_note(struct refusals *refusals, enum refusal cause, const char *path,
                   const char *detail, uint64_t now);

#endif
