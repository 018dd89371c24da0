/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Contents as history.db stores them: packed and unpacked. Pure. */
#ifndef PMXCFS_HISTORY_CONTENT_H
#define PMXCFS_HISTORY_CONTENT_H

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

#include "history/format.h"

/* Packs `size` bytes, at least 1: *packed and its size are the caller's (g_free()), and the codec
 * is given. HISTORY_PLAIN: packing gains nothing, *packed is NULL. */
enum history_codec content_pack(const void *data, size_t size, uint8_t **packed,
                                size_t *packed_size);

/* The foreign bytes of a content that says that it is `size` bytes; g_bytes_unref() them. NULL: it
 * is not, or more than all files may have. */
GBytes *content_unpack(int64_t codec, const void *packed, size_t packed_size, int64_t size);

#endif
