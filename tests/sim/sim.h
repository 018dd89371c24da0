/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the simulator's files share: the cluster, its nodes, and what the seed made of them. */
#ifndef PMXCFS_SIM_SIM_H
#define PMXCFS_SIM_SIM_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "cluster/machine.h"
#include "cluster/transport.h"
#include "core/tree.h"
#include "disk.h"
#include "history.h"
#include "random.h"
#include "replica/replica.h"
#include "status/status_group.h"
#include "store/store.h"

struct sim;

/* Many members: all that a seed decides before the first step. Chances are per thousand steps. */
struct plan {
    uint32_t nodes;
    uint32_t phases; /* of faults, each with a rest behind it */
    uint32_t steps;  /* in a phase */
    bool sqlite;
    bool durable;         /* STORE_FULL */
    bool power;           /* crashes lose what was not synced */
    bool acknowledge_all; /* all nodes' option */
    bool together;        /* all members receive a message in the same step */
    bool coarse;          /* several messages of different nodes in one second */
    uint32_t entries;     /* that every database has more */
    bool unchecked;       /* nothing is tested: to measure what the nodes do */
    bool strangers;       /* some nodes start with an empty database */
    uint32_t deployed;    /* chance of a node to be of the deployed kind, a thousand: all */
    uint32_t changes;     /* chance of a change */
    uint32_t partitions;
    uint32_t crashes;
    uint32_t departures; /* of corosync under a daemon that goes on */
    uint32_t storms;     /* of TRY_AGAIN */
    uint32_t disks;
    uint32_t jumps;      /* of clocks */
    uint32_t fold_delay; /* milliseconds; SQLite: nodes have a journal; 0: none has */
    bool sick;           /* at the end a disk fails for good (sick.c) */
    uint32_t losses;     /* of packets: senders go on while others lack what they said */
    uint32_t cancels;  /* chance of a call to be cancelled, and of all to expire, after a change */
    uint32_t flurries; /* of members that come and go one upon the other (flurry.c) */
    uint32_t votes;    /* odd.c: quorum comes or goes, and nobody else does */
    uint32_t freezes;  /* processes are stopped, and go on */
    uint32_t backups;  /* are made, or brought back */
    uint32_t ages;     /* clocks at the ends of their range */
};

/* What corosync has agreed upon, in order. */
enum item_type { ITEM_MESSAGE, ITEM_JOIN, ITEM_LEAVE };

struct item {
    enum item_type type;
    enum machine_group group;
    struct member member;   /* the sender, or who joins or leaves */
    struct buffer *message; /* owned */
    uint64_t arrived;       /* bit for each node (node_bit()) that has it */
    uint64_t delivered;     /* and for each that was told of it */
};

/* A configuration of corosync: some nodes, and the order of what they say. */
struct ring {
    uint32_t id;
    GPtrArray *nodes; /* struct node */
    GArray *items;    /* struct item */
    bool quorate;
    bool two_steps; /* who left and who joined is told in two configuration changes */
};

/* What corosync has told a process that has not looked yet. */
enum notice_type { NOTICE_CONFIGURATION, NOTICE_MESSAGE, NOTICE_QUORUM, NOTICE_SEND_FAILED };

struct notice {
    enum notice_type type;
    struct member sender;
    struct buffer *message; /* owned */
    GArray *members;        /* struct member, owned */
    GArray *joined;         /* struct member, owned */
    uint32_t ring;          /* of a message: the transition that it belongs to, or 0 */
    bool quorate;
    enum send_kind kind;
    uint64_t count;
};

struct outgoing {
    struct buffer *message; /* owned */
    enum send_kind kind;
    uint64_t count;
};

enum membership { MEMBER_OUT, MEMBER_JOINING, MEMBER_IN, MEMBER_LEAVE, MEMBER_LEAVING };

#define GROUPS 2

/* Where a node's process stands with one of the two groups. */
struct seat {
    struct node *node;
    enum machine_group group;
    struct transport transport;
    GArray *view; /* struct member: processes in the group, as of the node's `position` */
    enum membership membership;
    bool stay_out;
    uint64_t joined_at;
    GQueue inbox;  /* struct notice */
    GQueue outbox; /* struct outgoing */
};

/* Many members: a machine, the process on it, and what the checks know of both. */
struct node {
    struct sim *sim;
    uint32_t id; /* from 1 */

