/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The synchronisation state machine of a process group: events in, actions out, no I/O, no clock.
 */
#ifndef PMXCFS_CLUSTER_MACHINE_H
#define PMXCFS_CLUSTER_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/machine_types.h"
#include "cluster/transport.h"
#include "core/buffer.h"
#include "core/entry.h"

/* Format and rules: doc/cluster.md. One implementation serves both groups; `enum machine_group`
 * tells what differs. */

struct machine;

struct machine *machine_new(enum machine_group group, struct member self);
void machine_free(struct machine *machine);

/* Events. `time`: seconds of the wall clock, goes into headers and epochs only. After each event
 * the executor calls machine_next() until it is empty, carrying out each action before it asks for
 * the next. The machine is not locked: its owner (a group's executor) calls from one thread at a
 * time. */

/* A configuration change from libcpg. `joined`: any member did, whoever it is. */
void machine_configuration(struct machine *machine, const struct member *members,
                           size_t member_count, bool joined, uint32_t time);

/* A delivered message; takes a reference if it keeps it. */
void machine_deliver(struct machine *machine, struct member sender, struct buffer *message);

/* All that was delivered so far has been given. What a synchronisation begins with (SYNC_START,
 * this node's STATE) is asked for only now: of several changes of membership in a row, or several
 * SYNC_STARTs, the last one counts, and for all members, as they come to all in the same order.
 * False: nothing is asked for. */
bool machine_end_batch(struct machine *machine);

/* The group is out of reach: what was to be asked for then is not. */
void machine_disconnected(struct machine *machine);

/* The result of ACTION_COMMIT: 0, or a negative errno (then LEAVE). */
void machine_committed(struct machine *machine, int result);

/* The result of ACTION_CHECKSUM. */
void machine_checksum(struct machine *machine, const uint8_t digest[DIGEST_SIZE], uint32_t time);

/* The executor cannot go on (database error, malformed change, change delivered without quorum, a
 * message that cannot be sent): drop all actions that are still queued and LEAVE. `reason` is
 * logged. */
void machine_fail(struct machine *machine, const char *reason);

/* A connection to the group was (re)made, or the group was left and is joined again, possibly with
 * another node id or pid: mode START, all forgotten but epoch counter and verification ids. The
 * only way out of LEAVE and VERSION_ERROR. */
void machine_restart(struct machine *machine, struct member self);

/* Once an hour, or when an administrator wants it: the lowest node id, if SYNCED, asks for a
 * verification, unless the last has not come back yet. */
void machine_verify(struct machine *machine, uint32_t time);

/* The request for one could not be sent: the next may be. */
void machine_verify_failed(struct machine *machine);

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

struct machine_verifications machine_verifications(const struct machine *machine);

#endif
