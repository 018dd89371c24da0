/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Immutable, reference-counted bytes: the content of a file, a message, a text. */
#include "core/block.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

/* What a block that grows in small steps gets to spare: a quarter, so that its copies cost five
 * times its size at most. */
#define SPARE_DIVISOR 4u

static struct block *block_with_room(uint32_t capacity, uint32_t used)
{
    struct block *block = g_malloc(sizeof(*block) + capacity);

    atomic_init(&block->references, 1);
    block->capacity = capacity;
    atomic_init(&block->used, used);
    return block;
}

struct block *block_new(uint32_t capacity)
{
    return block_with_room(capacity, capacity);
}

struct block *block_copy(const void *data, uint32_t size)
{
    struct block *block = block_new(size);

    if (size > 0)
        memcpy(block->data, data, size);
    return block;
}

struct block *block_ref(struct block *block)
{
    if (block)
        atomic_fetch_add_explicit(&block->references, 1, memory_order_relaxed);
    return block;
}

void block_unref(struct block *block)
{
    if (block && atomic_fetch_sub_explicit(&block->references, 1, memory_order_acq_rel) == 1)
        g_free(block);
}

struct block *block_append(struct block *block, uint32_t old_size, const void *data, uint32_t size)
{
    uint32_t new_size = old_size + size;
    bool fits = block && atomic_load(&block->used) == old_size && block->capacity >= new_size;
    struct block *result;

    if (fits) {
        result = block_ref(block);
        atomic_store(&block->used, new_size);
    } else {
        /* Most files are written once, in one piece: they get no spare room. */
        uint32_t spare = old_size > 0 ? new_size / SPARE_DIVISOR : 0;
        result = block_with_room(new_size + spare, new_size);
        if (block && old_size > 0)
            memcpy(result->data, block->data, old_size);
    }
    if (size > 0)
        memcpy(result->data + old_size, data, size);
    return result;
}
