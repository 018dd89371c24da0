/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Immutable, reference-counted bytes: the content of a file, a message, a text. */
#ifndef PMXCFS_CORE_BLOCK_H
#define PMXCFS_CORE_BLOCK_H

#include <stdatomic.h>
#include <stdint.h>

/* Bytes behind `size` may be filled in later by block_append(); nobody looks there. */
struct block {
    atomic_uint references;
    uint32_t capacity; /* bytes that data has room for */
    atomic_uint used;  /* bytes that belong to some holder: the furthest that any of them looks */
    uint8_t data[];
};

/* A new block with room for `capacity` bytes, all of them used, one reference; the caller fills it
 * before it shares it. */
struct block *block_new(uint32_t capacity);

/* A new block that holds a copy of `size` bytes. */
struct block *block_copy(const void *data, uint32_t size);

/* One more reference; NULL gives NULL. Any thread that holds one may ask for another. */
struct block *block_ref(struct block *block);

/* Gives a reference back; the last one frees. NULL is allowed. Any thread. */
void block_unref(struct block *block);

/* The bytes [0, old_size) of `block` and then `size` more, as a block with a reference of its own:
 * the same block when its holders look no further than old_size and it has room, so that a file
 * that grows in small steps is not copied each time; else a copy with room to spare. `block` may be
 * NULL when old_size is 0. Writer only. */
struct block *block_append(struct block *block, uint32_t old_size, const void *data, uint32_t size);

#endif
