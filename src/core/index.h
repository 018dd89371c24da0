/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The index: one digest per entry, what nodes compare to find out who is up to date
 * (doc/cluster.md, STATE). */
#ifndef PMXCFS_CORE_INDEX_H
#define PMXCFS_CORE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "core/draft.h"

#define INDEX_HEADER_SIZE 32u
#define INDEX_ENTRY_SIZE 40u

/* The index of what the draft would make of its base (an empty draft: of the base), as one buffer
 * of exactly its bytes. Writer only, since it fills in digests. */
struct buffer *index_build(const struct draft *draft);

/* A checked view on an index that came from outside. */
struct index_view {
    uint64_t version;
    uint32_t writer;
    uint32_t mtime;
    uint32_t count;         /* entries with the root */
    const uint8_t *entries; /* count × (u64 inode, 32 bytes digest), ascending inodes */
};

/* 0, or -EBADMSG if lengths do not add up or inodes do not ascend. */
int index_parse(const uint8_t *data, size_t size, struct index_view *view);

/* The inodes that `leader` has and `other` lacks or has with another digest, appended to `inodes`
 * (uint64_t). */
void index_missing(const struct index_view *leader, const struct index_view *other, GArray *inodes);

/* The inodes of `own` that `leader` lacks, appended to `inodes` (uint64_t). */
void index_surplus(const struct index_view *own, const struct index_view *leader, GArray *inodes);

#endif
