/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A node of a recording, played by our own replica and status group: what it gets is what was
 * recorded, what it sends is kept to be compared. */
#ifndef PMXCFS_TESTS_REPLAY_NODE_H
#define PMXCFS_TESTS_REPLAY_NODE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "fixture.h"
#include "replica/replica.h"
#include "status/status_group.h"
#include "store/store.h"
#include "store_place.h"
#include "trace.h"

/* One of the two groups as the node sees it. */
struct node_group {
    struct test_transport transport;
    struct sent_queue sent;     /* ours since the last comparison */
    struct sent_queue expected; /* the recorded node's */
};

struct node {
    const char *recording;
    bool lazy; /* what is delivered is worked off as late as can be: in large batches */
    unsigned number;
    GPtrArray *trace;
    GArray *done; /* bool for each event: a SEND that was acted upon before its turn */
    struct place place;

    struct manual_clock clock;
    struct replica_listener listener;

    struct member self;
    struct node_group groups[2]; /* enum trace_group */
    struct store *store;
    struct replica *replica;
    struct status *status;
    struct status_group *status_group;
    unsigned answers;  /* of callers that are still to come */
    unsigned compared; /* messages */
    unsigned publications;
    int vmlist_apart; /* by how much our counter of the guest list may rise more than theirs */
};

struct node *node_new(const char *recording, unsigned number, bool lazy);
void node_free(struct node *node);

/* Plays one event of the recording. */
void node_play(struct node *node, size_t index);

/* What was sent since the last comparison is what the recorded node sent. */
void node_compare_sent(struct node *node, const char *when);

#endif
