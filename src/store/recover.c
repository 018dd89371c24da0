/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A journal that a killed daemon left behind: brought into config.db, or put into quarantine. */
#include "store/recover.h"

#include "base/log.h"
#include "base/util.h"
#include "core/publish.h"
#include "journal/quarantine.h"
#include "journal/read.h"
#include "store/text.h"

#define NAMES_LOGGED_MAX 20u

/* ---- What goes to quarantine ---- */

static void log_row(const struct journal_row *row, const struct tree *tree)
{
    g_autofree char *name = row->named ? text_name_shown(row->name, row->name_length) : NULL;
    g_autofree char *path = row->named ? NULL : tree_path(tree, row->inode);

    log_warning("journal set aside: inode %" G_GUINT64_FORMAT " (%s) was %s", row->inode,
                name   ? name
                : path ? path
                       : "?",
                row->removed ? "deleted" : "changed");
}

/* The entries that an area changed, each once, as long as there are not too many. */
static void log_area(const struct replay_area *area, const struct tree *tree, GHashTable *seen)
{
    struct journal_record record;
    struct journal_row row;
    size_t at = 0;

    for (uint32_t i = 0; i < area->count; i++, at += journal_aligned(record.size)) {
        journal_record_read(area->data + at, area->size - at, &record);
        struct reader reader = {.data = record.rows, .left = record.rows_size};
        while (journal_row_read(&reader, &row)) {
            if (g_hash_table_add(seen, (gpointer)(uintptr_t)row.inode) &&
                g_hash_table_size(seen) <= NAMES_LOGGED_MAX)
                log_row(&row, tree);
        }
    }
}

static void log_span(const struct replay_area *area)
{
    if (area->count > 0)
        log_warning("journal set aside: %u changes, from version %" G_GUINT64_FORMAT
                    " to %" G_GUINT64_FORMAT,
                    area->count, area->base.version, area->end.version);
}

static void log_kept(const struct replay *replay, const struct tree *tree)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_direct_hash, g_direct_equal);

    for (size_t i = 0; i < JOURNAL_AREAS; i++)
        log_span(&replay->areas[i]);
    for (size_t i = 0; i < JOURNAL_AREAS; i++)
        log_area(&replay->areas[i], tree, seen);
    if (g_hash_table_size(seen) > NAMES_LOGGED_MAX)
        log_warning("journal set aside: and %u entries more",
                    g_hash_table_size(seen) - NAMES_LOGGED_MAX);
}

/* While config.db does not take what was before the damage, the file stays where it is: nothing
 * else has that. */
static int keep(const char *path, const struct replay *replay, const struct tree *tree,
                struct journal_waiting *left, struct replay_report *report, char **message)
{
    const char *word = replay->damaged ? "damaged" : "overtaken";
    int error = left ? 0 : quarantine_move(path, word, &report->quarantine);

    if (error) {
        *message = g_strdup_printf("%s cannot be brought in (%s), and not be set aside: %s", path,
                                   replay->reason, g_strerror(-error));
        return error;
    }
    if (left)
        left->aside = word;
    log_warning("%s held changes that could not be brought into config.db: %s. It is kept as %s",
                path, replay->reason,
                left ? "it is until config.db takes the others" : report->quarantine);
    log_kept(replay, tree);
    return 0;
}

/* ---- What is brought in ---- */

/* The draft's entries, for as long as config.db does not take them. */
static struct journal_waiting *copy_waiting(const struct draft *draft)
{
    struct journal_waiting *waiting = g_new0(struct journal_waiting, 1);
    GHashTableIter iter;
    gpointer inode;
    gpointer entry;

    waiting->entries = journal_entries_new();
    waiting->root = draft->root;
    g_hash_table_iter_init(&iter, draft->entries);
    while (g_hash_table_iter_next(&iter, &inode, &entry))
        g_hash_table_insert(waiting->entries, inode, entry_ref(entry));
    return waiting;
}

/* A disk that takes nothing does not keep the node from reading: what is in the journal stays
 * there, and no change is made before config.db has it. NULL: config.db has it. */
static struct journal_waiting *bring_in(const char *path, struct transaction *transaction,
                                        const struct replay *replay, const struct draft *draft)
{
    int error = transaction_store(transaction, draft->entries, &draft->root, true);

    if (!error) {
        log_info("%s is brought in: %u changes, config.db is at version %" G_GUINT64_FORMAT " now",
                 path, replay->changes, draft->root.version);
        return NULL;
    }
    log_error("%u changes of %s cannot be brought into config.db: %s; changes are refused until "
              "they can",
              replay->changes, path, transaction->error);
    return copy_waiting(draft);
}

/* The witness has it before config.db does. */
static void tell(struct store_witness *witness, struct replay *replay)
{
    if (witness && replay->outcome == REPLAY_CHANGES)
        witness->replayed(witness, replay->effects);
    g_clear_pointer(&replay->effects, g_ptr_array_unref);
}

static int recover(const char *path, struct transaction *transaction, struct store_witness *witness,
                   struct replay *replay, struct state *state, struct journal_waiting **left,
                   struct replay_report *report, char **message)
{
    struct draft *draft = draft_new(state);
    int error = 0;

    if (witness)
        replay->effects = draft_effects_new();
    replay_decide(replay, draft);
    tell(witness, replay);
    report->version_before = draft->base->tree->root.version;
    report->version = draft->root.version;
    if (replay->outcome == REPLAY_CHANGES) {
        report->changes = replay->changes;
        *left = bring_in(path, transaction, replay, draft);
        state_publish(state, draft, 0);
    }
    if (replay->keep)
        error = keep(path, replay, state->tree, *left, report, message);
    draft_free(draft);
    return error;
}

int recover_journal(const char *path, struct transaction *transaction,
                    struct store_witness *witness, struct tree **tree,
                    struct journal_waiting **left, struct replay_report *report, char **message)
{
    struct replay replay;
    GByteArray *bytes;

    *left = NULL;
    *report = (struct replay_report){.version_before = (*tree)->root.version,
                                     .version = (*tree)->root.version};
    int error = journal_read(path, &bytes, message);
    if (error)
        return error;
    replay_read(&replay, bytes->data, bytes->len);
    if (replay_generation(&replay) > 0) {
        struct state *state = state_new(*tree, 0);
        error = recover(path, transaction, witness, &replay, state, left, report, message);
        *tree = state_give_tree(state);
        report->left = *left != NULL;
    }
    replay_clear(&replay);
    g_byte_array_unref(bytes);
    return error;
}
