/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the machine's files share among themselves. Each calls only those listed above its own. */
#ifndef PMXCFS_CLUSTER_MACHINE_INTERNAL_H
#define PMXCFS_CLUSTER_MACHINE_INTERNAL_H

#include "cluster/machine_types.h"
#include "cluster/wire.h"

/* A NORMAL message that is kept back. */
struct kept {
    struct member sender;
    uint64_t count;
    struct buffer *message; /* a reference */
    bool unsynced; /* sync queue: the sender was not in sync, and applies it after the queue
                      of before; those in sync applied it on arrival */
};

/* What is known of a member, beside its struct member. */
struct peer {
    bool synced;          /* has the state that the group agreed upon */
    struct buffer *state; /* its STATE message, or NULL; a reference */
    bool shared;          /* `state` is another peer's message with the same body */
};

/* The checksum that VERIFY messages are compared with. */
struct checksum {
    bool wanted; /* ACTION_CHECKSUM is out */
    bool own;    /* the request was this node's: it sends the VERIFY */
    bool known;  /* `digest` is there */
    uint64_t id; /* of the request */
    struct epoch epoch;
    uint8_t digest[DIGEST_SIZE];
};

/* Verification: of requests of this node, and of the last of anybody. */
struct verification {
    struct checksum checksum;
    uint64_t id;  /* the last that this node asked for */
    bool pending; /* that request has not come back yet */
    struct machine_verifications counts;
};

struct machine {
    enum machine_group group;
    struct member self;
    enum machine_mode mode;      /* machine_set_mode() */
    uint32_t epoch_counter;      /* of this process's own epochs, over all connections */
    struct epoch epoch;          /* the current sync epoch */
    struct epoch start;          /* own epoch that is to be multicast with the end of the batch */
    bool starts;                 /* there is one */
    bool says_state;             /* so is this node's state */
    GArray *members;             /* struct member, sorted */
    GArray *peers;               /* struct peer, one for each of `members`, same order */
    uint64_t generation;         /* machine_generation() */
    GSequence *queue;            /* struct kept, by count */
    GQueue sync_queue;           /* struct kept, in order of arrival */
    GPtrArray *updates;          /* struct buffer, kept UPDATE messages */
    struct buffer *leader_index; /* UPDATE: what the commit must result in */
    uint64_t kept_bytes;         /* of queues, updates and states, with overhead */
    bool committing;             /* ACTION_COMMIT is out */
    struct verification verification;
    GQueue actions;         /* struct action, owned with what it refers to: to be handed out */
    struct action *current; /* the one that was handed out last; owned */
};

/* A delivered message under way through its handler. */
struct arrival {
    struct member sender;
    struct buffer *message; /* borrowed */
    struct header header;
};

static inline struct member *member_at(const struct machine *machine, guint position)
{
    return &g_array_index(machine->members, struct member, position);
}

static inline struct peer *peer_at(const struct machine *machine, guint position)
{
    return &g_array_index(machine->peers, struct peer, position);
}

static inline uint32_t machine_protocol(const struct machine *machine)
{
    return machine->group == GROUP_CONFIGURATION ? CONFIGURATION_PROTOCOL : STATUS_PROTOCOL;
}

/* machine_actions.c: queue an action, taking over what it refers to. */
void machine_push(struct machine *machine, struct action action);
void machine_push_send(struct machine *machine, enum send_kind kind, struct buffer *message);
void machine_push_apply(struct machine *machine, struct member sender, struct buffer *message);
#define machine_push_log(machine, ...) machine_push_log_of(machine, (machine)->self, __VA_ARGS__)
void __attribute__((format(printf, 4, 5)))
machine_push_log_of(struct machine *machine, struct member member, int priority, const char *format,
                    ...);

/* Forgets the queued actions, but, unless `departures_too`, not that the group must be left. */
void machine_drop_actions(struct machine *machine, bool departures_too);
void machine_free_actions(struct machine *machine); /* with the one that was handed out last */

/* machine_members.c */

/* The members are these from now on, and nobody is synced. What was known of those before must have
 * been dropped (machine_forget_round()). */
void machine_take_members(struct machine *machine, const struct member *members, size_t count);

/* The peer of that member, or NULL: it is none. */
struct peer *machine_find_peer(const struct machine *machine, const struct member *member);
void machine_mark_all_synced(struct machine *machine);

/* machine_queues.c */

/* A reference to a message that is kept, counted; and no longer: the reference goes to the caller.
 */
struct buffer *machine_keep(struct machine *machine, struct buffer *message);
struct buffer *machine_let_go(struct machine *machine, struct buffer *message);

/* Keeps a NORMAL message for the queue, or the sync queue. */
void machine_queue(struct machine *machine, const struct arrival *arrival, bool for_sync_queue);
void machine_deliver_queue(struct machine *machine);    /* after it was settled who is synced */
void machine_apply_sync_queue(struct machine *machine); /* after a commit */

/* Somebody joined who lacks what is in the queue, so everybody empties it: own messages are sent
 * again (status group), or their callers hear that nobody knows (configuration group). */
void machine_resend_queue(struct machine *machine);
void machine_give_up_queue(struct machine *machine);

/* Before a round is forgotten: what arrived during its updates, and is in the state of nobody who
 * goes on into `members`, goes back to the queue. */
void machine_return_to_queue(struct machine *machine, const struct member *members, size_t count);
void machine_drop_queue(struct machine *machine);
void machine_drop_states(struct machine *machine);
void machine_forget_round(struct machine *machine); /* all that ends with a synchronisation */

/* machine_modes.c */

/* The table of transitions must allow it. */
void machine_set_mode(struct machine *machine, enum machine_mode mode);

/* Enters LEAVE or a mode beyond it, unless this one or a higher one is reached already; nothing is
 * kept for later then. */
void machine_stop(struct machine *machine, enum machine_mode mode, const char *reason);
void machine_become_synced(struct machine *machine);

/* False, and on the way out, if what is kept has grown beyond all measure. */
bool machine_within_bounds(struct machine *machine);

/* What must hold between events. */
void machine_assert_sound(const struct machine *machine);

/* Handlers of messages: machine_choose.c, machine_verify.c. */
void machine_take_epoch(struct machine *machine, const struct arrival *arrival);
void machine_take_state(struct machine *machine, const struct arrival *arrival);
void machine_verify_request(struct machine *machine, const struct arrival *arrival);
void machine_compare_checksum(struct machine *machine, const struct arrival *arrival);

#endif
