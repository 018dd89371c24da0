/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A history together with what a journal holds that has not reached it: that of a dead host. */
#include "history/replayed.h"

#include <glib/gstdio.h>

#include "history/batch.h"

/* The copy takes all that there is. */
static const struct history_limits no_limits = {
    .bytes = G_MAXINT64, .age = G_MAXINT32, .deleted_age = G_MAXINT32};

static bool has_more(const GPtrArray *effects, uint64_t version)
{
    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = effects->pdata[i];
        if (effect->version > version)
            return true;
    }
    return false;
}

static int write_effects(const char *path, const GPtrArray *effects, char **message)
{
    struct patterns *patterns = patterns_new(NULL);
    struct batch_writer writer = {.path = path, .limits = no_limits, .patterns = patterns};
    struct record_queue queue = {0};
    uint64_t rows;

    for (guint i = 0; i < effects->len; i++) {
        struct record *record = record_of_effect(effects->pdata[i], true);
        if (record)
            record_queue_add(&queue, record);
    }
    int error = batch_write(&writer, &queue, 0, NULL, &rows, message);
    record_queue_clear(&queue);
    history_store_close(writer.store);
    patterns_free(patterns);
    return error;
}

static int open_copy(struct history_reader *reader, const char *path, const GPtrArray *effects,
                     struct history_reader **copy, char **message)
{
    int error = history_copy(reader, path, message);

    if (!error)
        error = write_effects(path, effects, message);
    if (!error)
        error = history_open(path, copy, message);
    if (!error)
        history_call(*copy, history_file(reader));
    return error;
}

int history_add_replayed(struct history_reader **reader, const GPtrArray *effects, char **message)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    struct history_reader *copy = NULL;
    struct history_summary summary;
    int error = history_summary(*reader, &summary);

    *message = NULL;
    if (error || !has_more(effects, summary.version))
        return error;
    g_autofree char *directory = g_dir_make_tmp("pmxcfs-history-XXXXXX", NULL);
    if (!directory) {
        *message = g_strdup_printf("no directory can be made in %s", g_get_tmp_dir());
        return -EIO;
    }
    g_autofree char *path = g_build_filename(directory, HISTORY_FILE, NULL);
    error = open_copy(*reader, path, effects, &copy, message);
    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *file = g_strconcat(path, suffixes[i], NULL);
        g_unlink(file);
    }
    g_rmdir(directory);
    if (error)
        return error;
    history_close(*reader);
    *reader = copy;
    return 0;
}
