/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who asks for what, counted while somebody watches (doc/ipc.md, request 104). */
#ifndef PMXCFS_STATUS_ACTIVITY_H
#define PMXCFS_STATUS_ACTIVITY_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/clock.h"
#include "core/buffer.h"

/* Nothing is kept, and noting costs one look at a number, unless activity_take() was called in the
 * last 10 seconds. Any thread; one lock inside, over memory and /proc only. */
struct activity;

/* The clock must outlive it. */
struct activity *activity_new(struct clock_source *clock);
void activity_free(struct activity *activity);

bool activity_is_watched(struct activity *activity);

/* `operation`: static text. `path`: bytes of any kind, kept up to 250, without control characters.
 * `caller`: process or thread id. */
void activity_note(struct activity *activity, const char *operation, const char *path,
                   pid_t caller);

/* `process` (of a thread that may end soon) has just taken or renewed the lock at `path`. Kept also
 * if nobody watches, for 1000 locks. */
void activity_note_lock(struct activity *activity, const char *path, pid_t process);

/* Who did so last on this node, as an object of "pid", "command" (empty if it has ended), "alive";
 * null: nobody since the start, or nothing can be told of it now. Reads /proc. */
json_t *activity_lock_holder(struct activity *activity, const char *path);

/* What was noted since the last call, JSON as in doc/ipc.md, one reference; and goes on watching.
 */
struct buffer *activity_take(struct activity *activity);

#endif
