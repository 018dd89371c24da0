/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What has to be changed so that paths of the tree become what they were. */
#include "ctl/undo.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cluster/conf.h"
#include "core/path.h"
#include "ctl/ask.h"
#include "ctl/guests.h"
#include "ctl/history_common.h"
#include "ctl/history_moment.h"
#include "store/text.h"

/* ---- Opening ---- */

static void step_free(gpointer data)
{
    struct undo_step *step = data;

    g_free(step->path);
    g_free(step->from);
    g_free(step->problem);
    if (step->now)
        g_bytes_unref(step->now);
    if (step->wanted)
        g_bytes_unref(step->wanted);
    g_free(step);
}

int undo_open(struct undo *undo, const struct context *context, bool dry_run)
{
    int code = EXIT_FAILED;

    *undo = (struct undo){.context = context, .dry_run = dry_run};
    json_t *overview = ask(context, ASK_OVERVIEW, NULL, 0, &code);
    if (!overview)
        return code;
    undo->mountpoint = g_strdup(field_text(overview, "mountpoint"));
    bool possible = dry_run || ask_is_quorate(overview);
    json_decref(overview);
    code = EXIT_FAILED;
    if (possible)
        undo->reader = history_common_open(context, NULL, &code);
    if (!undo->reader) {
        g_free(undo->mountpoint);
        return code;
    }
    undo->steps = g_ptr_array_new_with_free_func(step_free);
    return EXIT_DONE;
}

void undo_close(struct undo *undo)
{
    g_ptr_array_unref(undo->steps);
    history_close(undo->reader);
    g_free(undo->mountpoint);
}

/* ---- One path ---- */

