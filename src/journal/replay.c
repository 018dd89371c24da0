/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a journal that was left behind says, and whether it may be brought in. Pure. */
#include "journal/replay.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "base/util.h"
#include "journal/replay_effects.h"

/* Whole records are looked for behind a damaged one; so many are enough to know. */
#define CHECKSUMS_MAX 64u

/* ---- Reading ---- */

static bool is_root(const struct root *a, const struct root *b)
{
    return a->version == b->version && a->writer == b->writer && a->mtime == b->mtime;
}

/* Is the record at `at` the next one of its area? */
static bool continues(const struct replay_area *area, size_t at, struct journal_record *record)
{
    if (!journal_record_read(area->data + at, area->size - at, record) ||
        record->sequence != area->count)
        return false;
    if (area->count > 0 &&
        (record->generation != area->generation || !is_root(&record->before, &area->end)))
        return false;
    return journal_record_is_whole(area->data + at, record);
}

/* The records before the first that is not there, torn, damaged, or of an earlier generation. */
static size_t read_records(struct replay_area *area)
{
    struct journal_record record;
    size_t at = 0;

    while (at < area->size && continues(area, at, &record)) {
        if (area->count == 0)
            area->base = record.before;
        area->generation = record.generation;
        area->end = record.after;
        area->count++;
        at += journal_aligned(record.size);
    }
    return MIN(at, area->size);
}

/* What was acknowledged after a record that cannot be read: that one is not torn then. Records of
 * earlier generations were there before and mean nothing. */
static void look_behind(struct replay_area *area, size_t at)
{
    struct journal_record record;
    unsigned int checksums = 0;

    for (; at < area->size && checksums < CHECKSUMS_MAX; at += JOURNAL_ALIGNMENT) {
        if (!journal_record_may_begin(area->data + at, area->size - at) ||
            !journal_record_read(area->data + at, area->size - at, &record) ||
            (area->count > 0 && record.generation < area->generation))
            continue;
        checksums++;
        if (!journal_record_is_whole(area->data + at, &record))
            continue;
        area->behind++;
        area->behind_generation = MAX(area->behind_generation, record.generation);
        at += journal_aligned(record.size) - JOURNAL_ALIGNMENT;
    }
}

void replay_read_area(struct replay_area *area, const uint8_t *bytes, size_t size)
{
    *area = (struct replay_area){.data = bytes, .size = size};
    look_behind(area, read_records(area));
}

void replay_read(struct replay *replay, const uint8_t *bytes, size_t size)
{
    *replay = (struct replay){0};
    for (size_t i = 0; i < JOURNAL_AREAS && i * JOURNAL_AREA_SIZE < size; i++) {
        size_t begin = i * JOURNAL_AREA_SIZE;
        replay_read_area(&replay->areas[i], bytes + begin, MIN(size - begin, JOURNAL_AREA_SIZE));
    }
}

static uint64_t generation_of(const struct replay_area *area)
{
    uint64_t own = area->count > 0 ? area->generation : 0;

    return MAX(own, area->behind_generation);
}

uint64_t replay_generation(const struct replay *replay)
{
    return MAX(generation_of(&replay->areas[0]), generation_of(&replay->areas[1]));
}

void replay_clear(struct replay *replay)
{
    g_clear_pointer(&replay->reason, g_free);
}

/* ---- Deciding ---- */

/* Takes the first reason only: the others follow from it. */
static void refuse(struct replay *replay, bool damaged, char *reason)
{
    replay->keep = true;
    replay->damaged |= damaged;
    if (replay->reason)
        g_free(reason);
    else
        replay->reason = reason;
}

/* Is what the draft has for the inode what the row was made on? */
static bool is_base(const struct journal_row *row, struct entry *before, bool changed)
{
    uint8_t digest[DIGEST_SIZE];

    switch (row->base) {
    case JOURNAL_CHAINED:
        return changed;
    case JOURNAL_ABSENT:
        return !before;
    case JOURNAL_DIGEST:
        if (before)
            journal_digest(before, digest);
        return before && memcmp(digest, row->digest, DIGEST_SIZE) == 0;
    }
    return false;
}

/* 0; -ESTALE: config.db has something else; -EBADMSG: no such row can be. */
static int apply_row(struct draft *draft, const struct journal_row *row, GHashTable *changed)
{
    gpointer key = (gpointer)(uintptr_t)row->inode;
    struct entry *before = draft_entry(draft, row->inode);

    if (!is_base(row, before, g_hash_table_contains(changed, key)))
        return -ESTALE;
    g_hash_table_add(changed, key);
    if (row->removed) {
        draft_remove(draft, row->inode);
        return 0;
    }
    struct entry *entry = journal_row_apply(row, before);
    if (!entry)
        return -EBADMSG;
    draft_put(draft, entry);
    return 0;
}

static int apply_record(struct draft *draft, const struct journal_record *record,
                        GHashTable *changed, GPtrArray *effects)
{
    struct reader reader = {.data = record->rows, .left = record->rows_size};
    g_autoptr(GPtrArray) before = effects ? replay_effects_before(draft, record) : NULL;
    struct journal_row row;
    int error = 0;

    while (!error && journal_row_read(&reader, &row))
        error = apply_row(draft, &row, changed);
    if (!error && reader.bad)
        error = -EBADMSG;
    draft->root = record->after;
    if (effects && !error)
        replay_effects_add(draft, record, before, effects);
    return error;
}

