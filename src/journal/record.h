/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The bytes of the journal: records and their rows, written and read (doc/journal.md). Pure. */
#ifndef PMXCFS_JOURNAL_RECORD_H
#define PMXCFS_JOURNAL_RECORD_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/draft.h"
#include "core/tree.h"

/* The file has two areas, which take turns: one is written, the other folded into config.db. */
#define JOURNAL_AREAS 2u
#define JOURNAL_AREA_SIZE (8u * 1024 * 1024)
#define JOURNAL_RECORD_MAX (4u * 1024 * 1024) /* bytes; what needs more goes without a journal */
#define JOURNAL_ALIGNMENT 8u                  /* records begin at multiples of it */

/* One commit. */
struct journal_record {
    uint64_t generation; /* of the area, rises each time one is begun */
    uint32_t sequence;   /* of the record in the area, from 0 */
    uint32_t size;       /* bytes, without what aligns the next one */
    struct root before;  /* what row 0 said, and what it says afterwards */
    struct root after;
    const uint8_t *rows; /* points into what was read */
    size_t rows_size;
};

/* What the state that the area was begun on says of a row's inode. */
enum journal_base {
    JOURNAL_CHAINED, /* an earlier record of this area made the entry what it is */
    JOURNAL_ABSENT,  /* there is no entry */
    JOURNAL_DIGEST,  /* there is one, with this digest */
};

struct journal_row {
    uint64_t inode;
    enum journal_base base;
    const uint8_t *digest; /* JOURNAL_DIGEST */
    bool removed;          /* the entry is gone; what follows is not there */
    uint64_t version;
    uint32_t writer;
    uint32_t mtime;
    uint8_t type;
    uint32_t size; /* of the whole content */
    bool named;    /* parent and name follow; else they are as before */
    uint64_t parent;
    const char *name; /* without a NUL */
    uint16_t name_length;
    uint32_t offset; /* what of the content is new: `length` bytes at `offset` */
    uint32_t length;
    const uint8_t *bytes;
};

/* Bytes that a record of `size` bytes takes. */
static inline size_t journal_aligned(size_t size)
{
    return (size + JOURNAL_ALIGNMENT - 1) / JOURNAL_ALIGNMENT * JOURNAL_ALIGNMENT;
}

/* The digest of an entry as config.db holds it: a hole is an empty file there. Writer only. */
void journal_digest(struct entry *entry, uint8_t digest[DIGEST_SIZE]);

/* Builds a record in `bytes`, which it empties: begin, add for each entry, finish (which aligns).
 * `before`: the entry as it is stored, `after` as it is to be; NULL: there is none. `chained`: the
 * area has a row for it already. Only what differs in the contents is put in. */
void journal_record_begin(GByteArray *bytes, uint64_t generation, uint32_t sequence,
                          const struct root *before, const struct root *after);
void journal_record_add(GByteArray *bytes, uint64_t inode, bool chained, struct entry *before,
                        const struct entry *after);
void journal_record_finish(GByteArray *bytes);

/* A look at a few bytes, which is enough at most places: can a record begin at `data`? */
bool journal_record_may_begin(const uint8_t *data, size_t left);
/* Reads the header of a record at `data`; false: there is none, or not all of it. The checksum is
 * not looked at. */
bool journal_record_read(const uint8_t *data, size_t left, struct journal_record *record);
bool journal_record_is_whole(const uint8_t *data, const struct journal_record *record);

/* The next row of a reader over record.rows. False: none is left, or (reader->bad) they are
 * malformed. All that does not depend on the entry before is tested. */
struct reader;
bool journal_row_read(struct reader *reader, struct journal_row *row);

/* The entry that a row makes of `before` (NULL: none), the caller's. NULL if that is not possible.
 * Not for rows that remove. */
struct entry *journal_row_apply(const struct journal_row *row, const struct entry *before);

#endif
