/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a group's machine is spoken to and answers in: groups, modes, epochs, actions. */
#ifndef PMXCFS_CLUSTER_MACHINE_TYPES_H
#define PMXCFS_CLUSTER_MACHINE_TYPES_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "cluster/transport.h"
#include "core/buffer.h"

enum machine_group { GROUP_CONFIGURATION, GROUP_STATUS };

enum machine_mode {
    MODE_START = 1,
    MODE_START_SYNC = 2,
    MODE_SYNCED = 3,
    MODE_UPDATE = 4,
    MODE_LEAVE = 253, /* here and beyond every message is ignored until machine_restart() */
    MODE_VERSION_ERROR = 254,
};

struct epoch {
    uint32_t counter;
    uint32_t time;
    uint32_t node;
    uint32_t pid;
};

static inline bool same_epoch(const struct epoch *a, const struct epoch *b)
{
    return a->counter == b->counter && a->time == b->time && a->node == b->node && a->pid == b->pid;
}

enum action_type {
    ACTION_SEND,       /* multicast `message` (kind) */
    ACTION_SEND_STATE, /* build this node's state as of now (index, or cluster log), multicast STATE
                          with `epoch` */
    ACTION_APPLY, /* apply the NORMAL message `message` of `sender`; if `own`, answer the caller of
                     its count (status group: own ones are ignored). What is malformed in it the
                     executor finds: configuration group machine_fail(), status group skip it */
    ACTION_GIVE_UP, /* an own NORMAL message `message` will not be applied here by itself: somebody
                       joined who has not got it, or it is in a state that is to come. Answer the
                       caller of its count that it is unknown */
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
    ACTION_STAY_OUT, /* leave for good (VERSION_ERROR): wake all callers too */
    ACTION_LOG,      /* log `text` with syslog `priority` */
};

/* Stands in the text of a LOG for a member, whose name the machine does not know. */
#define LOG_MEMBER "{member}"

/* One action. Pointers belong to the machine and live until the next call of machine_next(). */
struct action {
    enum action_type type;
    enum send_kind kind;    /* SEND */
    struct member sender;   /* APPLY; LOG: whose name is to stand for LOG_MEMBER in the text */
    bool own;               /* APPLY */
    struct buffer *message; /* SEND, APPLY, GIVE_UP; COMMIT: the leader's index alone */
    struct epoch epoch;     /* SEND_STATE, SEND_UPDATES */
    GArray *inodes;         /* SEND_UPDATES: uint64_t, each once */
    GPtrArray *updates;     /* COMMIT: struct buffer, kept UPDATE messages, whole */
    GPtrArray *states;      /* MERGE: struct buffer, one STATE message of each member, whole, own
                               included; those whose buffer has a wrong size are not among them */
    bool alone;             /* SYNCED: no other member */
    bool became;            /* SYNCED: was in another mode before */
    int priority;           /* LOG: LOG_ERR ... LOG_DEBUG of syslog.h */
    char *text;             /* LOG */
};

/* What came of verifications since the process started. */
struct machine_verifications {
    uint64_t equal;     /* comparisons with a member's checksum, one's own among them */
    uint64_t different; /* the node left the group */
};

#endif
