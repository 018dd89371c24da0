/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Brings back what some changes changed, as the history has it. */
#include "history/revert.h"

#include <errno.h>
#include <string.h>

#include "history/partners.h"
#include "history/reader.h"

#define PROBLEM_MAX 1000 /* bytes, after which no more paths are named */

int revert_find_last(const char *history, int64_t *id, uint64_t *version)
{
    const struct history_filter filter = {.limit = 1};
    g_autofree char *message = NULL;
    struct history_reader *reader;
    GPtrArray *changes;

    *id = 0;
    *version = 0;
    int error = history_open_live(history, &reader, &message);
    if (error)
        return error;
    error = history_list(reader, &filter, &changes);
    history_close(reader);
    if (error)
        return error;
    if (changes->len > 0) {
        const struct history_change *last = changes->pdata[0];
        *id = last->id;
        *version = last->version;
    }
    g_ptr_array_unref(changes);
    return 0;
}

/* Positions are those of one history: another one, or one that does not reach back so far any more,
 * does not tell what was there. 0 or a negative errno. */
static int require_reach(struct history_reader *reader, const struct revert *revert, char **problem)
{
    int64_t from = revert->window.from;
    const struct history_filter filter = {.above = from - 1, .below = from + 1, .limit = 1};
    struct history_summary summary;
    GPtrArray *changes;
    int error = history_summary(reader, &summary);

    if (!error)
        error = history_list(reader, &filter, &changes);
    if (error)
        return error;
    const struct history_change *change = changes->len > 0 ? changes->pdata[0] : NULL;
    bool same =
        from == 0 || (change && (revert->version == 0 || change->version == revert->version));
    g_ptr_array_unref(changes);
    /* Of an empty history all is known. */
    if (same && (from >= summary.complete_id || (from == 0 && summary.complete_id <= 1)))
        return 0;
    *problem = g_strdup("nothing can be brought back: the history does not have any more what was "
                        "there before (a new one was begun, or it was cut off)");
    return -ESTALE;
}

static gint compare_texts(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_path(GPtrArray *paths, GHashTable *seen, const char *path)
{
    if (path && *path && !g_hash_table_contains(seen, path)) {
        char *copy = g_strdup(path);
        g_hash_table_add(seen, copy);
        g_ptr_array_add(paths, copy);
    }
}

/* The paths in order: directories before what is in them. */
static int find_paths(struct history_reader *reader, const struct revert_window *window,
                      GPtrArray **paths)
{
    const struct history_filter filter = {
        .above = window->from,
        .below = window->until > 0 && window->until < INT64_MAX ? window->until + 1 : 0,
        .asked_here = true,
    };
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    GPtrArray *changes;
    int error = history_list(reader, &filter, &changes);

    if (error)
        return error;
    *paths = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < changes->len; i++) {
        const struct history_change *change = changes->pdata[i];
        if (window->group != 0 && change->actor.group != window->group)
            continue;
        add_path(*paths, seen, change->path);
        add_path(*paths, seen, change->other);
    }
    g_ptr_array_unref(changes);
    g_ptr_array_sort(*paths, compare_texts);
    return 0;
}

/* Before what that change belongs to, if it was brought back; else the change's own position. */
static int64_t before_undone(const struct revert *revert, const struct history_change *change)
{
    for (guint i = 0; revert->undone && i < revert->undone->len; i++) {
        const struct revert_window *window =
            &g_array_index(revert->undone, struct revert_window, i);
        if (change->id > window->from && (window->until == 0 || change->id <= window->until) &&
            change->actor.known && (window->group == 0 || change->actor.group == window->group))
            return window->from;
    }
    return change->id;
}

/* What a path was; target->exists false: nothing was there. */
static int find_target(struct history_reader *reader, const struct revert *revert, const char *path,
                       struct history_version *target)
{
    int64_t position = revert->window.from;

    *target = (struct history_version){0};
    for (;;) {
        struct history_change *change = NULL;
        int error = position == 0 ? -ENOENT : history_at(reader, path, position, &change);
        if (error)
            return error == -ENOENT ? 0 : error;
        position = before_undone(revert, change);
        bool found = position == change->id;
        if (found)
            *target = change->after;
        history_change_free(change);
        if (found)
            return 0;
    }
}

static void note_problem(char **problem, const char *path, const char *text)
{
    char *before = *problem;

    if (before && strlen(before) > PROBLEM_MAX)
        return;
    *problem = before ? g_strdup_printf("%s; %s: %s", before, path, text)
                      : g_strdup_printf("%s: %s", path, text);
    g_free(before);
}

static void note_done(struct revert *revert, const char *path)
{
    g_hash_table_add(revert->done, g_strdup(path));
}

/* Others have made there what does not go with it: that is theirs to take away. */
static bool is_in_the_way(int error)
{
    return error == -EEXIST || error == -ENOENT || error == -ENOTDIR || error == -EISDIR ||
           error == -ENOTEMPTY;
}

/* Whether the changes altered something that the path belongs together with and whose content
 * before is not known; *partner is it, g_free() it. 0 or a negative errno. */
