/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Moments of the history as people name them, and paths at them. */
#include "ctl/history_moment.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/db.h"
#include "ctl/history_common.h"
#include "ctl/history_time.h"
#include "ctl/suggest.h"
#include "store/text.h"

#define DIGITS_MAX 18u

/* ---- Moments ---- */

static int find_version(struct history_reader *reader, uint64_t version,
                        const struct history_summary *summary, struct history_moment *moment)
{
    if (version > summary->version) {
        fprintf(stderr,
                "error: version %" PRIu64 " has not been: the last that is recorded is %" PRIu64
                "\n",
                version, summary->version);
        return -EINVAL;
    }
    return history_position_of_version(reader, version, &moment->position);
}

static int find_time(struct history_reader *reader, const char *text, struct history_moment *moment)
{
    int64_t now = time(NULL);
    int64_t wanted;

    if (history_time_parse(text, now, &wanted)) {
        fprintf(stderr, "error: '%s' is no version and no time (2h, yesterday, 2026-11-22 18:41)\n",
                text);
        return -EINVAL;
    }
    if (wanted > now) {
        fprintf(stderr, "error: '%s' is still to come\n", text);
        return -EINVAL;
    }
    return history_position_of_time(reader, wanted, &moment->position);
}

int history_moment_parse(struct history_reader *reader, const char *text,
                         struct history_moment *moment)
{
    struct history_summary summary;
    size_t digits = strspn(text, "0123456789");
    int error = history_summary(reader, &summary);

    *moment = (struct history_moment){.position = HISTORY_NOW, .complete = true};
    if (error)
        return history_common_damaged(reader, NULL, error);
    /* Not by the clock: that of the node that wrote last may be ahead. */
    if (strcmp(text, "now") == 0)
        return EXIT_DONE;
    if (digits > 0 && digits <= DIGITS_MAX && text[digits] == '\0')
        error = find_version(reader, g_ascii_strtoull(text, NULL, 10), &summary, moment);
    else
        error = find_time(reader, text, moment);
    if (error == -EINVAL)
        return EXIT_WRONG_USE;
    if (error == -ENOENT)
        moment->position = 0;
    else if (error)
        return history_common_damaged(reader, NULL, error);
    moment->complete = moment->position >= summary.complete_id;
    return EXIT_DONE;
}

void history_moment_warn(struct history_reader *reader)
{
    struct history_summary summary;

    if (history_summary(reader, &summary))
        return;
    g_autofree char *when = db_time_shown((uint32_t)summary.complete);
    fprintf(stderr,
            "warning: the history is complete from %s on only; of what was before, some may be "
            "missing\n",
            when);
}

/* ---- Paths ---- */

/* 1, 0 or a negative errno. */
static int is_known(struct history_reader *reader, const char *path)
{
    const struct history_filter filter = {.path = path, .limit = 1};
    GPtrArray *changes;
    int error = history_list(reader, &filter, &changes);

    if (error)
        return error;
    int known = changes->len > 0;
    g_ptr_array_unref(changes);
    return known;
}

int history_moment_known(struct history_reader *reader, const char *path)
{
    GPtrArray *paths;
    int known = is_known(reader, path);
    int error = known < 0 ? known : known > 0 ? 0 : history_known_paths(reader, &paths);

    if (error)
        return history_common_damaged(reader, "the list of paths", error);
    if (known)
        return EXIT_DONE;
    const char *nearest = suggest(path, paths);
    g_autofree char *hint = nearest ? store_text_shown(nearest, strlen(nearest)) : NULL;
    g_autofree char *shown = store_text_shown(path, strlen(path));
    fprintf(stderr, "error: the history knows no path '%s'%s%s%s\n", shown,
            hint ? "; did you mean '" : "", hint ? hint : "", hint ? "'?" : "");
    g_ptr_array_unref(paths);
    return EXIT_FAILED;
}

char *history_moment_cut(struct history_reader *reader, char *path)
{
    char *at = strrchr(path, '@');

    if (!at || at == path || is_known(reader, path) != 0)
        return NULL;
    *at = '\0';
    if (is_known(reader, path) > 0)
        return at + 1;
    *at = '@'; /* what is told of is what was given */
    return NULL;
}

