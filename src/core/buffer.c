/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Immutable, reference-counted bytes: the content of a file, a message, a text. */
#include "core/buffer.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

/* What a buffer that grows in small steps gets to spare: a quarter, so that its copies cost five
 * times its size at most. */
#define SPARE_DIVISOR 4u

static struct buffer *buffer_with_room(uint32_t capacity, uint32_t used)
{
    struct buffer *buffer = g_malloc(sizeof(*buffer) + capacity);

    atomic_init(&buffer->references, 1);
    buffer->capacity = capacity;
    atomic_init(&buffer->used, used);
    return buffer;
}

struct buffer *buffer_new(uint32_t capacity)
{
    return buffer_with_room(capacity, capacity);
}

struct buffer *buffer_copy(const void *data, uint32_t size)
{
    struct buffer *buffer = buffer_new(size);

    if (size > 0)
        memcpy(buffer->data, data, size);
    return buffer;
}

struct buffer *buffer_ref(struct buffer *buffer)
{
    if (buffer)
        atomic_fetch_add_explicit(&buffer->references, 1, memory_order_relaxed);
    return buffer;
}

void buffer_unref(struct buffer *buffer)
{
    if (buffer && atomic_fetch_sub_explicit(&buffer->references, 1, memory_order_acq_rel) == 1)
        g_free(buffer);
}

struct buffer *buffer_append(struct buffer *buffer, uint32_t old_size, const void *data,
                             uint32_t size)
{
    uint32_t new_size = old_size + size;
    bool fits = buffer && atomic_load(&buffer->used) == old_size && buffer->capacity >= new_size;
    struct buffer *result;

    if (fits) {
        result = buffer_ref(buffer);
        atomic_store(&buffer->used, new_size);
    } else {
        /* Most files are written once, in one piece: they get no spare room. */
        uint32_t spare = old_size > 0 ? new_size / SPARE_DIVISOR : 0;
        result = buffer_with_room(new_size + spare, new_size);
        if (buffer && old_size > 0)
            memcpy(result->data, buffer->data, old_size);
    }
    if (size > 0)
        memcpy(result->data + old_size, data, size);
    return result;
}