    /* The machine with its corosync. */
    struct disk *disk;
    struct disk_listener disk_listener;
    bool up;
    uint32_t component; /* nodes of the same number see each other */
    struct ring *ring;
    guint position;  /* items of the ring that were delivered */
    guint visit_end; /* position behind the last message that this node put in order */
    uint32_t burst;  /* messages that it may still put in order at this visit of the token */
    uint64_t slow_until;
    uint64_t frozen_until; /* its process does nothing at all */
    uint64_t storm_until;
    uint64_t deaf_until; /* nothing of others' that is larger than `lost_size` arrives here */
    uint64_t mute_until; /* nor of this node's elsewhere */
    uint32_t lost_size;  /* bytes */
    uint32_t skew;       /* seconds */
    uint32_t boot;       /* milliseconds that its clock is ahead */
    GHashTable *times;   /* a second that was given out → one behind it, maybe free */

    struct image *backup; /* of its database; NULL: none was made */
    struct past *backup_past;
    bool overtaken;         /* the database was replaced: its journal may be set aside */
    struct past *with_left; /* and must be: what the node was with it; NULL: it need not */

    /* The process. */
    bool alive;
    bool connected; /* to corosync */
    uint32_t pid;
    uint64_t connect_at;
    struct seat seats[GROUPS]; /* by enum machine_group */
    GHashTable *sent;          /* count → change_id, as allocated uint64_t */
    uint32_t seen_ring;
    bool turning; /* took a configuration change since it last ran: what it publishes now it may
                     have applied before */
    struct store *store;
    struct store_listener flush_listener;
    uint64_t flush_at; /* milliseconds when the journal is to be folded; 0: nothing is wanted */
    uint32_t joins;    /* of the configuration group */
    struct replica *replica;
    struct clock_source clock;
    struct replica_listener listener;
    struct status *status;
    struct status_group *status_group;

    /* What the checks know. */
    GHashTable *values; /* key → its value: what this process has set, owned */
    GPtrArray *logged;  /* char, owned: what this process has logged */
    struct past *past;
    GArray *doubtful;  /* struct doubtful: what commits would have made that failed, or that a crash
                          hit, since the last one that did not */
    uint64_t version;  /* of the published state */
    GPtrArray *passed; /* struct past: all that was ever committed here */
    GPtrArray *calls;  /* struct call, owned: of this process */
};

/* A lock in the tree as its owner sees it. */
struct claim {
    struct node *owner; /* NULL: nobody's */
    uint64_t until;     /* milliseconds */
    change_id change;   /* that made or renewed it */
    /* A release that comes late, after the lock was lost, takes away the next owner's. */
    uint32_t releases; /* without an answer */
    uint64_t doubt;    /* milliseconds: until then one may still come */
};

#define CLAIMS 3
#define LOCK_LIFETIME 120000u

struct statistics {
    uint64_t steps;
    uint64_t changes;
    uint64_t acknowledged;
    uint64_t refused;
    uint64_t crashes;
    uint64_t rings;
    uint64_t synchronisations;
    uint64_t commits; /* of synchronisations */
    uint64_t messages;
    uint64_t bytes;
    uint64_t departures; /* LEAVE by a daemon */
    uint64_t kept;       /* entries in safety copies */
    uint64_t splits;     /* messages that only a part of their configuration received */
    uint64_t holes;      /* messages that came behind one that was lost for good */
    uint64_t lost;       /* acknowledged changes lost as the protocol allows */
    uint64_t told;       /* values set and entries logged */
    uint64_t folds;      /* of journals */
    uint64_t replayed;   /* changes that a start brought in from a journal */
};

/* How far members have come and gone. */
struct flurry {
    struct random random; /* of its own: what else happens is as it was */
    unsigned stage;
    uint64_t next; /* step that is to come before the next stage */
    struct node *sender, *joiner, *unheard;
};

/* Many members: a run, from its seed to what its checks know. */
struct sim {
    uint64_t seed;
    struct random random;
    struct random odd;  /* of odd.c */
    struct random luck; /* of disks that a plan has more: what else happens is as it was */
    bool trace;
    struct plan plan;
    uint64_t now;  /* milliseconds */
    uint32_t tick; /* seconds that were ever asked for */
    uint32_t next_ring;
    uint32_t next_pid;
    uint32_t next_token;
    GPtrArray *nodes; /* struct node, owned */
    GPtrArray *rings; /* struct ring, owned */
    struct history *history;
    GHashTable *acknowledged; /* change_id, owned */
    GHashTable *split;        /* change_id, owned: received by a part of its configuration */
    struct claim claims[CLAIMS];
    struct flurry flurry;
    /* Status messages were given up, and others do not know yet what they said. */
    bool value_unheard;
    bool log_unheard;
    bool news; /* something has happened since the nodes were compared */
    struct statistics statistics;
};

