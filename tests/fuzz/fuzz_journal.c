/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: the bytes of a journal from anywhere, beside a database of a few entries.
 *
 * The input: a byte (odd: checksums are put right, or hardly any record would be read), then the
 * bytes of both areas, a piece each. */
#include <glib.h>
#include <string.h>
#include <zlib.h>

#include "core/apply.h"
#include "core/index.h"
#include "core/publish.h"
#include "fuzz.h"
#include "journal/replay.h"

#define CHECKSUM_OFFSET 4u
#define CHECKED_OFFSET 8u

static void make(struct draft *draft, enum change_operation operation, const char *path,
                 const char *text)
{
    struct change change = {.operation = operation, .path = path, .writer = 1, .time = 1000};

    if (text) {
        change.data = (const uint8_t *)text;
        change.size = (uint32_t)strlen(text);
    }
    MUST(apply(draft, &change, NULL) == 0);
}

/* make_corpus.py knows it: inodes 2 to 5 and 7, version 7, writer 1, mtime 1000. */
static struct state *make_state(void)
{
    struct state *state = state_new(tree_new(), 0);
    struct draft *draft = draft_new(state);

    make(draft, CHANGE_MKDIR, "nodes", NULL);
    make(draft, CHANGE_MKDIR, "nodes/n1", NULL);
    make(draft, CHANGE_MKDIR, "nodes/n1/qemu-server", NULL);
    make(draft, CHANGE_CREATE, "nodes/n1/qemu-server/100.conf", NULL);
    make(draft, CHANGE_WRITE, "nodes/n1/qemu-server/100.conf", "name: one\n");
    make(draft, CHANGE_CREATE, "file", NULL);
    state_publish(state, draft, 0);
    draft_free(draft);
    return state;
}

static void put_checksums_right(uint8_t *area, size_t size)
{
    struct journal_record record;
    size_t at = 0;

    while (at < size && journal_record_read(area + at, size - at, &record)) {
        put_le32(area + at + CHECKSUM_OFFSET,
                 (uint32_t)crc32_z(0, area + at + CHECKED_OFFSET, record.size - CHECKED_OFFSET));
        at += journal_aligned(record.size);
    }
}

/* What would be stored is a tree that loads. */
static void use(struct state *state, struct draft *draft)
{
    struct index_view view;
    g_autofree char *problem = NULL;

    MUST(draft_check(draft, &problem) == 0);
    struct buffer *index = index_build(draft);
    MUST(index_parse(index->data, index->capacity, &view) == 0);
    buffer_unref(index);
    state_publish(state, draft, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader input = {.data = data, .left = size};
    struct state *state = make_state();
    struct draft *draft = draft_new(state);
    struct replay replay = {0};
    bool right = reader_u8(&input) & 1;
    uint8_t *areas[JOURNAL_AREAS];

    for (size_t i = 0; i < JOURNAL_AREAS; i++) {
        size_t area_size;
        areas[i] = take_piece(&input, &area_size);
        if (right)
            put_checksums_right(areas[i], area_size);
        replay_read_area(&replay.areas[i], areas[i], area_size);
    }
    replay_decide(&replay, draft);
    MUST(replay.keep == (replay.reason != NULL));
    MUST(replay.outcome != REPLAY_REFUSED || replay.keep);
    MUST(replay.outcome == REPLAY_CHANGES || draft_is_empty(draft));
    MUST((replay.outcome == REPLAY_CHANGES) == (replay.changes > 0));
    if (replay.outcome == REPLAY_CHANGES)
        use(state, draft);
    replay_clear(&replay);
    draft_free(draft);
    state_free(state);
    for (size_t i = 0; i < JOURNAL_AREAS; i++)
        free(areas[i]);
    return 0;
}