static int find_lost_partner(struct history_reader *reader, const struct revert *revert,
                             GPtrArray *paths, const char *path, char **partner)
{
    for (size_t i = 0; (*partner = partners_get(path, i)); i++) {
        struct history_version target = {0};
        bool changed = g_ptr_array_find_with_equal_func(paths, *partner, g_str_equal, NULL);
        int error = changed ? find_target(reader, revert, *partner, &target) : 0;
        if (!error && target.exists && !target.directory && target.kept != HISTORY_KEPT)
            return 0;
        g_clear_pointer(partner, g_free);
        if (error)
            return error;
    }
    return 0;
}

static gpointer copy_text(gconstpointer text, gpointer unused)
{
    (void)unused;
    return g_strdup(text);
}

/* Takes out of the paths what would be brought back by half. */
static int leave_halves(struct history_reader *reader, const struct revert *revert,
                        GPtrArray *paths, char **problem)
{
    g_autoptr(GPtrArray) all = g_ptr_array_copy(paths, copy_text, NULL);
    int error = 0;

    g_ptr_array_set_free_func(all, g_free);
    for (guint i = all->len; i > 0 && !error; i--) {
        g_autofree char *partner = NULL;
        error = find_lost_partner(reader, revert, all, all->pdata[i - 1], &partner);
        if (!partner)
            continue;
        g_autofree char *text = g_strdup_printf(
            "stays, for it belongs together with %s, whose content before is not in the history",
            partner);
        note_problem(problem, all->pdata[i - 1], text);
        g_ptr_array_remove_index(paths, i - 1);
    }
    return error;
}

/* First what was not there is removed, so that a guest's id is free for the path that it had. */
static int remove_new(struct history_reader *reader, struct reverter *reverter,
                      struct revert *revert, const char *path)
{
    struct history_version target;
    GBytes *content = NULL;
    bool directory = false;
    int error = find_target(reader, revert, path, &target);

    if (error)
        return error;
    int found = reverter->look(reverter, path, &directory, &content);
    if (content)
        g_bytes_unref(content);
    if (found || (target.exists && target.directory == directory))
        return found == -ENOENT ? 0 : found;
    error = reverter->remove(reverter, path);
    if (!error && !target.exists)
        note_done(revert, path);
    /* Others have put something into it. */
    return error == -ENOENT || error == -ENOTEMPTY ? 0 : error;
}

static int write_back(struct history_reader *reader, struct reverter *reverter, const char *path,
                      const struct history_version *target)
{
    GBytes *wanted = NULL;
    GBytes *content = NULL;
    bool directory;
    int error = history_content(reader, target->content, &wanted);

    if (error)
        return error;
    int found = reverter->look(reverter, path, &directory, &content);
    if (found && found != -ENOENT)
        error = found;
    else if (found || !content || !g_bytes_equal(content, wanted))
        error = reverter->write(reverter, path, wanted, found == 0);
    if (content)
        g_bytes_unref(content);
    g_bytes_unref(wanted);
    return error;
}

static int put_back(struct history_reader *reader, struct reverter *reverter, struct revert *revert,
                    const char *path, char **problem)
{
    struct history_version target;
    int error = find_target(reader, revert, path, &target);

    if (error || !target.exists)
        return error;
    if (!target.directory && target.kept != HISTORY_KEPT) {
        note_problem(problem, path, "its content before is not in the history");
        return 0;
    }
    if (target.directory)
        error = reverter->make_directory(reverter, path);
    else
        error = write_back(reader, reverter, path, &target);
    if (target.directory && error == -EEXIST)
        error = 0;
    if (!error)
        note_done(revert, path);
    return error;
}

/* Both steps, each for all paths. 0, -EEXIST or another negative errno, as revert_changes(). */
static int bring_back(struct history_reader *reader, struct reverter *reverter,
                      struct revert *revert, GPtrArray *paths, char **problem)
{
    int blocked = 0;

    for (guint i = 0; i < 2 * paths->len; i++) {
        bool first = i < paths->len;
        const char *path = paths->pdata[first ? paths->len - 1 - i : i - paths->len];
        if (g_hash_table_contains(revert->done, path))
            continue;
        int error = first ? remove_new(reader, reverter, revert, path)
                          : put_back(reader, reverter, revert, path, problem);
        if (error)
            note_problem(problem, path, g_strerror(-error));
        if (error && !is_in_the_way(error))
            return error;
        if (error)
            blocked = -EEXIST;
    }
    return blocked;
}

int revert_changes(const char *history, struct reverter *reverter, struct revert *revert,
                   char **problem)
{
    struct history_reader *reader;
    GPtrArray *paths = NULL;
    int error = history_open_live(history, &reader, problem);

    if (error)
        return error;
    error = require_reach(reader, revert, problem);
    if (!error)
        error = find_paths(reader, &revert->window, &paths);
    if (!error)
        error = leave_halves(reader, revert, paths, problem);
    if (!error)
        error = bring_back(reader, reverter, revert, paths, problem);
    if (paths)
        g_ptr_array_unref(paths);
    history_close(reader);
    return error;
}