int undo_look(const struct undo *undo, const char *path, struct undo_present *present)
{
    g_autofree char *file = g_build_filename(undo->mountpoint, path, NULL);
    struct stat info;

    *present = (struct undo_present){0};
    if (lstat(file, &info) < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    present->exists = true;
    present->directory = S_ISDIR(info.st_mode);
    present->mtime = (uint32_t)info.st_mtime;
    return 0;
}

static int complain(const char *path, const char *reason)
{
    g_autofree char *shown = store_text_shown(path, strlen(path));

    fprintf(stderr, "error: %s: %s\n", shown, reason);
    return EXIT_FAILED;
}

/* NULL: stderr says why. */
static GBytes *read_present(const struct undo *undo, const char *path)
{
    g_autofree char *file = g_build_filename(undo->mountpoint, path, NULL);
    g_autoptr(GError) problem = NULL;
    char *content;
    gsize size;

    if (g_file_get_contents(file, &content, &size, &problem))
        return g_bytes_new_take(content, size);
    complain(path, problem->message);
    return NULL;
}

static struct undo_step *add_step(struct undo *undo, const char *path, enum undo_action action)
{
    struct undo_step *step = g_new0(struct undo_step, 1);

    step->path = g_strdup(path);
    step->action = action;
    g_ptr_array_add(undo->steps, step);
    return step;
}

/* `now` NULL: no file is there; it is taken over. */
static int add_file(struct undo *undo, const char *path, const struct history_version *target,
                    uint64_t version, GBytes *now)
{
    const char *missing = history_moment_missing(target);
    GBytes *wanted = NULL;
    int error = missing ? 0 : history_content(undo->reader, target->content, &wanted);

    if (error) {
        if (now)
            g_bytes_unref(now);
        g_autofree char *what = g_strconcat("the content of ", path, NULL);
        return history_common_damaged(undo->reader, what, error);
    }
    if (now && wanted && g_bytes_equal(now, wanted)) {
        g_bytes_unref(now);
        g_bytes_unref(wanted);
        return EXIT_DONE;
    }
    struct undo_step *step = add_step(undo, path, now ? UNDO_WRITE : UNDO_CREATE);
    step->now = now;
    step->wanted = wanted;
    step->mtime = target->mtime;
    step->version = version;
    if (missing) {
        step->result = UNDO_FAILED;
        step->problem = g_strdup_printf("its content was not kept: %s", missing);
    }
    return EXIT_DONE;
}

/* Whoever is rid of a file must be able to have it back. */
static int add_removal(struct undo *undo, const char *path, GBytes *now)
{
    struct history_change *last;
    int error = history_at(undo->reader, path, HISTORY_NOW, &last);
    struct undo_step *step = add_step(undo, path, UNDO_REMOVE);

    step->now = now;
    if (!error && last->after.exists && history_moment_missing(&last->after)) {
        step->result = UNDO_FAILED;
        step->problem = g_strdup_printf(
            "it was not there, but is not removed: it could not be brought back, for %s",
            history_moment_missing(&last->after));
    }
    history_change_free(last);
    return error && error != -ENOENT ? history_common_damaged(undo->reader, path, error)
                                     : EXIT_DONE;
}

static int add_steps(struct undo *undo, const char *path, const struct undo_present *present,
                     const struct history_version *target, uint64_t version)
{
    bool stays = present->exists && target->exists && present->directory == target->directory;
    GBytes *now = NULL;

    if (present->exists && !present->directory && !(now = read_present(undo, path)))
        return EXIT_FAILED;
    if (stays && !present->directory)
        return add_file(undo, path, target, version, now);
    if (present->exists && !stays) {
        int code = add_removal(undo, path, now);
        if (code != EXIT_DONE)
            return code;
    }
    if (target->exists && !stays && target->directory)
        add_step(undo, path, UNDO_MKDIR);
    else if (target->exists && !stays)
        return add_file(undo, path, target, version, NULL);
    return EXIT_DONE;
}

int undo_add(struct undo *undo, const char *path, const struct history_version *target,
             uint64_t version)
{
    struct undo_present present;
    guint before = undo->steps->len;
    int error = undo_look(undo, path, &present);

    if (error)
        return complain(path, g_strerror(-error));
    int code = add_steps(undo, path, &present, target, version);
    for (guint i = before; i < undo->steps->len; i++)
        ((struct undo_step *)undo->steps->pdata[i])->now_mtime = present.mtime;
    return code;
}

/* ---- A part of the tree ---- */

static bool is_left_out(const struct history_filter *filter, const char *path)
{
    return strcmp(path, CONF_PATH) == 0 && g_strcmp0(filter->path, CONF_PATH) != 0;
}

/* Unless it is as it was. */
static int add_as_it_was(struct undo *undo, const struct history_filter *filter, const char *path,
                         const struct history_version *target, uint64_t version)
{
    guint before = undo->steps->len;
    int code = undo_add(undo, path, target, version);

    if (undo->steps->len > before && is_left_out(filter, path)) {
        g_ptr_array_set_size(undo->steps, (gint)before);
        fprintf(stderr, "%s is left out: name it with --path if it is wanted\n", path);
    }
    return code;
}

/* What is there now, by what is recorded. */
static int add_new(struct undo *undo, const struct history_filter *filter, const char *path,
                   bool complete)
{
    static const struct history_version nothing;
    guint before = undo->steps->len;
    int code = add_as_it_was(undo, filter, path, &nothing, 0);

    for (guint i = before; i < undo->steps->len && !complete; i++) {
        struct undo_step *step = undo->steps->pdata[i];
        step->result = UNDO_LEFT;
        g_free(step->problem);
        step->problem = g_strdup("is not recorded that far back");
    }
    return code;
}

static int add_differences(struct undo *undo, const struct history_filter *filter,
                           const GPtrArray *then, const GPtrArray *now, bool complete)
{
    g_autoptr(GHashTable) ids = g_hash_table_new(g_str_hash, g_str_equal);
    int code = EXIT_DONE;

    for (guint i = 0; i < now->len; i++) {
        struct history_change *change = now->pdata[i];
        g_hash_table_insert(ids, change->path, change);
    }
    for (guint i = 0; i < then->len && code == EXIT_DONE; i++) {
        const struct history_change *was = then->pdata[i];
        const struct history_change *is = g_hash_table_lookup(ids, was->path);
        g_hash_table_remove(ids, was->path);
        if (!is || is->id != was->id)
            code = add_as_it_was(undo, filter, was->path, &was->after, was->version);
    }
    for (guint i = 0; i < now->len && code == EXIT_DONE; i++) {
        const struct history_change *is = now->pdata[i];
        if (g_hash_table_contains(ids, is->path))
            code = add_new(undo, filter, is->path, complete);
    }
    return code;
}

int undo_add_tree(struct undo *undo, const struct history_filter *filter, int64_t position,
                  bool complete)
{
    GPtrArray *then = NULL;
    GPtrArray *now = NULL;
    int error = history_tree(undo->reader, position, filter, &then);

    if (!error)
        error = history_tree(undo->reader, HISTORY_NOW, filter, &now);
    int code = error ? history_common_damaged(undo->reader, NULL, error)
                     : add_differences(undo, filter, then, now, complete);
    if (code == EXIT_DONE)
        code = undo_leave_halves(undo, filter, position);
    if (then)
        g_ptr_array_unref(then);
    if (now)
        g_ptr_array_unref(now);
    return code;
}

/* ---- All of them ---- */

/* Directories before what is in them; of one path what removes it first. */
static gint compare_steps(gconstpointer a, gconstpointer b)
{
    const struct undo_step *first = *(const struct undo_step *const *)a;
    const struct undo_step *second = *(const struct undo_step *const *)b;
    int order = strcmp(first->path, second->path);

    return order ? order : (second->action == UNDO_REMOVE) - (first->action == UNDO_REMOVE);
}

/* Where the guest is whose configuration is to be at a path; NULL: nowhere else. g_free() it. */
static char *find_guest(json_t *guests, const char *path)
{
    struct guest_path guest;

    if (!path_parse_guest(path, &guest))
        return NULL;
    g_autofree char *id = g_strdup_printf("%u", guest.id);
    json_t *found = json_object_get(json_object_get(guests, "ids"), id);
    if (!found)
        return NULL;
    const char *type = field_text(found, "type");
    g_autofree char *actual = g_strdup_printf("nodes/%s/%s/%s.conf", field_text(found, "node"),
                                              strcmp(type, "qemu") == 0 ? "qemu-server" : type, id);
    return strcmp(actual, path) == 0 ? NULL : g_steal_pointer(&actual);
}

/* The step that removes a path; NULL: there is none. */
static struct undo_step *find_removal(const struct undo *undo, const char *path)
{
    for (guint i = 0; i < undo->steps->len; i++) {
        struct undo_step *step = undo->steps->pdata[i];
        if (step->action == UNDO_REMOVE && step->result == UNDO_PLANNED &&
            strcmp(step->path, path) == 0)
            return step;
    }
    return NULL;
}

/* A guest that is elsewhere: if it would be removed there it only moves, and is never gone. */
static void settle_guest(struct undo *undo, struct undo_step *step, json_t *guests)
{
    g_autofree char *actual = find_guest(guests, step->path);
    struct undo_step *removal = actual ? find_removal(undo, actual) : NULL;
    struct guest_path guest;

    if (!actual)
        return;
    if (!removal) {
        path_parse_guest(actual, &guest);
        step->result = UNDO_FAILED;
        step->problem = g_strdup_printf("guest number %u is taken: %s (node %.*s) has it now",
                                        guest.id, actual, (int)guest.node_length, guest.node);
        return;
    }
    step->action = UNDO_MOVE;
    step->from = g_steal_pointer(&actual);
    step->now = g_bytes_ref(removal->now);
    step->now_mtime = removal->now_mtime;
    g_ptr_array_remove(undo->steps, removal);
}

int undo_arrange(struct undo *undo)
{
    int code;
    json_t *guests = guests_ask(undo->context, &code);

    if (!guests)
        return code;
    for (guint i = 0; i < undo->steps->len; i++) {
        struct undo_step *step = undo->steps->pdata[i];
        guint count = undo->steps->len;
        if (step->action == UNDO_CREATE && step->result == UNDO_PLANNED)
            settle_guest(undo, step, guests);
        if (undo->steps->len < count)
            i = G_MAXUINT; /* once more from the beginning: paths have changed */
    }
    json_decref(guests);
    g_ptr_array_sort(undo->steps, compare_steps);
    return EXIT_DONE;
}
