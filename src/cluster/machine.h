/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The synchronisation state machine of a process group: events in, actions out, no I/O, no clock.
 */
#ifndef PMXCFS_CLUSTER_MACHINE_H
#define PMXCFS_CLUSTER_MACHINE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/transport.h"
#include "core/buffer.h"
#include "core/entry.h"

/* Format and rules: doc/cluster.md. One implementation serves both groups; `enum machine_group`
 * tells what differs. */

enum machine_group { GROUP_CONFIGURATION, GROUP_STATUS };

enum machine_mode {
    MODE_START = 1,
    MODE_START_SYNC = 2,
    MODE_SYNCED = 3,
    MODE_UPDATE = 4,
    MODE_LEAVE = 253, /* here and beyond every message is ignored until machine_restart() */
    MODE_VERSION_ERROR = 254,
    MODE_ERROR = 255,
};

struct epoch {
    uint32_t counter;
    uint32_t time;
    uint32_t node;
    uint32_t pid;
};

enum action_type {
    ACTION_SEND,       /* multicast `message` (kind) */
    ACTION_SEND_STATE, /* build this node's state as of now (index, or cluster log), multicast STATE
                          with `epoch` */
    ACTION_APPLY, /* apply the NORMAL message `message` of `sender`; if `own`, answer the caller of
                     its count (status group: own ones are ignored). What is malformed in it the
                     executor finds: configuration group machine_fail(), status group skip it */
    ACTION_SEND_UPDATES, /* leader: multicast an UPDATE with `epoch` for each of `inodes`, as they
                            are now, in a bounded window, then UPDATE_COMPLETE */
    ACTION_COMMIT,   /* replace own state: leader's index `message`, entries `updates`; report with
                        machine_committed() */
    ACTION_MERGE,    /* status group: merge the cluster logs `states`; comes before SYNCED */
    ACTION_SYNCED,   /* a synchronisation is over and this node is SYNCED: tells the status group to
                        send its values (alone: nodeip only, and only if it `became`); alone, it also
                        comes when the node was SYNCED before */
    ACTION_CHECKSUM, /* compute the full checksum of the state as of now; report with
                        machine_checksum() */
    ACTION_LEAVE,    /* leave the group and join again: wake all waiting callers with an error */
    ACTION_STAY_OUT, /* leave for good (VERSION_ERROR, ERROR): wake all callers too */
    ACTION_LOG,      /* log `text` with syslog `priority` */
};

/* One action. Pointers belong to the machine and live until the next call of machine_next(). */
struct action {
    enum action_type type;
    enum send_kind kind;    /* SEND */
    struct member sender;   /* APPLY */
    bool own;               /* APPLY */
    struct buffer *message; /* SEND, APPLY; COMMIT: the leader's index alone */
    struct epoch epoch;     /* SEND_STATE, SEND_UPDATES */
    GArray *inodes;         /* SEND_UPDATES: uint64_t, each once */
    GPtrArray *updates;     /* COMMIT: struct buffer, kept UPDATE messages, whole */
    GPtrArray *states;      /* MERGE: struct buffer, one STATE message of each member, whole, own
                               included; those whose buffer has a wrong size are not among them */
    bool alone;             /* SYNCED: no other member */
    bool became;            /* SYNCED: was in another mode before */
    int priority;           /* LOG: LOG_ERR ... LOG_DEBUG of syslog.h */
    const char *text;       /* LOG */
};

struct machine;

struct machine *machine_new(enum machine_group group, struct member self);
void machine_free(struct machine *machine);

/* Events. `time`: seconds of the wall clock, goes into headers and epochs only. After each event
 * the executor calls machine_next() until it is empty, carrying out each action before it asks for
 * the next. The machine is not locked: its owner (a group's executor) calls from one thread at a
 * time. */

/* A configuration change from libcpg. */
void machine_configuration(struct machine *machine, const struct member *members,
                           size_t member_count, const struct member *joined, size_t joined_count,
                           uint32_t time);

/* A delivered message; takes a reference if it keeps it. */
void machine_deliver(struct machine *machine, struct member sender, struct buffer *message);

/* The result of ACTION_COMMIT: 0, or a negative errno (then LEAVE). */
void machine_committed(struct machine *machine, int result);

/* The result of ACTION_CHECKSUM. */
void machine_checksum(struct machine *machine, const uint8_t digest[DIGEST_SIZE], uint32_t time);

/* The executor cannot go on (database error, malformed change, change delivered without quorum, a
 * message that cannot be sent): drop all actions that are still queued and LEAVE. `reason` is
 * logged. */
void machine_fail(struct machine *machine, const char *reason);

/* The same, but for good: mode ERROR, ACTION_STAY_OUT. For what joining again would not cure. */
void machine_abandon(struct machine *machine, const char *reason);

/* A connection to the group was (re)made, or the group was left and is joined again, possibly with
 * another node id or pid: mode START, all forgotten but epoch counter and verification ids. The
 * only way out of LEAVE, VERSION_ERROR and ERROR. */
void machine_restart(struct machine *machine, struct member self);

/* Once an hour, or when an administrator wants it: the lowest node id, if SYNCED, asks for a
 * verification, unless the last has not come back yet. */
void machine_verify(struct machine *machine, uint32_t time);

/* The next action, or false. */
bool machine_next(struct machine *machine, struct action *action);

enum machine_mode machine_mode(const struct machine *machine);
const struct member *machine_members(const struct machine *machine, size_t *count);
bool machine_is_lowest(const struct machine *machine);   /* this member has the lowest node id */
bool machine_is_complete(const struct machine *machine); /* SYNCED, and so are all other members */
size_t machine_queued(const struct machine *machine);    /* NORMAL messages kept, both queues */

/* True if the member at that position of machine_members() has, as far as this node knows, the
 * state that the group agreed upon. */
bool machine_member_is_synced(const struct machine *machine, size_t position);

/* Rises whenever members, or what machine_member_is_synced() says of one, may have changed. */
uint64_t machine_generation(const struct machine *machine);

/* What came of verifications since the process started. */
struct machine_verifications {
    uint64_t equal;     /* comparisons with a member's checksum, one's own among them */
    uint64_t different; /* the node left the group */
};
struct machine_verifications machine_verifications(const struct machine *machine);

#endif
