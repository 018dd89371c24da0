/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What others may see of the writer's side: mode, members, verifications. */
#ifndef PMXCFS_REPLICA_VIEW_H
#define PMXCFS_REPLICA_VIEW_H

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/lock.h"
#include "cluster/machine.h"
#include "core/digest.h"
#include "replica/confirm.h"

/* What state the replica is in, for status and metrics. */
struct replica_status {
    enum machine_mode mode;
    bool connected; /* corosync is there */
    bool joined;
    bool quorate;
    bool acknowledge_all;  /* a change is answered when all members have confirmed it */
    bool broken;           /* database error: changes are not, or not all, stored */
    bool lowest;           /* of the group's members: the one that asks for verifications */
    uint32_t mode_since;   /* seconds, as is ... */
    uint32_t quorum_since; /* ... when `quorate` last changed */
    size_t waiting;        /* callers without an answer */
    size_t queued;         /* messages kept back by the machine */
    size_t held;           /* own messages kept back until this node is in sync */
    struct machine_verifications verifications;
};

/* A member of the group as this node knows it. */
struct replica_member {
    struct member member;
    bool synced;
    bool confirms;  /* tells what it has stored, with acknowledge all */
    uint32_t since; /* seconds: when it was first seen in the group */
};

/* A checksum of the whole state; all zero: none was computed yet. */
struct replica_checksum {
    uint8_t digest[DIGEST_SIZE];
    uint64_t version;
    uint32_t time; /* seconds */
};

/* Embedded in the replica. The writer writes, any thread reads. */
struct view {
    struct clock_source *clock; /* borrowed */
    atomic_bool quorate;
    atomic_bool connected; /* to corosync */
    atomic_bool joined;
    atomic_bool outdated; /* stays out: a member's protocol is newer */

    struct lock lock;             /* for what follows */
    struct replica_status status; /* what is known here of it, but for the booleans above */
    GArray *members;              /* struct replica_member */
    uint64_t generation;          /* of the machine's members that are shown */
    struct replica_checksum checksum;
};

void view_init(struct view *view, struct clock_source *clock);
void view_destroy(struct view *view);

/* The writer: shows what the machine knows, and what it has computed. */
void view_show_machine(struct view *view, const struct machine *machine,
                       const struct confirm *confirm);
void view_show_checksum(struct view *view, const struct replica_checksum *checksum);

/* False: it was so before. */
bool view_set_quorate(struct view *view, bool quorate);

/* Any thread. Fills in what the view knows of it. */
void view_get_status(struct view *view, struct replica_status *status);
GArray *view_members(struct view *view); /* a copy; g_array_unref() it */
void view_get_checksum(struct view *view, struct replica_checksum *checksum);

#endif
