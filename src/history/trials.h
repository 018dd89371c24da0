/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Trials: changes that are brought back to what was there before unless they are confirmed in time.
 */
#ifndef PMXCFS_HISTORY_TRIALS_H
#define PMXCFS_HISTORY_TRIALS_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "history/recorder.h"
#include "history/revert.h"

#define TRIALS_MAX 16u
#define TRIAL_SECONDS_MAX 86400u
#define TRIAL_COMMAND_MAX 1000u /* bytes */

enum trial_end {
    TRIAL_ENDED,   /* the command is: what its processes change later is not the trial's */
    TRIAL_CONFIRM, /* what was changed stays */
    TRIAL_ABORT,   /* it is brought back now */
};

struct trials;

/* Takes up what DIRECTORY/trials.json has from an earlier life, and starts the thread: what is
 * overdue is brought back as soon as the tree takes changes. All is borrowed. NULL, with errno set,
 * if there can be no thread. */
struct trials *trials_start(const char *directory, struct recorder *recorder,
                            struct reverter *reverter);

/* Ends the thread, in two steps: first it asks for no more changes; then, when what it waits for is
 * answered, it is gone. What others ask for after that is taken, and nothing comes of it. Trials
 * stay in the file. NULL is allowed. */
void trials_begin_stop(struct trials *trials);
void trials_stop(struct trials *trials);

/* When nobody asks for anything any more, after trials_stop(). NULL is allowed. */
void trials_free(struct trials *trials);

/* All of these are for any thread, and block for nothing. */

/* A trial of what the processes of process group `group` (0: all of this node) will change; it is
 * in force when the list calls it stored. 0 with *id; -ENOSPC: there are too many, or the command's
 * text is too long. */
int trials_begin(struct trials *trials, uint32_t seconds, pid_t group, const char *command,
                 uint32_t *id);

/* -ENOENT: there is no such trial (any more). */
int trials_end(struct trials *trials, uint32_t id, enum trial_end end);

/* A list (doc/ipc.md); the reference is the caller's. */
json_t *trials_list(struct trials *trials);

#endif
