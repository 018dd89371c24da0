/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the replica's files share among themselves. */
#ifndef PMXCFS_REPLICA_INTERNAL_H
#define PMXCFS_REPLICA_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "replica/refusals.h"
#include "replica/replica.h"

/* Something that happened, waiting for the writer. */
struct event {
    enum event_type {
        EVENT_CONFIGURATION,
        EVENT_MESSAGE,
        EVENT_QUORUM,
        EVENT_SEND_FAILED,
        EVENT_CONNECTED,
        EVENT_DISCONNECTED,
        EVENT_VERIFY,
        EVENT_PROBE,
    } type;
    struct event *next;
    struct member member;   /* MESSAGE: sender; CONNECTED: self */
    struct buffer *message; /* MESSAGE */
    bool quorate;           /* QUORUM */
    enum send_kind kind;    /* SEND_FAILED */
    uint64_t count;         /* SEND_FAILED */
    size_t member_count;    /* CONFIGURATION: members[], then joined[] in the same array */
    size_t joined_count;
    struct member members[];
};

/* A delivered change that is in the draft (or failed): what its sender will be told once the draft
 * is stored. */
struct outcome {
    struct buffer *message;
    struct change change; /* points into the message */
    struct member sender;
    uint64_t count;
    bool own;
    int result;
};

/* Entries that the leader still has to send: those of the moment of choosing. */
struct outgoing_updates {
    struct epoch epoch;
    struct root root;
    bool with_root;
    GPtrArray *entries; /* struct entry, owned references; taken from the end */
    size_t in_flight;   /* bytes sent and not delivered yet */
};

/* A numbered message that waits until this node is in sync. */
struct held {
    struct buffer *message; /* owned */
    uint64_t count;
};

struct replica {
    struct replica_options options;
    struct store *store;
    struct transport *transport;

    pthread_rwlock_t state_lock;
    struct state *state;

    /* The writer's own: whoever has the role. */
    struct machine *machine;
    struct draft *draft;
    GArray *outcomes; /* struct outcome */
    struct outgoing_updates *updates;

    /* Numbering and multicasting are one step under this lock. While this node is not in sync its
     * changes are numbered and held, and sent when it is: members that are in sync would apply them
     * at once, before this node takes over a state with them in it and applies them again. */
    pthread_mutex_t send_lock;
    bool sending; /* false: messages are held */
    GQueue held;  /* struct held */

    /* Callers without an answer. */
    pthread_mutex_t waiting_lock;
    GQueue waiting;     /* struct caller, by their own links, in ascending order of counts */
    GHashTable *rounds; /* acknowledge all: count of a marker → GPtrArray of struct caller; 0: those
                           whose marker was not sent yet */
    struct admit_reserve under_way;

    /* The writer role. */
    pthread_mutex_t queue_lock;
    pthread_cond_t idle;
    struct event *first;
    struct event **last;
    bool busy;

    struct refusals refusals;

    atomic_bool quorate;
    atomic_bool joined;
    atomic_bool broken;
    atomic_bool outdated; /* stays out: a member's protocol is newer */
    atomic_bool writable; /* while broken: the database takes writes again */
    atomic_int mode;
    atomic_size_t queued;

    /* What the writer lets others see of the machine. */
    pthread_mutex_t view_lock;
    GArray *members; /* struct replica_member */
    struct machine_verifications verifications;
    struct replica_checksum checksum;
    bool lowest;
    uint32_t mode_since;   /* seconds */
    uint32_t quorum_since; /* the same */

    struct replica_metrics metrics;
    uint64_t generation; /* of the machine's members that are shown; the writer's own */
    uint64_t sync_begun; /* metrics_now(); 0: no synchronisation; the writer's own */
};

static inline uint32_t now_seconds(const struct replica *replica)
{
    return replica->options.clock->seconds(replica->options.clock);
}

static inline uint64_t now_milliseconds(const struct replica *replica)
{
    return replica->options.clock->milliseconds(replica->options.clock);
}

/* execute.c: the writer's work. */
void replica_handle(struct replica *replica, const struct event *event);
bool replica_flush(
    struct replica *replica); /* false: the database failed and the group is being left */
void replica_publish(struct replica *replica, bool rebuilt);
void replica_set_broken(struct replica *replica); /* the database failed */
void replica_carry_out(struct replica *replica);  /* all actions that the machine has */

/* synchronise.c: what a leader and a follower do beyond single changes. */
void replica_send_state(struct replica *replica, const struct epoch *epoch);
void replica_start_updates(struct replica *replica, const struct action *action);
void replica_continue_updates(struct replica *replica);
void replica_stop_updates(struct replica *replica);
void replica_updates_delivered(struct replica *replica, size_t bytes);
int replica_commit(struct replica *replica, const struct action *action);

/* replica.c: holding messages, and sending what was held; then dropping it, its callers get EBUSY.
 */
void replica_hold(struct replica *replica);
void replica_release(struct replica *replica);
void replica_drop_held(struct replica *replica);

/* replica.c: callers. */
struct caller *replica_take_caller(struct replica *replica, uint64_t count);
const void *replica_caller_origin(struct replica *replica, uint64_t count);
void replica_fail_callers(struct replica *replica, int error);
void replica_send(struct replica *replica, const struct change *change, struct caller *caller);
void replica_begin_round(struct replica *replica, struct caller *caller); /* acknowledge all */
void replica_send_marker(struct replica *replica);            /* for all who began one */
void replica_fail_rounds(struct replica *replica, int error); /* also those sent already */
bool replica_end_round(struct replica *replica, uint64_t count,
                       int result); /* false: no such marker */

#endif
