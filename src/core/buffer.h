/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Immutable, reference-counted bytes: the content of a file, a message, a text. */
#ifndef PMXCFS_CORE_BUFFER_H
#define PMXCFS_CORE_BUFFER_H

#include <stdatomic.h>
#include <stdint.h>

/* Bytes behind `size` may be filled in later by buffer_append(); nobody looks there. */
struct buffer {
    atomic_uint references;
    uint32_t capacity; /* bytes that data has room for */
    atomic_uint used;  /* bytes that belong to some holder: the furthest that any of them looks */
    uint8_t data[];
};

/* A new buffer with room for `capacity` bytes, all of them used, one reference; the caller fills it
 * before it shares it. */
struct buffer *buffer_new(uint32_t capacity);

/* A new buffer that holds a copy of `size` bytes. */
struct buffer *buffer_copy(const void *data, uint32_t size);

/* One more reference; NULL gives NULL. Any thread that holds one may ask for another. */
struct buffer *buffer_ref(struct buffer *buffer);

/* Gives a reference back; the last one frees. NULL is allowed. Any thread. */
void buffer_unref(struct buffer *buffer);

/* The bytes [0, old_size) of `buffer` and then `size` more, as a buffer with a reference of its
 * own: the same buffer when its holders look no further than old_size and it has room, so that a
 * file that grows in small steps is not copied each time; else a copy with room to spare. `buffer`
 * may be NULL when old_size is 0. Writer only. */
struct buffer *buffer_append(struct buffer *buffer, uint32_t old_size, const void *data,
                             uint32_t size);

#endif
