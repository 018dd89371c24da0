/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Carries out what a group's machine decides: what both groups have in common. */
#ifndef PMXCFS_CLUSTER_EXECUTOR_H
#define PMXCFS_CLUSTER_EXECUTOR_H

#include <stdatomic.h>

#include "base/clock.h"
#include "base/node_names.h"
#include "cluster/event.h"
#include "cluster/machine.h"
#include "cluster/transport.h"

struct executor;

/* What a group does with the machine's actions, by the thread that gives events. */
struct group_actions {
    /* SEND_STATE: what follows the epoch; a new reference; NULL: it failed. */
    struct buffer *(*state)(struct executor *executor);

    /* LEAVE and STAY_OUT: what comes before the leaving itself. */
    void (*leaving)(struct executor *executor);

    /* All others that are not the same for both groups; NULL: nothing, or there is no such action.
     */
    void (*of[ACTION_LOG])(struct executor *executor, const struct action *action);
};

/* Embedded in its group, which gives events from one thread at a time. */
struct executor {
    enum machine_group group;
    const struct group_actions *actions;
    struct machine *machine;     /* owned */
    struct clock_source *clock;  /* borrowed */
    struct transport *transport; /* borrowed; NULL: there is no group, nothing is sent */
    struct node_names *names;    /* borrowed; NULL: members are logged by their numbers */
    atomic_int mode;             /* the machine's as of the last action, for all threads */
};

void executor_init(struct executor *executor, enum machine_group group, struct member self,
                   const struct group_actions *actions, struct clock_source *clock);
void executor_destroy(struct executor *executor);

/* Gives the machine an event that concerns it, then carries out all that it asks for. */
void executor_handle(struct executor *executor, const struct event *event);

/* No more events are there for now. */
void executor_end_batch(struct executor *executor);

/* Carries out what the machine asks for, after it was told something otherwise. */
void executor_run(struct executor *executor);

/* Multicasts a message of the group's own. Without one that is SEND_SYNC the node has to leave;
 * another is left out, which is logged as `what`. 0 or a negative errno. */
int executor_multicast(struct executor *executor, struct buffer *message, enum send_kind kind,
                       const char *what);

/* Seconds for headers. */
uint32_t executor_seconds(const struct executor *executor);

#endif
