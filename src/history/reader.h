/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reads a history.db: this node's, while the daemon writes to it, or any other's. */
#ifndef PMXCFS_HISTORY_READER_H
#define PMXCFS_HISTORY_READER_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "history/format.h"

/* The one door for the bytes of a history.db, which may be foreign: whatever is in the file, these
 * functions return an error or what is consistent in itself (paths are clean, relative, without
 * "." and ".."; sizes are bounded). One thread at a time. Errors: -ENOENT: there is no such thing;
 * -EBADMSG: the file is damaged or no history; -EBUSY, -EIO, -ENOMEM as SQLite has them. */
struct history_reader;

/* Opens `path` without altering it. *message (g_free() it) is one line for an administrator; NULL
 * without an error. */
int history_open(const char *path, struct history_reader **reader, char **message);

/* The same of a history that a daemon writes, and goes on writing meanwhile: an index of its log is
 * made beside it. */
int history_open_live(const char *path, struct history_reader **reader, char **message);
void history_close(struct history_reader *reader); /* NULL is allowed */

/* The file that it reads; the reader's. */
const char *history_file(const struct history_reader *reader);

/* From now on that is said to be it. */
void history_call(struct history_reader *reader, const char *file);

/* Copies all of it into a new file (mode 0600) at `path`. 0 or a negative errno with *message. */
int history_copy(struct history_reader *reader, const char *path, char **message);

/* Who asked for a change; known only on the node where it was asked for. */
struct history_actor {
    bool known;     /* else nothing here is */
    uint32_t uid;   /* of the process */
    uint32_t login; /* audit login uid; UINT32_MAX: none */
    int32_t pid;
    int32_t group;                         /* process group */
    char name[HISTORY_NAME_MAX + 1];       /* of the process */
    char command[HISTORY_COMMAND_MAX + 1]; /* its command line's first bytes, words separated by
                                              spaces; may be empty. No control characters */
};

/* What a path was before a change, or after it. */
struct history_version {
    bool exists;
    bool directory;
    uint32_t size;          /* bytes */
    uint32_t mtime;         /* seconds; 0: not known */
    int64_t content;        /* for history_content(); 0: none is kept, or there are no bytes */
    enum history_kept kept; /* why there is none. HISTORY_KEPT and content 0: there are no bytes */
};

/* One change of one path. A rename is two of them, of the same version: the path that went (`after`
 * does not exist) and the one that came.
 */
struct history_change {
    int64_t id;       /* ascends in the order in which this node applied them */
    uint64_t version; /* the global version; a restored backup may have set it back */
    int64_t time;     /* seconds, by the clock of the node where it was asked for */
    uint32_t node;    /* node id of that one; 0: local mode */
    enum history_operation operation;
    char *path;  /* owned; "": HISTORY_GAP */
    char *other; /* rename: the other path, else NULL. Owned */
    struct history_version before;
    struct history_version after;
    struct history_actor actor;
};
void history_change_free(struct history_change *change); /* NULL is allowed */

/* Which changes are wanted; all members have to be true. All zero: all of them. */
struct history_filter {
    const char *path;    /* this one, and all below it; NULL or "": any */
    const char *pattern; /* with * and ?, which stand for slashes too; NULL: any */
    int64_t since;       /* seconds: not before; 0: any */
    int64_t until;       /* seconds: not after; 0: any */
    int64_t above;       /* ids above this one */
    int64_t below;       /* ids below this one; 0: any */
    bool by_node;        /* `node` counts */
    uint32_t node;
    bool by_user; /* `user` counts: a uid or login uid */
    uint32_t user;
    bool asked_here; /* only those of which it is known who asked */
    size_t limit;    /* so many at most; 0: HISTORY_LIST_MAX, which is the most anyway */
};
#define HISTORY_LIST_MAX 1000000u

/* The changes, newest first: struct history_change, which g_ptr_array_unref() frees. */
int history_list(struct history_reader *reader, const struct history_filter *filter,
                 GPtrArray **changes);

/* A point in the order of changes: all with an id up to it have been made. Clocks may be wrong, or
 * were set: of a time it is the one that the fewest changes contradict. -ENOENT: before all. */
int history_position_of_time(struct history_reader *reader, int64_t time, int64_t *position);
int history_position_of_version(struct history_reader *reader, uint64_t version, int64_t *position);
#define HISTORY_NOW INT64_MAX

/* The last change of exactly that path up to `position`; -ENOENT: none is known. Then
 * (*change)->after is what the path was at that point. */
int history_at(struct history_reader *reader, const char *path, int64_t position,
               struct history_change **change);

/* The tree at `position`: for each entry that existed then the change that made it what it was
 * (`after` is it), in the order of paths, so directories before what is in them. Only what `filter`
 * NULL, or its path and pattern, take. Exact if the position is not before `complete` of the
 * summary; but for what is never kept (locks, temporary files). */
int history_tree(struct history_reader *reader, int64_t position,
                 const struct history_filter *filter, GPtrArray **changes);

/* The bytes of a content, uncompressed, checked against its SHA-256; g_bytes_unref() them. 0 as
 * content gives no bytes. At most CONTENT_MAX. */
int history_content(struct history_reader *reader, int64_t content, GBytes **bytes);

/* The name of a node when it last made a change, g_free() it; NULL: not known. */
char *history_node_name(struct history_reader *reader, uint32_t node);

/* The id of a node of that name; -ENOENT. */
int history_node_id(struct history_reader *reader, const char *name, uint32_t *node);

/* All that the history knows a name of, for messages and completion: paths (the newest first, at
 * most a million) and nodes (char *), uids of processes and logins (uint32_t). Unref them. */
int history_known_paths(struct history_reader *reader, GPtrArray **paths);
int history_known_nodes(struct history_reader *reader, GPtrArray **nodes);
int history_known_users(struct history_reader *reader, GArray **users);

struct history_summary {
    uint64_t bytes; /* of the file, without what is free in it */
    uint64_t changes;
    uint64_t contents;
    uint64_t left_out;   /* changes that were not recorded, ever since it was begun */
    int64_t complete;    /* seconds: trees are exact from here on ... */
    int64_t complete_id; /* ... that is, from this position; what is older is kept in parts only */
    int64_t first_time;  /* of the oldest change that is kept; 0: there is none */
    int64_t last_time;
    uint64_t version; /* the highest that was recorded last */
};
int history_summary(struct history_reader *reader, struct history_summary *summary);

#endif
