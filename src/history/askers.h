/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who asks for changes on this node: processes, looked up while they wait for their answer. */
#ifndef PMXCFS_HISTORY_ASKERS_H
#define PMXCFS_HISTORY_ASKERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "history/reader.h"

/* What is known of a process is a number, so that it can travel with a change: nobody has to free
 * it. The last ASKERS_KEPT are remembered. */
struct askers;
#define ASKERS_KEPT 8192u

/* Starts the thread that reads command lines: the kernel may make it wait for the process itself,
 * which may wait for us. NULL, with errno set, if there can be none. */
struct askers *askers_start(void);
void askers_stop(struct askers *askers); /* NULL is allowed */

/* The number of that thread of a process, which is waiting for an answer right now. Looks into
 * /proc, unless it has done so in the last second. 0: nobody, or `askers` is NULL. Any thread. */
uint32_t askers_note(struct askers *askers, pid_t thread, uid_t uid);

/* The process that a thread belongs to, the thread itself if that cannot be read. Looks into /proc,
 * and waits for nothing. Any thread. */
pid_t askers_process(pid_t thread);

/* Waits until all is known of those that were noted before this call; not for long, since the
 * kernel may hold the thread up, and then not again until that is over. NULL is allowed. Any
 * thread. */
void askers_settle(struct askers *askers);

/* What is known of a number so far; false: nothing (any more). NULL is allowed. Any thread. */
bool askers_get(struct askers *askers, uint32_t number, struct history_actor *actor);

#endif
