/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The status group: carries out what its state machine decides, and multicasts what is set here. */
#ifndef PMXCFS_STATUS_STATUS_GROUP_H
#define PMXCFS_STATUS_STATUS_GROUP_H

#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "cluster/event.h"
#include "cluster/machine.h"
#include "cluster/nodes.h"
#include "status/status.h"

/* Messages and rules: doc/status.md, "The status group". Passive: no thread of its own; corosync, a
 * simulator or a recording give the events, one at a time. */
struct status_group;

/* All three must outlive the group. `transport` NULL: local mode, nothing is ever sent. `self` may
 * be {0, 0} until the first EVENT_CONNECTED. */
struct status_group *status_group_new(struct status *status, struct transport *transport,
                                      struct clock_source *clock, struct member self);
void status_group_free(struct status_group *group);

/* How corosync reaches it; both live as long as the group. */
struct group_consumer *status_group_consumer(struct status_group *group);
struct node_listener *status_group_node_listener(struct status_group *group);

/* Works on one event, which it takes over, as if no other came soon. One thread at a time. */
void status_group_handle(struct status_group *group, struct event *event);

/* Requests, from any thread; they wait for nobody. */

/* Stores a value of this node and multicasts it, or leaves that to the next synchronisation. Errors
 * as status_set_own(): then nothing was stored or sent. */
int status_group_set(struct status_group *group, const char *name, const void *value, size_t size);

/* Logs in this node's name, `pid` being the asker's. Strings are NUL-ended bytes of any kind. */
void status_group_log(struct status_group *group, uint8_t priority, const char *ident,
                      const char *tag, const char *message, uint32_t pid);

/* The machine's mode, for diagnosis. */
enum machine_mode status_group_mode(const struct status_group *group);

#endif