int history_moment_split(struct history_reader *reader, const char *given, char **path,
                         struct history_moment *moment)
{
    const char *at = strrchr(given, '@');
    int known = at ? is_known(reader, given) : 1;

    *moment = (struct history_moment){.position = HISTORY_NOW, .complete = true};
    *path = known == 0 ? g_strndup(given, (gsize)(at - given)) : g_strdup(given);
    if (known < 0)
        return history_common_damaged(reader, "the list of paths", known);
    return known ? EXIT_DONE : history_moment_parse(reader, at + 1, moment);
}

/* The first change of the path behind a position; NULL: there is none. */
static struct history_change *next_change(struct history_reader *reader, const char *path,
                                          int64_t position)
{
    const struct history_filter filter = {.path = path, .above = position};
    struct history_change *found = NULL;
    GPtrArray *changes;

    if (position == HISTORY_NOW || history_list(reader, &filter, &changes))
        return NULL;
    for (guint i = changes->len; i-- > 0 && !found;) {
        struct history_change *change = changes->pdata[i];
        if (strcmp(change->path, path) == 0)
            found = g_ptr_array_steal_index(changes, i);
    }
    g_ptr_array_unref(changes);
    return found;
}

/* Nothing is recorded of it up to the moment. */
static void explain_absent(struct history_reader *reader, const char *path,
                           const struct history_moment *moment)
{
    if (history_moment_known(reader, path) != EXIT_DONE)
        return;
    struct history_change *next = next_change(reader, path, moment->position);
    g_autofree char *shown = store_text_shown(path, strlen(path));

    if (!next) {
        fprintf(stderr, "error: only of what is below %s something is recorded\n",
                *path ? shown : "/");
        return;
    }
    g_autofree char *when = db_time_shown((uint32_t)next->time);
    bool came = next->other && next->after.exists;
    g_autofree char *other = came ? store_text_shown(next->other, strlen(next->other)) : NULL;
    fprintf(stderr,
            "error: %s %s; the first that is known of it is from %s (version %" PRIu64 ")%s%s\n",
            shown, moment->complete ? "was not there then" : "is not recorded that far back", when,
            next->version, came ? ", when it came from " : "", came ? other : "");
    history_change_free(next);
}

/* How to see what is gone, if that can be; g_free() it. */
static char *explain_before(const struct history_change *change)
{
    const char *missing = history_moment_missing(&change->before);
    g_autofree char *version =
        g_strdup_printf("%" PRIu64, change->version > 0 ? change->version - 1 : 0);
    g_autofree char *argument = history_common_argument(change->path, version);

    if (!change->before.exists || change->before.directory)
        return g_strdup("");
    if (missing)
        return g_strdup_printf("; what it was before is not kept: %s", missing);
    return g_strdup_printf("; what it was before: pmxcfsctl show %s", argument);
}

static void explain_gone(const struct history_change *change)
{
    g_autofree char *shown = store_text_shown(change->path, strlen(change->path));
    g_autofree char *when = db_time_shown((uint32_t)change->time);
    g_autofree char *other =
        change->other ? store_text_shown(change->other, strlen(change->other)) : NULL;

    g_autofree char *hint = explain_before(change);
    fprintf(stderr, "error: %s was %s%s at %s (version %" PRIu64 ")%s\n", shown,
            other ? "renamed to " : "deleted", other ? other : "", when, change->version, hint);
}

struct history_change *history_moment_of(struct history_reader *reader, const char *path,
                                         const struct history_moment *moment)
{
    struct history_change *change;
    int error = history_at(reader, path, moment->position, &change);

    if (!error && change->after.exists)
        return change;
    if (error == -ENOENT)
        explain_absent(reader, path, moment);
    else if (error)
        history_common_damaged(reader, path, error);
    else
        explain_gone(change);
    history_change_free(change);
    return NULL;
}

const char *history_moment_missing(const struct history_version *version)
{
    switch (version->kept) {
    case HISTORY_PRIVATE:
        return "it is private, and of private files only when they changed is kept (but with "
               "--history-private of pmxcfs)";
    case HISTORY_LARGE:
        return "there was no room in the history for its content (--history-size of pmxcfs)";
    case HISTORY_KEPT:
        break;
    }
    return NULL;
}
