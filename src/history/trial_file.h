/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A trial, and the file in which trials survive a restart. Inside history only. */
#ifndef PMXCFS_HISTORY_TRIAL_FILE_H
#define PMXCFS_HISTORY_TRIAL_FILE_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum trial_state { TRIAL_WAITING, TRIAL_REVERTING, TRIAL_FAILED };

struct trial {
    uint32_t id;
    char *command;
    pid_t group;      /* 0: all that is asked for on this node */
    int64_t begun;    /* seconds, wall clock */
    int64_t deadline; /* the same */
    int64_t from;     /* what was changed after this id of the history is the trial's ... */
    int64_t until;    /* ... up to this one; 0: the command has not ended */
    bool in_force;    /* `from` is known */
    bool stored;      /* it survives a restart */
    bool ended;
    bool confirmed;
    enum trial_state state;
    char *problem; /* NULL: none */
};

void trial_free(struct trial *trial);

/* All trials as the file and the answer of request 113 have them. */
json_t *trial_file_json(const GPtrArray *trials);

/* Writes the list in one step, or removes the file if it is empty; takes `list` over. 0 or a
 * negative errno. */
int trial_file_write(const char *path, json_t *list);

/* The trials in the file; g_ptr_array_unref() frees them. What cannot be one is left out. */
GPtrArray *trial_file_read(const char *path);

#endif