/* sim.c */
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A promise was broken: tells the seed, shows the trace, and ends the process. */
void sim_fail(struct sim *sim, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
/* Runs one seed. */
void sim_run(uint64_t seed, bool trace, struct statistics *statistics);
struct sim *sim_new(uint64_t seed, bool trace);
void sim_add_nodes(struct sim *sim);
void sim_free(struct sim *sim);
/* Everything that is under way, without faults, until nothing is. */
void sim_rest(struct sim *sim);
bool sim_work(struct sim *sim); /* what can be done now; false: nothing */

/* network.c: the process group service */
void network_reform(struct sim *sim); /* after `up` or `component` changed */
void network_join(struct seat *seat);
void network_leave(struct seat *seat);
bool network_has_process(const struct seat *seat); /* the group knows of the node's process */
bool network_send(struct seat *seat);              /* puts one message in order; false: not now */
bool network_receive(struct node *node);           /* takes one item; false: there is none */
bool network_is_quiet(const struct ring *ring);

/* Behind what was lost for good: with those alone who go on together. */
bool network_is_transition(uint32_t ring);

/* Some have this change and others do not, so that one can be alone with it. */
void network_note_split(struct sim *sim, struct member sender, const struct buffer *message);
void network_free_ring(struct ring *ring);
void notice_free(struct notice *notice);
void outgoing_free(struct outgoing *outgoing);
void network_tell_quorum(struct node *node, bool quorate, bool first);

/* node.c */
static inline uint64_t node_bit(uint32_t id)
{
    return 1ull << (id - 1);
}

struct node *node_new(struct sim *sim, uint32_t id);
void node_free(struct node *node);
void node_start(struct node *node);
void node_stop(struct node *node); /* properly; the database is closed */
void node_crash(struct node *node, enum crash_kind kind);
bool node_finish_crash(struct node *node); /* after each call into it: true if the disk ended it */
void node_restore(struct node *node);      /* its backup, after a stop or a kill */
void node_disconnect(struct node *node);   /* its corosync is gone */
bool node_work(struct seat *seat, uint32_t count); /* false: nothing to do */
bool node_manage(struct seat *seat);               /* joins, leaves, connects */
struct member node_self(const struct node *node);
enum machine_mode node_mode(const struct node *node);
bool node_had(const struct node *node, change_id change); /* at any time */
uint64_t node_digest(const struct node *node);
bool node_is_at_rest(const struct node *node);
void node_wait(struct node *node, uint64_t *until); /* lowers *until to when it has to act */
const char *node_name(const struct node *node);
void node_set_clock(struct node *node, uint32_t time); /* seconds */

/* deployed.c: what members of the deployed kind do otherwise */
void deployed_set(uint32_t node, bool is);
bool node_is_deployed(const struct node *node);
/* The node is of that kind, and no such member knows of such messages. */
bool deployed_never_sends(const struct node *node, const struct buffer *message);

/* growth.c: the table of how messages, time and memory grow, and whether within bounds; what main()
 * gives back. `brief`: small clusters, within seconds. */
int growth_run(bool brief);
int growth_run_one(uint32_t nodes, uint32_t entries); /* the same of a cluster of one size */

/* client.c */
void client_change(struct node *node);        /* asks for any change */
struct call *client_write(struct node *node); /* one that must succeed; call_result() tells */
bool call_is_answered(const struct call *call);
int call_result(const struct call *call);
void client_check_answered(struct node *node); /* and forgets all calls */
void client_note_sent(struct node *node, const struct outgoing *outgoing);

/* status.c: the status group */
void status_start(struct node *node);
void status_stop(struct node *node);
void status_change(struct node *node); /* sets or deletes a value, or logs */
void status_set_value(struct node *node);
void status_note_unheard(struct sim *sim, const struct outgoing *outgoing); /* given up */
/* Adds what the status group is told. */
void status_add_event(GQueue *events, const struct notice *notice);
/* Two members at rest, with everything heard, have the same log and each other's values. */
void status_check_alike(const struct node *node, const struct node *other);
/* What living processes have logged is in the log. */
void status_check_kept(const struct node *node);

/* node_store.c: a node's store */
struct tree *node_open_store(struct node *node); /* NULL: it cannot start on a disk like that */
bool node_flush(struct node *node); /* folds the journal, if that is due; false: it is not */
void node_note_flush(struct store_listener *listener, uint64_t within);

/* sick.c: a disk that fails for good, under a cluster that is at rest, and is mended in the end */
void sick_plan(struct sim *sim);
void sick_run(struct sim *sim);
/* At random: sectors under the log go bad, or the disk fails before long. */
void sick_hurt(struct node *node);

/* flurry.c: members that come and go one upon the other */
void flurry_plan(struct sim *sim);
void flurry_step(struct sim *sim);

/* odd.c: what administrators and hosts do beside faults */
void odd_plan(struct sim *sim);
void odd_step(struct sim *sim);
void odd_end(struct sim *sim); /* of the faults */
void odd_run(struct sim *sim); /* at rest: a process is stopped, and disturbs nobody */

/* database.c: what nodes start with */
void database_give(struct node *node, bool empty);

#endif
