/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Brings paths of the tree back to what they were: what undelete, revert and rollback share. */
#ifndef PMXCFS_CTL_UNDO_H
#define PMXCFS_CTL_UNDO_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/commands.h"
#include "history/reader.h"

enum undo_action { UNDO_CREATE, UNDO_WRITE, UNDO_MKDIR, UNDO_REMOVE, UNDO_MOVE };

enum undo_result {
    UNDO_PLANNED,
    UNDO_DONE,
    UNDO_LEFT,   /* it cannot be, and need not: `problem` says why */
    UNDO_FAILED, /* `problem` says why */
};

/* One path that is not what it was. */
struct undo_step {
    char *path;
    enum undo_action action;
    enum undo_result result;
    char *from;         /* UNDO_MOVE: where the guest is now; else NULL */
    GBytes *now;        /* content, if a file is there (or at `from`); else NULL */
    GBytes *wanted;     /* content, if there is to be a file; else NULL */
    uint32_t mtime;     /* of the wanted one */
    uint32_t now_mtime; /* of what is there */
    uint64_t version;   /* that made it what is wanted; 0: not known */
    char *problem;      /* NULL: there is none */
};

struct undo {
    const struct context *context;
    struct history_reader *reader;
    char *mountpoint;
    GPtrArray *steps; /* struct undo_step, in order of paths when all are there */
    bool dry_run;
    bool show_secrets;
};

/* What is at a path of the mount. */
struct undo_present {
    bool exists;
    bool directory;
    uint32_t mtime;
};

/* Opens the history of the running daemon, and finds its mount. EXIT_DONE, and undo_close() it;
 * else stderr says why, as without a daemon. Without quorum that is an error unless nothing is to
 * be changed (`dry_run`). */
int undo_open(struct undo *undo, const struct context *context, bool dry_run);
void undo_close(struct undo *undo);

/* 0 or a negative errno. */
int undo_look(const struct undo *undo, const char *path, struct undo_present *present);

/* Adds what makes the path what `target` is; nothing, if it is that. `version`: see above.
 * EXIT_DONE, or stderr says why. */
int undo_add(struct undo *undo, const char *path, const struct history_version *target,
             uint64_t version);

/* Adds all that makes the part of the tree that `filter` takes what it was at a position.
 * `complete` false: what is not recorded so far back is left. corosync.conf is left out, and stderr
 * says so, unless the filter's path is that. */
int undo_add_tree(struct undo *undo, const struct history_filter *filter, int64_t position,
                  bool complete);

/* Leaves out what belongs together with a file that does not become what it was at the position
 * (its content is private, or it is not asked for), as the halves of a pair of keys do; what the
 * filter's path names itself is only warned of. EXIT_DONE, or stderr says why. */
int undo_leave_halves(struct undo *undo, const struct history_filter *filter, int64_t position);

/* When all are added: their order, guests whose number others have, guests that only moved. */
int undo_arrange(struct undo *undo);

/* Prints what would be done (not as JSON), with the differences. */
void undo_show(const struct undo *undo);

/* Does it, unless it is a dry run, and prints what was done or would be. An exit code. */
int undo_run(struct undo *undo);

#endif
