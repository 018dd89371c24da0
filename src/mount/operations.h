/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the kernel asks of the mount: how often, how long it takes, and who asks while somebody
 * wants to know. */
#ifndef PMXCFS_MOUNT_OPERATIONS_H
#define PMXCFS_MOUNT_OPERATIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/metrics.h"
#include "kernel/node.h"

enum operation_kind {
    OPERATION_OTHER,
    OPERATION_LOOKUP,
    OPERATION_FORGET,
    OPERATION_GETATTR,
    OPERATION_SETATTR,
    OPERATION_READLINK,
    OPERATION_CREATE,
    OPERATION_MKDIR,
    OPERATION_UNLINK,
    OPERATION_RMDIR,
    OPERATION_RENAME,
    OPERATION_READ,
    OPERATION_WRITE,
    OPERATION_STATFS,
    OPERATION_FSYNC,
    OPERATION_READDIR,
    OPERATION_COUNT,
};

/* The label of a kind. */
const char *operation_name(enum operation_kind kind);

/* True if operations of that kind ask for changes. */
bool operation_changes(enum operation_kind kind);

/* Owned by whoever makes the mount. */
struct mount_metrics {
    struct histogram operations[OPERATION_COUNT]; /* until the answer */
    struct counter refused[OPERATION_COUNT];      /* changes that were answered with an error */
    struct kernel_metrics kernel;
};

/* An operation under way. Zero: none. */
struct operation {
    enum operation_kind kind;
    uint64_t begun; /* metrics_now(); 0: none */
    bool handed_on; /* a request goes on with it when the worker has returned */
};

struct fuse_buf;

/* Around each request of the kernel, in the worker that has it. */
void operation_begin(const struct fuse_buf *buffer, struct operation *operation);
void operation_end(struct mount_metrics *metrics, const struct operation *operation);

/* What a request is about, for who watches: a node and (or NULL) a name in it, which lives as long
 * as the buffer. False: it is nothing to tell. */
bool operation_target(const struct fuse_buf *buffer, uint64_t *node, const char **name);

/* The operation that this thread has under way goes on in a request, which tells when it is
 * answered (0 or a negative errno). None if there is none. */
struct operation operation_hand_on(void);
void operation_answered(struct mount_metrics *metrics, const struct operation *operation,
                        int result);

#endif
