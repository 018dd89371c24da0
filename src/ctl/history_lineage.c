/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How a file became what it is, also under the names that it had before. */
#include "ctl/history_lineage.h"

#include <string.h>

/* A file that is written in pieces has such sizes in between; 0 is that of its creation. */
#define PIECE_SIZE 65536u
#define PIECE_SECONDS 1

bool history_lineage_alters(const struct history_change *change)
{
    const struct history_version *before = &change->before;
    const struct history_version *after = &change->after;

    if (before->exists != after->exists || before->directory != after->directory)
        return true;
    if (before->kept == HISTORY_KEPT && after->kept == HISTORY_KEPT)
        return before->content != after->content || before->size != after->size;
    return change->operation != HISTORY_MTIME && change->operation != HISTORY_UNLOCK;
}

bool history_lineage_continues(const struct history_change *newer,
                               const struct history_change *older)
{
    bool same_process = newer->node == older->node && newer->actor.known == older->actor.known &&
                        (!newer->actor.known || newer->actor.pid == older->actor.pid);

    if (newer->version == older->version)
        return true;
    return same_process && newer->operation == HISTORY_WRITE &&
           (older->operation == HISTORY_WRITE || older->operation == HISTORY_CREATE) &&
           strcmp(newer->path, older->path) == 0 &&
           ABS(newer->time - older->time) <= PIECE_SECONDS && older->after.size % PIECE_SIZE == 0;
}

/* Came it from another name, under which it was the same file? */
static bool is_move(const struct history_change *change)
{
    return change->operation == HISTORY_RENAME && change->other && change->after.exists &&
           !change->after.directory && !change->before.exists;
}

/* Those under one name, up to a move, which is given: NULL: there is none. */
static struct history_change *take_name(GPtrArray *found, const char *path, GPtrArray *changes)
{
    for (guint i = 0; i < found->len; i++) {
        struct history_change *change = found->pdata[i];
        if (strcmp(change->path, path) != 0)
            continue; /* below it, when it was a directory */
        found->pdata[i] = NULL;
        if (is_move(change))
            return change;
        g_ptr_array_add(changes, change);
    }
    return NULL;
}

static void destroy(gpointer change)
{
    history_change_free(change);
}

int history_lineage(struct history_reader *reader, const char *path, int64_t position,
                    GPtrArray **changes)
{
    g_autofree char *name = g_strdup(path);

    *changes = g_ptr_array_new_with_free_func(destroy);
    while (name) {
        const struct history_filter filter = {.path = name,
                                              .below = position == HISTORY_NOW ? 0 : position + 1};
        GPtrArray *found;
        int error = history_list(reader, &filter, &found);
        if (error) {
            g_clear_pointer(changes, g_ptr_array_unref);
            return error;
        }
        struct history_change *move = take_name(found, name, *changes);
        g_ptr_array_unref(found);
        g_clear_pointer(&name, g_free);
        if (!move)
            return 0;
        name = g_strdup(move->other);
        /* Behind the row that says that it went. */
        struct history_change *went = NULL;
        error = history_at(reader, name, move->id, &went);
        position =
            !error && went->version == move->version ? MIN(went->id, move->id) - 1 : move->id - 1;
        history_change_free(went);
        history_change_free(move);
    }
    return 0;
}
