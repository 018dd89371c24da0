/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Contents as history.db stores them: packed and unpacked. */
#include "history/content.h"

#include <zstd.h>

#include "core/limits.h"

#define LEVEL 3 /* of zstd: half the size, at some 200 MB/s */

enum history_codec content_pack(const void *data, size_t size, uint8_t **packed,
                                size_t *packed_size)
{
    size_t room = ZSTD_compressBound(size);

    *packed = g_malloc(room);
    *packed_size = ZSTD_compress(*packed, room, data, size, LEVEL);
    if (!ZSTD_isError(*packed_size) && *packed_size < size)
        return HISTORY_ZSTD;
    g_clear_pointer(packed, g_free);
    *packed_size = 0;
    return HISTORY_PLAIN;
}

GBytes *content_unpack(int64_t codec, const void *packed, size_t packed_size, int64_t size)
{
    /* A file of a database may have more than one that is written. */
    if (size < 0 || size > (int64_t)CONTENT_MAX)
        return NULL;
    if (codec == HISTORY_PLAIN)
        return packed_size == (size_t)size ? g_bytes_new(packed, packed_size) : NULL;
    if (codec != HISTORY_ZSTD)
        return NULL;
    uint8_t *data = g_malloc((size_t)size + 1);
    if (ZSTD_decompress(data, (size_t)size, packed, packed_size) == (size_t)size)
        return g_bytes_new_take(data, (size_t)size);
    g_free(data);
    return NULL;
}
