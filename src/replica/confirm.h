/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Confirmations: which members have stored all that was delivered up to a request, of this node's
 * requests and of others'. */
#ifndef PMXCFS_REPLICA_CONFIRM_H
#define PMXCFS_REPLICA_CONFIRM_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/wire.h"

/* That a node delivers its own message proves nothing of the others: corosync sends on without
 * waiting for them. So a node that has to know asks all, by a message with a number, and each
 * answers when it has stored what came before. A member tells that it answers, by a confirmation of
 * nothing, before each of its STATEs: when a synchronisation has chosen, it is known of all. */

/* Embedded in the replica; the writer's. */
struct confirm {
    struct member self;
    GArray *members; /* of the group, in their order: struct confirming */
    GArray *asked;   /* struct confirmation: the last request of each other member */
    bool due;        /* some of them are not answered */
    char *told;      /* node ids of those who do not, as the log has it; NULL: nothing yet; owned */
};

void confirm_init(struct confirm *confirm, struct member self);
void confirm_destroy(struct confirm *confirm);

/* The members are these from now on, this node being `self`. What was confirmed is over; who
 * confirms is remembered of those that stay. */
void confirm_configuration(struct confirm *confirm, struct member self,
                           const struct member *members, size_t count);

/* Takes a delivered message, if it has to do with this. `synced`: this node has what the group has,
 * so it may be asked. */
void confirm_take(struct confirm *confirm, struct member sender, const struct header *header,
                  bool synced);

/* A message that confirms the last that each other member has asked for, one reference; NULL:
 * nobody has asked since the last one. Everything that was delivered must be stored. */
struct buffer *confirm_answer(struct confirm *confirm, uint32_t time);

/* That message could not be sent: it is to be made again. */
void confirm_again(struct confirm *confirm);

/* The request of this node up to which all members that can have confirmed; 0: none. */
uint64_t confirm_reached(const struct confirm *confirm);

/* Whether that member confirms. Of this node it is always so. */
bool confirm_is_able(const struct confirm *confirm, const struct member *member);

/* Logs which members do not confirm, when that has changed. For a node whose answers depend on it,
 * once all members are in sync. */
void confirm_tell(struct confirm *confirm);

#endif
