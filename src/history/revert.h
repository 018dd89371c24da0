/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Brings back what some changes changed, as the history has it. */
#ifndef PMXCFS_HISTORY_REVERT_H
#define PMXCFS_HISTORY_REVERT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How a trial alters the tree: ordinary changes. Called by the trials' thread, one at a time; each
 * returns when that is done, 0 or a negative errno. */
struct reverter {
    /* What is at the path now: -ENOENT; *directory; else *content, g_bytes_unref() it. */
    int (*look)(struct reverter *reverter, const char *path, bool *directory, GBytes **content);
    int (*write)(struct reverter *reverter, const char *path, GBytes *content, bool exists);
    int (*make_directory)(struct reverter *reverter, const char *path);
    int (*remove)(struct reverter *reverter, const char *path);
    /* False: programs may still find what was there before the changes made until now. Waits for
     * nothing. */
    bool (*shown)(struct reverter *reverter);
};

/* Some changes: those above `from`, and up to `until` (0: all), that processes of the group `group`
 * (0: any) asked for on this node. */
struct revert_window {
    int64_t from;
    int64_t until;
    pid_t group;
};

/* What such changes changed becomes what it was at `from`, whoever changed it later. What others of
 * these windows had changed by then does not count: it was brought back since. */
struct revert {
    struct revert_window window;
    uint64_t version;     /* of the change `from`; 0: not known */
    const GArray *undone; /* struct revert_window; NULL: none */
    GHashTable *done;     /* filled: paths that are as they were. An attempt leaves those alone that
                             an earlier one has brought back: what they are by now is newer */
};

/* 0: done, with *problem (g_free() it) saying what cannot ever be: no content is kept; NULL: all
 * could. A negative errno with *problem: not now; -EEXIST: all but that is, and what others have
 * made there is in its way; -ESTALE: never, the history that has it is gone. */
int revert_changes(const char *history, struct reverter *reverter, struct revert *revert,
                   char **problem);

/* The id of the last change in the history, and its version; 0: there is none. */
int revert_find_last(const char *history, int64_t *id, uint64_t *version);

#endif
