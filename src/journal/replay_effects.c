/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the records of a journal did, told as effects: by path, as far as rows tell. */
#include "journal/replay_effects.h"

#include <string.h>

#include "base/util.h"

/* The path as it was is the effect's; which inode it is about is kept where its version will be. */
GPtrArray *replay_effects_before(const struct draft *draft, const struct journal_record *record)
{
    struct reader reader = {.data = record->rows, .left = record->rows_size};
    GPtrArray *before = draft_effects_new();
    struct journal_row row;

    while (journal_row_read(&reader, &row)) {
        struct entry *entry = draft_entry(draft, row.inode);
        g_autofree char *path = entry ? draft_path(draft, entry) : NULL;
        struct effect *effect = effect_new(path, NULL);
        effect->version = row.inode;
        effect->before = entry_ref(entry);
        g_ptr_array_add(before, effect);
    }
    return before;
}

static enum change_operation operation_of(const struct entry *before, const struct entry *after)
{
    if (!after)
        return CHANGE_DELETE;
    if (!before)
        return entry_is_directory(after) ? CHANGE_MKDIR : CHANGE_CREATE;
    if (entry_is_directory(after))
        return CHANGE_MTIME;
    return before->content == after->content && before->size == after->size ? CHANGE_MTIME
                                                                            : CHANGE_WRITE;
}

/* The entry that was deleted by the same record and had that path; taken out of the list. */
static struct entry *take_replaced(const struct draft *draft, GPtrArray *before, const char *path)
{
    for (guint i = 0; i < before->len; i++) {
        struct effect *gone = before->pdata[i];
        if (!gone->path || strcmp(gone->path, path) != 0 || draft_entry(draft, gone->version))
            continue;
        struct entry *entry = gone->before;
        gone->before = NULL;
        return entry;
    }
    return NULL;
}

static struct effect *make_effect(const struct draft *draft, GPtrArray *before,
                                  const struct effect *was, struct entry *after)
{
    g_autofree char *path = after ? draft_path(draft, after) : NULL;
    bool moved = was->path && path && strcmp(was->path, path) != 0;
    struct effect *effect = effect_new(was->path ? was->path : path, moved ? path : NULL);

    effect->operation = moved ? CHANGE_RENAME : operation_of(was->before, after);
    effect->before = entry_ref(was->before);
    effect->after = entry_ref(after);
    struct entry *gone = path && (moved || !was->path) ? take_replaced(draft, before, path) : NULL;
    if (moved)
        effect->replaced = gone;
    else if (gone)
        effect->before = gone;
    return effect;
}

static void stamp(struct effect *effect, const struct journal_record *record)
{
    const struct entry *after = effect->after;

    effect->version = after ? after->version : record->after.version;
    effect->writer = after ? after->writer : record->after.writer;
    effect->time = after ? after->mtime : record->after.mtime;
}

void replay_effects_add(const struct draft *draft, const struct journal_record *record,
                        GPtrArray *before, GPtrArray *effects)
{
    guint first = effects->len;

    /* What is there now takes away what it replaced; what is left is gone for good. */
    for (int pass = 0; pass < 2; pass++) {
        for (guint i = 0; i < before->len; i++) {
            const struct effect *was = before->pdata[i];
            struct entry *after = draft_entry(draft, was->version);
            if ((after != NULL) == (pass == 0) && (after || was->before))
                g_ptr_array_add(effects, make_effect(draft, before, was, after));
        }
    }
    for (guint i = first; i < effects->len; i++)
        stamp(effects->pdata[i], record);
}
