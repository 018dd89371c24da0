/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One file or directory of the tree: immutable once it is in a tree or a draft, reference-counted.
 */
#ifndef PMXCFS_CORE_ENTRY_H
#define PMXCFS_CORE_ENTRY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buffer.h"

#define DIGEST_SIZE 32

enum entry_type { ENTRY_DIRECTORY = 4, ENTRY_FILE = 8 };

struct entry {
    uint64_t inode;
    uint64_t parent;  /* inode of the directory, 0 is the root */
    uint64_t version; /* the global version of its last change */
    uint32_t writer;  /* node id of its last change, 0 local */
    uint32_t mtime;   /* seconds */
    uint32_t size;    /* bytes; of `content`, unless that is NULL (see below) */
    uint8_t type;     /* enum entry_type */
    bool has_digest;  /* `digest` is computed; writer only */
    atomic_uint references;
    uint8_t digest[DIGEST_SIZE]; /* entry digest; writer only */
    struct buffer *content;      /* NULL: no bytes. A size without content is a hole of zeros that
                                   is never stored (doc/cluster.md, truncate of an empty file) */
    uint32_t name_length;        /* bytes without the NUL */
    const char *name;            /* in the same piece of memory, behind the entry */
};

/* A new entry with one reference; `name` is copied, a reference to `content` is taken (NULL
 * allowed). */
struct entry *entry_new(uint64_t inode, uint64_t parent, uint8_t type, const char *name,
                        size_t name_length, struct buffer *content, uint32_t size);

/* A private copy of `entry`, one reference, without a digest, to be altered before it is shared.
 * Its content is the same buffer. */
struct entry *entry_clone(const struct entry *entry);

/* The same under another parent and name. */
struct entry *entry_clone_renamed(const struct entry *entry, uint64_t parent, const char *name,
                                  size_t name_length);

struct entry *entry_ref(struct entry *entry);
void entry_unref(struct entry *entry); /* NULL is allowed */
void entry_destroy(void *entry);       /* the same, as GLib's containers call it */

static inline bool entry_is_directory(const struct entry *entry)
{
    return entry->type == ENTRY_DIRECTORY;
}

/* True if both are of one kind, and in the same directory under the same name. */
bool entry_same_place(const struct entry *first, const struct entry *second);

#endif
