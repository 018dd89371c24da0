/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The index: one digest per entry, what nodes compare to find out who is up to date
 * (doc/cluster.md, STATE). */
#include "core/index.h"

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "core/digest.h"

static void put_index_entry(uint8_t *to, uint64_t inode, const uint8_t *digest)
{
    put_le64(to, inode);
    memcpy(to + 8, digest, DIGEST_SIZE);
}

struct buffer *index_build(const struct draft *draft)
{
    g_autoptr(GPtrArray) sorted = draft_sorted(draft);
    uint32_t count = sorted->len + 1;
    uint32_t bytes = INDEX_HEADER_SIZE + count * INDEX_ENTRY_SIZE;
    struct buffer *index = buffer_new(bytes);
    uint8_t *to = index->data;
    uint8_t digest[DIGEST_SIZE];

    put_le64(to, draft->root.version);
    put_le64(to + 8, sorted->len ? ((struct entry *)sorted->pdata[sorted->len - 1])->inode : 0);
    put_le32(to + 16, draft->root.writer);
    put_le32(to + 20, draft->root.mtime);
    put_le32(to + 24, count);
    put_le32(to + 28, bytes);
    to += INDEX_HEADER_SIZE;
    root_digest(&draft->root, digest);
    put_index_entry(to, 0, digest);
    for (guint i = 0; i < sorted->len; i++) {
        struct entry *entry = sorted->pdata[i];
        to += INDEX_ENTRY_SIZE;
        put_index_entry(to, entry->inode, entry_digest(entry));
    }
    return index;
}

int index_parse(const uint8_t *data, size_t size, struct index_view *view)
{
    if (size < INDEX_HEADER_SIZE)
        return -EBADMSG;
    *view = (struct index_view){
        .version = get_le64(data),
        .writer = get_le32(data + 16),
        .mtime = get_le32(data + 20),
        .count = get_le32(data + 24),
        .entries = data + INDEX_HEADER_SIZE,
    };
    if (get_le32(data + 28) != size ||
        INDEX_HEADER_SIZE + (uint64_t)view->count * INDEX_ENTRY_SIZE != size)
        return -EBADMSG;
    for (uint32_t i = 1; i < view->count; i++) {
        const uint8_t *entry = view->entries + (size_t)i * INDEX_ENTRY_SIZE;
        if (get_le64(entry) <= get_le64(entry - INDEX_ENTRY_SIZE))
            return -EBADMSG;
    }
    return 0;
}

/* Walks two indexes side by side: appends the inodes of `these` that `those` lacks and, if
 * `changed`, those that it has with another digest. */
static void index_difference(const struct index_view *these, const struct index_view *those,
                             bool changed, GArray *inodes)
{
    const uint8_t *other = those->entries;
    const uint8_t *end = those->entries + (size_t)those->count * INDEX_ENTRY_SIZE;

    for (uint32_t i = 0; i < these->count; i++) {
        const uint8_t *entry = these->entries + (size_t)i * INDEX_ENTRY_SIZE;
        uint64_t inode = get_le64(entry);
        while (other < end && get_le64(other) < inode)
            other += INDEX_ENTRY_SIZE;
        bool there = other < end && get_le64(other) == inode;
        if (!there || (changed && memcmp(entry + 8, other + 8, DIGEST_SIZE) != 0))
            g_array_append_val(inodes, inode);
    }
}

void index_missing(const struct index_view *leader, const struct index_view *other, GArray *inodes)
{
    index_difference(leader, other, true, inodes);
}

void index_surplus(const struct index_view *own, const struct index_view *leader, GArray *inodes)
{
    index_difference(own, leader, false, inodes);
}
