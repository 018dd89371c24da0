/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Writes what has waited into history.db, in one transaction. */
#include "history/batch.h"

#include <errno.h>

#include "base/clock.h"

/* A batch on its way. */
struct writing {
    struct batch_writer *writer;
    const struct record_queue *records;
    uint64_t lost;
    struct node_names *names;
    uint64_t rows;
};

static void add_names(const struct writing *writing)
{
    struct node_names *names = writing->names;
    g_autoptr(GHashTable) seen = g_hash_table_new(g_direct_hash, g_direct_equal);

    for (const struct record *record = names ? writing->records->first : NULL; record;
         record = record->next) {
        if (!g_hash_table_add(seen, GUINT_TO_POINTER(record->node)))
            continue;
        g_autofree char *name = names->name_of(names, record->node);
        if (name)
            history_store_name(writing->writer->store, record->node, name);
    }
}

static int write_records(const struct writing *writing, struct record_writer *rows, uint64_t had)
{
    struct history_store *store = writing->writer->store;
    struct history_actor actor;
    int error = 0;

    for (const struct record *record = writing->records->first; record && !error;
         record = record->next) {
        if (record->replayed && record->version <= had)
            continue;
        rows->actor = askers_get(writing->writer->askers, record->asker, &actor) ? &actor : NULL;
        error = record_write(rows, record);
        if (!error && record->tree)
            error = history_store_complete(store, rows->now);
    }
    return error;
}

/* Nothing was to be kept: then nothing is written, or an idle cluster would wear the disk. Unless
 * versions have gone back: what a journal has of the same versions later must not be taken for what
 * the history had. */
static int end_transaction(const struct writing *writing, const struct record_writer *rows,
                           uint64_t had)
{
    struct history_store *store = writing->writer->store;
    uint64_t version = writing->records->last->version;
    int error = 0;

    if (rows->rows > 0 || version < had)
        error = history_store_set_version(store, version);
    if (rows->rows > 0 && !error) {
        add_names(writing);
        error = history_store_prune(store, rows->now);
    }
    return error ? error : history_store_commit(store);
}

static int attempt(struct writing *writing)
{
    struct history_store *store = writing->writer->store;
    struct record_writer rows = {
        .store = store,
        .patterns = writing->writer->patterns,
        .private = writing->writer->private,
        .now = (int64_t)clock_seconds(),
    };
    int error = history_store_begin(store);

    if (error)
        return error;
    uint64_t had = history_store_version(store);
    if (writing->lost > 0)
        error = record_write_gap(&rows, writing->records->first->version, writing->lost);
    if (!error)
        error = write_records(writing, &rows, had);
    if (!error)
        error = end_transaction(writing, &rows, had);
    if (error)
        history_store_rollback(store);
    writing->rows = rows.rows;
    return error;
}

int batch_write(struct batch_writer *writer, const struct record_queue *records, uint64_t lost,
                struct node_names *names, uint64_t *rows, char **message)
{
    struct writing writing = {.writer = writer, .records = records, .lost = lost, .names = names};
    int error = 0;

    *rows = 0;
    *message = NULL;
    if (!writer->store)
        error = history_store_open(writer->path, &writer->limits, &writer->store, message);
    if (error || !records->first)
        return error;
    askers_settle(writer->askers);
    error = attempt(&writing);
    if (error == -EBADMSG && history_store_renew(writer->store) == 0)
        error = attempt(&writing);
    if (error)
        *message = g_strdup(history_store_error(writer->store));
    *rows = error ? 0 : writing.rows;
    return error;
}