static int apply_area(struct replay *replay, const struct replay_area *area, struct draft *draft)
{
    g_autoptr(GHashTable) changed = g_hash_table_new(g_direct_hash, g_direct_equal);
    size_t at = 0;
    int error = 0;

    for (uint32_t i = 0; i < area->count && !error; i++) {
        struct journal_record record;
        journal_record_read(area->data + at, area->size - at, &record);
        error = apply_record(draft, &record, changed, replay->effects);
        at += journal_aligned(record.size);
    }
    replay->changes += area->count;
    return error;
}

/* What a load would refuse must not come in by this door; g_free() it. NULL: nothing. */
static char *find_problem(const struct draft *draft)
{
    char *problem = NULL;
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;
    uint32_t id;

    if (draft_check(draft, &problem))
        return problem;
    if (draft_find_duplicate_guest(draft, &id, &first, &second))
        return g_strdup_printf("guest %u would be at '%s' and '%s'", id, first, second);
    return NULL;
}

static void apply_areas(struct replay *replay, const struct replay_area *const areas[],
                        unsigned count, struct draft *draft)
{
    int error = 0;

    for (unsigned i = 0; i < count && !error; i++)
        error = apply_area(replay, areas[i], draft);
    g_autofree char *problem = error ? NULL : find_problem(draft);
    if (!error && !problem) {
        replay->outcome = REPLAY_CHANGES;
        return;
    }
    draft_restart(draft);
    replay->changes = 0;
    replay->outcome = REPLAY_REFUSED;
    refuse(replay, error != -ESTALE,
           error == -ESTALE ? g_strdup("an entry is not what it was when it was changed")
           : problem        ? g_strdup(problem)
                            : g_strdup("a row of it cannot be"));
}

/* The two areas in the order in which they were begun. */
struct areas {
    const struct replay_area *older;
    const struct replay_area *newer; /* has records, or neither has */
};

static struct areas areas_of(const struct replay *replay)
{
    const struct replay_area *first = &replay->areas[0];
    const struct replay_area *second = &replay->areas[1];
    bool swap = first->count > 0 && (second->count == 0 || first->generation > second->generation);

    return (struct areas){.older = swap ? second : first, .newer = swap ? first : second};
}

/* What of a journal goes on from a config.db. */
enum part {
    PART_BOTH,
    PART_NEWER,
    PART_NOTHING, /* config.db has all of it */
    PART_OLDER,   /* what was made after that is missing */
    PART_UNKNOWN,
};

/* config.db is at the beginning or the end of an area, since an area is brought in as a whole. What
 * it is anywhere else was not made by the daemon that left the journal. */
static enum part choose(const struct areas *areas, const struct root *root)
{
    const struct replay_area *older = areas->older;
    const struct replay_area *newer = areas->newer;
    bool connected = older->count > 0 && older->generation + 1 == newer->generation &&
                     is_root(&older->end, &newer->base);
    bool older_is_next = older->count > 0 && is_root(root, &older->base);

    if (connected && older_is_next)
        return PART_BOTH;
    if (is_root(root, &newer->base))
        return PART_NEWER;
    if (is_root(root, &newer->end))
        return PART_NOTHING;
    return older_is_next ? PART_OLDER : PART_UNKNOWN;
}

static void apply_part(struct replay *replay, const struct areas *areas, struct draft *draft)
{
    const struct replay_area *const both[] = {areas->older, areas->newer};

    switch (choose(areas, &draft->root)) {
    case PART_BOTH:
        apply_areas(replay, both, 2, draft);
        break;
    case PART_NEWER:
        apply_areas(replay, both + 1, 1, draft);
        break;
    case PART_NOTHING:
        replay->outcome = REPLAY_NOTHING;
        break;
    case PART_OLDER:
        refuse(replay, true, g_strdup("what was made between its two parts is missing"));
        apply_areas(replay, both, 1, draft);
        break;
    case PART_UNKNOWN:
        replay->outcome = REPLAY_REFUSED;
        refuse(replay, false,
               g_strdup_printf("config.db is at version %" G_GUINT64_FORMAT
                               " and not where it was when they were made",
                               draft->root.version));
        break;
    }
}

/* Are there records behind one that cannot be read? Of an area that was folded long ago anything
 * may be left. */
static bool lacks_some(const struct replay_area *area, const struct replay_area *newer)
{
    return area->behind > 0 &&
           (newer->count == 0 || area == newer || area->behind_generation > newer->generation);
}

bool replay_follows(const struct replay *replay, const struct root *root)
{
    struct areas areas = areas_of(replay);

    return areas.newer->count > 0 && choose(&areas, root) <= PART_NOTHING &&
           !lacks_some(areas.older, areas.newer) && !lacks_some(areas.newer, areas.newer);
}

void replay_decide(struct replay *replay, struct draft *draft)
{
    struct areas areas = areas_of(replay);

    if (areas.newer->count > 0)
        apply_part(replay, &areas, draft);
    for (size_t i = 0; i < JOURNAL_AREAS; i++) {
        const struct replay_area *area = &replay->areas[i];
        if (lacks_some(area, areas.newer))
            refuse(replay, true,
                   g_strdup_printf("a record in it is damaged, and %u whole ones or more follow",
                                   area->behind));
    }
    if (replay->keep && replay->outcome == REPLAY_NOTHING)
        replay->outcome = REPLAY_REFUSED;
}
