/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One type for every mutation of the tree, however it was asked for. */
#ifndef PMXCFS_CORE_CHANGE_H
#define PMXCFS_CORE_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/entry.h"

/* The numbers are those of the wire (doc/cluster.md). */
enum change_operation {
    CHANGE_WRITE = 1,
    CHANGE_MKDIR = 2,
    CHANGE_DELETE = 3,
    CHANGE_RENAME = 4,
    CHANGE_CREATE = 5,
    CHANGE_MTIME = 6,
    CHANGE_UNLOCK_REQUEST = 7,
    CHANGE_UNLOCK = 8,
};

/* A change borrows its strings and bytes from whoever made it (a request, a message). */
struct change {
    enum change_operation operation;
    bool truncate;               /* write: the new size is offset + size; else it never shrinks */
    uint32_t writer;             /* node id of the sender, 0 in local mode */
    uint32_t time;               /* seconds, the sender's clock; 0: to be set when it is sent */
    uint32_t offset;             /* write: bytes; mtime: the wanted mtime in seconds */
    uint32_t size;               /* bytes of data */
    const char *path;            /* NULL: absent, the change has an error as its result */
    const char *to;              /* rename: the target */
    const uint8_t *data;         /* write */
    uint8_t digest[DIGEST_SIZE]; /* unlock request and unlock: lock digest */
};

#endif
