/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What cannot be put back as a whole is not put back by half: pairs of keys, and the like. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/history_common.h"
#include "ctl/undo.h"
#include "history/partners.h"
#include "store/text.h"

static bool is_same(const struct history_version *one, const struct history_version *other)
{
    if (!one->exists || !other->exists)
        return one->exists == other->exists;
    return one->directory == other->directory && one->kept == HISTORY_KEPT &&
           other->kept == HISTORY_KEPT && one->size == other->size &&
           one->content == other->content;
}

/* Is it what it was, as far as the history knows? 1, 0 or a negative errno. */
static int is_unchanged(const struct undo *undo, const char *path, int64_t position)
{
    static const struct history_version nothing;
    struct history_change *was = NULL;
    struct history_change *is = NULL;
    int error = history_at(undo->reader, path, position, &was);

    if (!error || error == -ENOENT)
        error = history_at(undo->reader, path, HISTORY_NOW, &is);
    int same = was && is && was->id == is->id;
    if (!same)
        same = is_same(was ? &was->after : &nothing, is ? &is->after : &nothing);
    history_change_free(was);
    history_change_free(is);
    return error && error != -ENOENT ? error : same;
}

/* Whether a partner will be what it was; 1, 0 or a negative errno. */
static int goes_along(const struct undo *undo, const char *partner, int64_t position)
{
    if (partners_is_outside(partner))
        return 0;
    for (guint i = 0; i < undo->steps->len; i++) {
        const struct undo_step *step = undo->steps->pdata[i];
        if (strcmp(step->path, partner) == 0)
            return step->result == UNDO_PLANNED;
    }
    return is_unchanged(undo, partner, position);
}

/* The first partner of a path that does not become what it was; NULL: all do. g_free() it. */
static char *find_missing(const struct undo *undo, const char *path, int64_t position, int *error)
{
    char *partner;

    *error = 0;
    for (size_t i = 0; (partner = partners_get(path, i)); i++) {
        int along = goes_along(undo, partner, position);
        *error = MIN(along, 0);
        if (along == 0)
            return partner;
        g_free(partner);
        if (along < 0)
            break;
    }
    return NULL;
}

int undo_leave_halves(struct undo *undo, const struct history_filter *filter, int64_t position)
{
    int error = 0;

    for (guint i = 0; i < undo->steps->len && !error; i++) {
        struct undo_step *step = undo->steps->pdata[i];
        g_autofree char *partner =
            step->result == UNDO_PLANNED ? find_missing(undo, step->path, position, &error) : NULL;
        g_autofree char *other = partner ? store_text_shown(partner, strlen(partner)) : NULL;
        if (partner && g_strcmp0(filter->path, step->path) == 0) {
            g_autofree char *shown = store_text_shown(step->path, strlen(step->path));
            fprintf(stderr, "warning: %s belongs together with %s, which is not put back\n", shown,
                    other);
        } else if (partner) {
            step->result = UNDO_LEFT;
            step->problem = g_strdup_printf("it belongs together with %s, which is not put back; "
                                            "name it itself if it is wanted nevertheless",
                                            other);
        }
    }
    return error ? history_common_damaged(undo->reader, NULL, error) : EXIT_DONE;
}
