/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How core's hash tables are keyed, and how its walkers take a path apart. Inside core only. */
#ifndef PMXCFS_CORE_KEY_H
#define PMXCFS_CORE_KEY_H

#include <assert.h>
#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "core/limits.h"

static_assert(sizeof(void *) >= sizeof(uint64_t), "inodes are used as pointers in hash tables");

#define INODE_KEY(inode) ((gpointer)(uintptr_t)(inode))

/* Copies the first name of `path` to `name` and gives what follows its slash; NULL: it is longer
 * than any stored name. */
static inline const char *path_next_name(const char *path, char name[NAME_MAX_STORED + 1])
{
    size_t length = strcspn(path, "/");

    if (length > NAME_MAX_STORED)
        return NULL;
    memcpy(name, path, length);
    name[length] = '\0';
    path += length;
    /* A slash at the very end asks for a child without a name, which there is not. */
    return *path == '/' && path[1] ? path + 1 : path;
}

#endif
