/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The bytes of the journal: records and their rows, written and read (doc/journal.md). Pure. */
#include "journal/record.h"

#include <string.h>
#include <zlib.h>

#include "base/util.h"
#include "core/digest.h"
#include "core/path.h"

#define MAGIC 0x314a5850u /* "PXJ1": also the version of the format */
#define HEADER_SIZE 56u
#define CHECKSUM_OFFSET 4u
#define SIZE_OFFSET 8u /* the checksum is over all from here on */
#define ROOT_SIZE 16u
/* The parts of a row without what varies: digest, name, bytes. */
#define ROW_SIZE 9u    /* flags, inode */
#define ENTRY_SIZE 21u /* version, writer, mtime, type, size */
#define NAME_SIZE 10u  /* parent, length */
#define RANGE_SIZE 8u  /* offset, length */

/* The flags of a row. */
#define FLAG_BASE 0x03u
#define FLAG_REMOVED 0x04u
#define FLAG_NAMED 0x08u
#define FLAGS_ALL (FLAG_BASE | FLAG_REMOVED | FLAG_NAMED)

/* ---- Writing ---- */

/* Room for `size` bytes more at the end; valid until the next call. */
static uint8_t *extend(GByteArray *bytes, size_t size)
{
    guint old_size = bytes->len;

    g_byte_array_set_size(bytes, (guint)(old_size + size));
    return bytes->data + old_size;
}

static void put_root(uint8_t *to, const struct root *root)
{
    put_le64(to, root->version);
    put_le32(to + 8, root->writer);
    put_le32(to + 12, root->mtime);
}

static uint32_t checksum(const uint8_t *record, size_t size)
{
    return (uint32_t)crc32_z(0, record + SIZE_OFFSET, size - SIZE_OFFSET);
}

void journal_record_begin(GByteArray *bytes, uint64_t generation, uint32_t sequence,
                          const struct root *before, const struct root *after)
{
    g_byte_array_set_size(bytes, HEADER_SIZE);
    uint8_t *to = bytes->data;
    put_le32(to, MAGIC); /* checksum and size come with the end */
    put_le32(to + 12, sequence);
    put_le64(to + 16, generation);
    put_root(to + 24, before);
    put_root(to + 24 + ROOT_SIZE, after);
}

void journal_record_finish(GByteArray *bytes)
{
    guint size = bytes->len;
    size_t padding = journal_aligned(size) - size;

    memset(extend(bytes, padding), 0, padding);
    put_le32(bytes->data + SIZE_OFFSET, size);
    put_le32(bytes->data + CHECKSUM_OFFSET, checksum(bytes->data, size));
}

/* The bytes that are stored: a size without content is stored as none. */
static uint32_t stored_size(const struct entry *entry)
{
    return entry && entry->content ? entry->size : 0;
}

void journal_digest(struct entry *entry, uint8_t digest[DIGEST_SIZE])
{
    if (stored_size(entry) == entry->size) {
        memcpy(digest, entry_digest(entry), DIGEST_SIZE);
        return;
    }
    struct entry *stored = entry_clone(entry);
    stored->size = 0;
    memcpy(digest, entry_digest(stored), DIGEST_SIZE);
    entry_unref(stored);
}

/* Equal bytes at the beginning, in steps that are halved down to single bytes. */
static uint32_t common_prefix(const uint8_t *a, const uint8_t *b, uint32_t size)
{
    uint32_t count = 0;

    for (uint32_t step = size; step > 0 && count < size; step /= 2) {
        while (size - count >= step && memcmp(a + count, b + count, step) == 0)
            count += step;
    }
    return count;
}

/* Equal bytes at the end, likewise. */
static uint32_t common_suffix(const uint8_t *a, const uint8_t *b, uint32_t size)
{
    uint32_t count = 0;

    for (uint32_t step = size; step > 0 && count < size; step /= 2) {
        while (size - count >= step &&
               memcmp(a + (size - count - step), b + (size - count - step), step) == 0)
            count += step;
    }
    return count;
}

/* The range of the new content that the old one has not at the same offset. A file that grows keeps
 * its buffer while that has room: nothing to compare then. */
static void find_new(const struct entry *before, const struct entry *after, uint32_t *offset,
                     uint32_t *length)
{
    uint32_t old_size = stored_size(before);
    uint32_t size = stored_size(after);
    uint32_t both = MIN(old_size, size);

    if (both == 0) {
        *offset = 0;
        *length = size;
        return;
    }
    const uint8_t *old = before->content->data;
    const uint8_t *new = after->content->data;
    *offset = old == new ? both : common_prefix(old, new, both);
    *length = size - *offset;
    if (size <= old_size && *length > 0)
        *length -= common_suffix(old + *offset, new + *offset, *length);
}

static void add_entry(GByteArray *bytes, bool named, const struct entry *before,
                      const struct entry *after)
{
    uint32_t offset;
    uint32_t length;

    find_new(before, after, &offset, &length);
    uint8_t *to = extend(bytes, ENTRY_SIZE + (named ? NAME_SIZE + after->name_length : 0) +
                                    RANGE_SIZE + length);
    put_le64(to, after->version);
    put_le32(to + 8, after->writer);
    put_le32(to + 12, after->mtime);
    to[16] = after->type;
    put_le32(to + 17, stored_size(after));
    to += ENTRY_SIZE;
    if (named) {
        put_le64(to, after->parent);
        put_le16(to + 8, (uint16_t)after->name_length);
        memcpy(to + NAME_SIZE, after->name, after->name_length);
        to += NAME_SIZE + after->name_length;
    }
    put_le32(to, offset);
    put_le32(to + 4, length);
    if (length > 0)
        memcpy(to + RANGE_SIZE, after->content->data + offset, length);
}

