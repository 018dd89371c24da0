/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A request that waits for its change: from the change that it asks for to its answer. */
#ifndef PMXCFS_MOUNT_REQUEST_H
#define PMXCFS_MOUNT_REQUEST_H

#include "core/change.h"
#include "mount/context.h"

enum request_kind {
    REQUEST_CREATE,
    REQUEST_MKNOD,
    REQUEST_MKDIR,
    REQUEST_REMOVE,
    REQUEST_RENAME,
    REQUEST_SETATTR,
    REQUEST_WRITE,
    REQUEST_FSYNC,    /* makes a truncation that waited */
    REQUEST_TRUNCATE, /* the same, and nobody waits for it */
};

/* Many members: each kind of request has some of its own, and they live and end together. */
struct request {
    struct caller caller;
    struct timed timed;
    struct notified notified; /* SETATTR that deleted an expired lock */
    struct mount *mount;
    fuse_req_t req; /* NULL: nobody asked */
    enum request_kind kind;
    struct operation operation; /* none: nobody asked */
    char *path;                 /* owned; NULL: what it is about is gone */
    char *to;                   /* RENAME; owned */
    struct change change;       /* what was sent */
    unsigned int tries;         /* how often it was sent again */
    pid_t holder;               /* the process that takes or renews a lock; 0: none does */

    /* About names. */
    struct node *directories[2]; /* of `path` and `to`; the kernel holds them until the answer */
    uint64_t names_changed;      /* the mount's, when it was sent */
    int open_flags;              /* CREATE */

    /* About a content. */
    struct node *node;    /* pinned if nobody asked, else the kernel holds it */
    bool changes_content; /* node_begin_change() was called */
    bool truncates;       /* it makes the truncation of `node` that waited */
    bool stale;           /* WRITE: the kernel's pages are not as it thinks */
    bool skips;  /* WRITE: it leaves a hole, and so are they if they go on behind the end */
    bool of_map; /* WRITE: of a page that a map has written to */
    struct own_write write; /* WRITE */
    uint8_t *data;          /* its data; owned */
    uint8_t *padded;        /* what is sent, if that is more; owned */
};

/* A new request; takes over `path`. */
struct request *request_new(struct mount *mount, fuse_req_t req, enum request_kind kind,
                            char *path);

/* From here on the request answers and frees itself. Without a path: ENOENT. */
void request_submit(struct request *request, struct change *change);

/* The same for an expired lock that is asked for (utimens with mtime 0). */
void request_submit_unlock(struct request *request);

/* Answers without a change. 0 or a negative errno. */
void request_refuse(struct request *request, int error);

/* CREATE: the file is there already, and nobody insists on making it: answered with it, true. */
bool request_answer_existing(struct request *request);

/* The requests of the timer and of the truncations that wait are these. */
void request_own_timer(struct mount *mount);

/* An open with O_TRUNC: the file is empty here from now on, and its truncation waits for a write.
 */
void truncation_begin(struct mount *mount, struct node *node, pid_t opener);

/* Sends a truncation that no write followed, begun already. Without a path there is none to send.
 */
void request_send_truncation(struct mount *mount, struct node *node);

#endif
