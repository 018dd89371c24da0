/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Trials of the daemon, which brings back what a command changed unless that is confirmed. */
#ifndef PMXCFS_CTL_TRIAL_H
#define PMXCFS_CTL_TRIAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/commands.h"

/* Ends of a trial, as request 112 has them. */
enum trial_end { TRIAL_COMMAND_ENDED = 0, TRIAL_CONFIRM = 1, TRIAL_ABORT = 2 };

/* One of them; NULL: it is over, or (*code is not EXIT_DONE) stderr says why it is not known. */
json_t *trial_find(const struct context *context, uint32_t id, int *code);

/* Ends it; a code, and stderr says why it could not be. */
int trial_end(const struct context *context, uint32_t id, enum trial_end end);

/* The same, confirmed or aborted, and waits until the daemon has it no more: no restart will. */
int trial_end_for_good(const struct context *context, uint32_t id, enum trial_end end);

/* Confirms it, or has it brought back and waits for that; prints what came of it. */
int trial_settle(const struct context *context, uint32_t id, enum trial_end end);

/* The same of the trial whose number `given` is; NULL: the only one. */
int trial_choose_and_settle(const struct context *context, const char *given, enum trial_end end);

/* All of them, for people or as JSON; a code. */
int trial_print_list(const struct context *context);

/* What the command of such a trial has changed, in order of the first change of each path: a list
 * of
 * {"path", "operation", "kept"}, which is false if it cannot be brought back. NULL: stderr says why
 * it is not known. */
json_t *trial_changes(const struct context *context, json_t *trial);
void trial_print_changes(json_t *changes);

/* Says on stderr what cannot be brought back; true: there is such. */
bool trial_complain_of_lost(json_t *changes);

/* "4 min 3 s" until a moment; g_free() it. */
char *trial_time_left(json_int_t deadline);

#endif
