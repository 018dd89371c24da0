/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How tables of entries are keyed, and how core's walkers take a path apart. Inside core, and for
 * loads. */
#ifndef PMXCFS_CORE_KEY_H
#define PMXCFS_CORE_KEY_H

#include <assert.h>
#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "core/entry.h"

static_assert(sizeof(void *) >= sizeof(uint64_t), "inodes are used as pointers in hash tables");

/* For tables with g_direct_hash and no equality function, which compares without a call. */
#define INODE_KEY(inode) ((gpointer)(uintptr_t)(inode))

/* A name in a directory is the key of tables whose keys are entries that have it, or, to look one
 * up, this: an entry of which nothing else is set, which lives as long as the text. */
#define NAME_KEY(directory, text, length)                                                          \
    (&(struct entry){.parent = (directory), .name = (text), .name_length = (uint32_t)(length)})

guint name_hash(gconstpointer entry);
gboolean name_equal(gconstpointer entry, gconstpointer other);

/* The first name of the path that begins at *path and ends before `end`: gives where it begins, its
 * length, and in *path what follows its slash. */
static inline const char *path_next_name(const char **path, const char *end, size_t *length)
{
    const char *name = *path;
    const char *slash = memchr(name, '/', (size_t)(end - name));

    *length = (size_t)((slash ? slash : end) - name);
    /* A slash at the very end asks for a child without a name, which there is not. */
    *path = !slash ? end : slash + 1 < end ? slash + 1 : slash;
    return name;
}

#endif
