/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A trial, and the file in which trials survive a restart. Inside history only. */
#ifndef PMXCFS_HISTORY_TRIAL_FILE_H
#define PMXCFS_HISTORY_TRIAL_FILE_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "history/revert.h"

enum trial_state { TRIAL_WAITING, TRIAL_REVERTING, TRIAL_FAILED };

struct trial {
    uint32_t id;
    char *command;
    int64_t begun;               /* seconds, wall clock */
    int64_t deadline;            /* the same; what it is by the clock as it is now */
    uint64_t due;                /* when that is, in milliseconds of the clock that is never set */
    struct revert_window window; /* what is the trial's; until 0: the command has not ended */
    uint64_t version;            /* of the change that is the last one before it; 0: not known */
    GArray *undone;   /* struct revert_window: of trials that were in force when it began */
    GHashTable *done; /* paths that are brought back already; a restart forgets them */
    bool in_force; /* the window's beginning is known, and it has not been brought back as far as it
                      can be */
    bool stored;   /* it survives a restart */
    bool ended;
    bool confirmed;
    bool tried; /* the thread is bringing it back at this moment */
    bool lost;  /* it cannot be brought back ever */
    bool told;  /* the log has that it could not be brought back */
    enum trial_state state;
    char *problem; /* NULL: none */
    char *blocked; /* what becomes the problem when programs see what was brought back; the thread's
                      own. NULL: nothing */
};

struct trial *trial_new(const char *command, const struct revert_window *window);
void trial_free(struct trial *trial);

/* Its time is over in so many seconds, by both clocks. */
void trial_set_due(struct trial *trial, int64_t seconds);

/* True: the wall clock was set, and the deadline is another one by it. */
bool trial_follow_clock(struct trial *trial);

/* All trials as the answer of request 113 has them; `in_force`: those of them that the file has. */
json_t *trial_file_json(const GPtrArray *trials, bool in_force);

/* Writes the list in one step, or removes the file if it is empty; takes `list` over. 0 or a
 * negative errno. */
int trial_file_write(const char *path, json_t *list);

/* The trials in the file; g_ptr_array_unref() frees them. What cannot be one is left out. */
GPtrArray *trial_file_read(const char *path);

#endif