void journal_record_add(GByteArray *bytes, uint64_t inode, bool chained, struct entry *before,
                        const struct entry *after)
{
    bool named = after && (!before || before->parent != after->parent ||
                           strcmp(before->name, after->name) != 0);
    enum journal_base base = chained ? JOURNAL_CHAINED : before ? JOURNAL_DIGEST : JOURNAL_ABSENT;
    uint8_t *to = extend(bytes, ROW_SIZE + (base == JOURNAL_DIGEST ? DIGEST_SIZE : 0));

    to[0] = (uint8_t)(base | (after ? 0 : FLAG_REMOVED) | (named ? FLAG_NAMED : 0));
    put_le64(to + 1, inode);
    if (base == JOURNAL_DIGEST)
        journal_digest(before, to + ROW_SIZE);
    if (after)
        add_entry(bytes, named, before, after);
}

/* ---- Reading ---- */

static struct root read_root(struct reader *reader)
{
    struct root root;

    root.version = reader_u64(reader);
    root.writer = reader_u32(reader);
    root.mtime = reader_u32(reader);
    return root;
}

bool journal_record_may_begin(const uint8_t *data, size_t left)
{
    return left >= HEADER_SIZE && get_le32(data) == MAGIC;
}

bool journal_record_read(const uint8_t *data, size_t left, struct journal_record *record)
{
    struct reader reader = {.data = data, .left = left};

    *record = (struct journal_record){0};
    if (reader_u32(&reader) != MAGIC)
        return false;
    reader_u32(&reader); /* the checksum */
    record->size = reader_u32(&reader);
    record->sequence = reader_u32(&reader);
    record->generation = reader_u64(&reader);
    record->before = read_root(&reader);
    record->after = read_root(&reader);
    record->rows = reader.data;
    record->rows_size = record->size - HEADER_SIZE;
    return !reader.bad && record->size >= HEADER_SIZE && record->size <= left &&
           record->size <= JOURNAL_RECORD_MAX && record->before.version <= INT64_MAX &&
           record->after.version <= INT64_MAX;
}

bool journal_record_is_whole(const uint8_t *data, const struct journal_record *record)
{
    return get_le32(data + CHECKSUM_OFFSET) == checksum(data, record->size);
}

static void read_entry(struct reader *reader, struct journal_row *row)
{
    row->version = reader_u64(reader);
    row->writer = reader_u32(reader);
    row->mtime = reader_u32(reader);
    row->type = reader_u8(reader);
    row->size = reader_u32(reader);
    if (row->named) {
        row->parent = reader_u64(reader);
        row->name_length = reader_u16(reader);
        row->name = (const char *)reader_bytes(reader, row->name_length);
        reader->bad |= !row->name || !path_is_name(row->name, row->name_length);
    }
    row->offset = reader_u32(reader);
    row->length = reader_u32(reader);
    row->bytes = reader_bytes(reader, row->length);
    reader->bad |= row->version > INT64_MAX || row->parent > INT64_MAX ||
                   (row->type != ENTRY_FILE && row->type != ENTRY_DIRECTORY) ||
                   (row->type == ENTRY_DIRECTORY && row->size > 0) || row->offset > row->size ||
                   row->length > row->size - row->offset;
}

bool journal_row_read(struct reader *reader, struct journal_row *row)
{
    if (reader->bad || reader->left == 0)
        return false;
    uint8_t flags = reader_u8(reader);
    *row = (struct journal_row){
        .inode = reader_u64(reader),
        .base = (enum journal_base)(flags & FLAG_BASE),
        .removed = (flags & FLAG_REMOVED) != 0,
        .named = (flags & FLAG_NAMED) != 0,
    };
    reader->bad |= (flags & ~FLAGS_ALL) != 0 || row->base > JOURNAL_DIGEST ||
                   (row->removed && row->named) || row->inode == 0 || row->inode > INT64_MAX;
    if (row->base == JOURNAL_DIGEST)
        row->digest = reader_bytes(reader, DIGEST_SIZE);
    if (!row->removed)
        read_entry(reader, row);
    return !reader->bad;
}

/* The old content with the new bytes in it, one reference. NULL is an empty one. */
static struct buffer *patch(const struct journal_row *row, struct buffer *old, uint32_t old_size)
{
    if (row->size == 0)
        return NULL;
    if (row->length == 0 && row->size == old_size)
        return buffer_ref(old);
    if (row->offset == old_size)
        return buffer_append(old, old_size, row->bytes, row->length);
    struct buffer *content = buffer_new(row->size);
    uint32_t kept = MIN(old_size, row->size);
    if (kept > 0)
        memcpy(content->data, old->data, kept);
    if (row->length > 0)
        memcpy(content->data + row->offset, row->bytes, row->length);
    return content;
}

struct entry *journal_row_apply(const struct journal_row *row, const struct entry *before)
{
    uint32_t old_size = stored_size(before);
    bool grows = row->size > old_size;

    if (!before && !row->named)
        return NULL;
    if (grows && (row->offset > old_size || row->offset + row->length != row->size))
        return NULL;
    struct buffer *content = patch(row, before ? before->content : NULL, old_size);
    struct entry *entry = row->named
                              ? entry_new(row->inode, row->parent, row->type, row->name,
                                          row->name_length, content, row->size)
                              : entry_new(row->inode, before->parent, row->type, before->name,
                                          before->name_length, content, row->size);
    buffer_unref(content);
    entry->version = row->version;
    entry->writer = row->writer;
    entry->mtime = row->mtime;
    return entry;
}
