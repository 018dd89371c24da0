/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Small helpers that every part uses: container_of, little-endian bytes, bounded reading, tables of
 * transitions. */
#ifndef PMXCFS_BASE_UTIL_H
#define PMXCFS_BASE_UTIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* The struct that holds `member` at `pointer`. */
#define container_of(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

static inline void put_le16(uint8_t *to, uint16_t value)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
}

static inline void put_le32(uint8_t *to, uint32_t value)
{
    put_le16(to, (uint16_t)value);
    put_le16(to + 2, (uint16_t)(value >> 16));
}

static inline void put_le64(uint8_t *to, uint64_t value)
{
    put_le32(to, (uint32_t)value);
    put_le32(to + 4, (uint32_t)(value >> 32));
}

static inline uint16_t get_le16(const uint8_t *from)
{
    return (uint16_t)(from[0] | from[1] << 8);
}

static inline uint32_t get_le32(const uint8_t *from)
{
    return (uint32_t)get_le16(from) | (uint32_t)get_le16(from + 2) << 16;
}

static inline uint64_t get_le64(const uint8_t *from)
{
    return (uint64_t)get_le32(from) | (uint64_t)get_le32(from + 4) << 32;
}

/* A window on foreign bytes. Reading past the end sets `bad` and gives zeros or NULL, so that a
 * parser reads all its fields and asks once, at the end, whether they were there. */
struct reader {
    const uint8_t *data;
    size_t left;
    bool bad;
};

static inline const uint8_t *reader_bytes(struct reader *reader, size_t size)
{
    if (reader->bad || size > reader->left) {
        reader->bad = true;
        return NULL;
    }
    const uint8_t *here = reader->data;
    reader->data += size;
    reader->left -= size;
    return here;
}

static inline uint8_t reader_u8(struct reader *reader)
{
    const uint8_t *bytes = reader_bytes(reader, 1);
    return bytes ? bytes[0] : 0;
}

static inline uint16_t reader_u16(struct reader *reader)
{
    const uint8_t *bytes = reader_bytes(reader, 2);
    return bytes ? get_le16(bytes) : 0;
}

static inline uint32_t reader_u32(struct reader *reader)
{
    const uint8_t *bytes = reader_bytes(reader, 4);
    return bytes ? get_le32(bytes) : 0;
}

static inline uint64_t reader_u64(struct reader *reader)
{
    const uint8_t *bytes = reader_bytes(reader, 8);
    return bytes ? get_le64(bytes) : 0;
}

/* A string of exactly `size` bytes with the NUL, and no NUL before; size 0 is "absent" (NULL, not
 * bad). */
static inline const char *reader_string(struct reader *reader, size_t size)
{
    if (size == 0)
        return NULL;
    const uint8_t *bytes = reader_bytes(reader, size);
    if (!bytes)
        return NULL;
    if (memchr(bytes, 0, size) != bytes + size - 1) {
        reader->bad = true;
        return NULL;
    }
    return (const char *)bytes;
}

/* A row in a table of which state may follow which. */
struct transition {
    int from, to;
};

static inline bool transition_is_in(const struct transition *table, size_t count, int from, int to)
{
    for (size_t i = 0; i < count; i++) {
        if (table[i].from == from && table[i].to == to)
            return true;
    }
    return false;
}

#endif
