/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shows what would bring paths back to what they were, and does it, by ordinary changes. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/path.h"
#include "ctl/db.h"
#include "ctl/diff_text.h"
#include "ctl/replace_file.h"
#include "ctl/undo.h"
#include "store/text.h"

/* ---- Showing ---- */

static const struct {
    const char *name; /* in JSON */
    const char *planned;
    const char *done;
} words[] = {
    [UNDO_CREATE] = {"create", "would create", "created"},
    [UNDO_WRITE] = {"write", "would write", "wrote"},
    [UNDO_MKDIR] = {"mkdir", "would make directory", "made directory"},
    [UNDO_REMOVE] = {"remove", "would remove", "removed"},
    [UNDO_MOVE] = {"move", "would move", "moved"},
};

static const char *const result_words[] = {
    [UNDO_PLANNED] = "would",
    [UNDO_DONE] = "done",
    [UNDO_LEFT] = "left",
    [UNDO_FAILED] = "failed",
};

static struct diff_side side_of(const char *path, GBytes *bytes)
{
    gsize size = 0;
    const char *data = bytes ? g_bytes_get_data(bytes, &size) : NULL;

    return (struct diff_side){
        .path = path, .exists = bytes, .bytes = data ? data : "", .size = size};
}

/* As diff -u has it, from what is there to what was; NULL: there are no texts. g_free() it. */
static char *make_diff(const struct undo *undo, const struct undo_step *step)
{
    struct diff_side now = side_of(step->from ? step->from : step->path, step->now);
    struct diff_side wanted = side_of(step->path, step->wanted);

    if (step->result != UNDO_PLANNED || (!step->now && !step->wanted))
        return NULL;
    now.mtime = step->now_mtime;
    wanted.mtime = step->mtime;
    wanted.version = step->version;
    return diff_text(&now, &wanted, undo->show_secrets, !undo->context->json);
}

/* A line; errors go to stderr. */
static void print_step(const struct undo_step *step)
{
    g_autofree char *path = store_text_shown(step->path, strlen(step->path));
    g_autofree char *from = step->from ? store_text_shown(step->from, strlen(step->from)) : NULL;
    bool done = step->result == UNDO_DONE;

    if (step->result == UNDO_FAILED)
        fprintf(stderr, "error: %s: %s\n", path, step->problem);
    else if (step->result == UNDO_LEFT)
        printf("left %s: %s\n", path, step->problem);
    else
        printf("%s %s%s%s\n", done ? words[step->action].done : words[step->action].planned,
               from ? from : "", from ? " -> " : "", path);
}

static json_t *step_json(const struct undo *undo, const struct undo_step *step)
{
    json_t *object = json_pack("{s:o, s:s, s:s, s:s*}", "path", db_json_string(step->path),
                               "action", words[step->action].name, "result",
                               result_words[step->result], "reason", step->problem);
    g_autofree char *diff = make_diff(undo, step);

    if (step->from)
        json_object_set_new(object, "from", db_json_string(step->from));
    if (diff)
        json_object_set_new(object, "diff", db_json_string(diff));
    return object;
}

void undo_show(const struct undo *undo)
{
    for (guint i = 0; i < undo->steps->len; i++) {
        const struct undo_step *step = undo->steps->pdata[i];
        g_autofree char *diff = make_diff(undo, step);
        print_step(step);
        if (diff)
            diff_text_print(diff);
    }
}

/* ---- Doing; each gives 0 or an errno ---- */

static int make_parents(const struct undo *undo, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        g_autofree char *parent = g_strndup(path, (gsize)(slash - path));
        g_autofree char *directory = g_build_filename(undo->mountpoint, parent, NULL);
        if (mkdir(directory, 0755) < 0 && errno != EEXIST)
            return errno;
    }
    return 0;
}

/* One change, whatever size it has. */
static int write_file(const char *file, GBytes *content)
{
    gsize size;
    const uint8_t *data = g_bytes_get_data(content, &size);

    return replace_file(file, data, size);
}

static int move_file(const struct undo *undo, const struct undo_step *step, const char *file)
{
    g_autofree char *from = g_build_filename(undo->mountpoint, step->from, NULL);

    if (rename(from, file) < 0)
        return errno;
    return g_bytes_equal(step->now, step->wanted) ? 0 : write_file(file, step->wanted);
}

static int make_step(const struct undo *undo, const struct undo_step *step)
{
    g_autofree char *file = g_build_filename(undo->mountpoint, step->path, NULL);
    int error = step->action == UNDO_REMOVE ? 0 : make_parents(undo, step->path);

    if (error)
        return error;
    switch (step->action) {
    case UNDO_CREATE:
    case UNDO_WRITE:
        return write_file(file, step->wanted);
    case UNDO_MKDIR:
        return mkdir(file, 0755) < 0 && errno != EEXIST ? errno : 0;
    case UNDO_REMOVE:
        return remove(file) < 0 && errno != ENOENT ? errno : 0;
    case UNDO_MOVE:
        return move_file(undo, step, file);
    }
    return EINVAL;
}

static const char *reason_of(int error)
{
    switch (error) {
    case ENOTEMPTY:
        return "something else is in it";
    case EACCES:
        return "permission denied, as without quorum: 'pmxcfsctl status' says whether there is";
    default:
        return g_strerror(error);
    }
}

/* Is a path still what it was found to be (`now` NULL: a directory)? What cannot be read is for the
 * step itself to say. */
static bool is_still(const struct undo *undo, const char *path, bool exists, GBytes *now)
{
    g_autofree char *file = g_build_filename(undo->mountpoint, path, NULL);
    g_autofree char *content = NULL;
    struct undo_present present;
    gsize size;

    if (undo_look(undo, path, &present) < 0)
        return true;
    if (!present.exists || !exists || present.directory || !now)
        return present.exists == exists && (!exists || present.directory == !now);
    if (!g_file_get_contents(file, &content, &size, NULL))
        return true;
    return size == g_bytes_get_size(now) &&
           (size == 0 || memcmp(content, g_bytes_get_data(now, NULL), size) == 0);
}

/* Others go on while somebody is asked: what they made meanwhile was neither shown nor agreed to.
 * (What they make between this look and the change is like any other change at that time.) */
static bool is_as_shown(const struct undo *undo, const struct undo_step *step)
{
    switch (step->action) {
    case UNDO_CREATE:
        return is_still(undo, step->path, false, NULL);
    case UNDO_WRITE:
        return is_still(undo, step->path, true, step->now);
    case UNDO_MKDIR: /* one that is there is what is wanted */
        return is_still(undo, step->path, false, NULL) || is_still(undo, step->path, true, NULL);
    case UNDO_REMOVE: /* so is nothing */
        return is_still(undo, step->path, false, NULL) ||
               is_still(undo, step->path, true, step->now);
    case UNDO_MOVE:
        return is_still(undo, step->path, false, NULL) &&
               is_still(undo, step->from, true, step->now);
    }
    return true;
}

static void run_step(const struct undo *undo, struct undo_step *step)
{
    struct guest_path guest;

    if (!is_as_shown(undo, step)) {
        step->result = UNDO_LEFT;
        step->problem = g_strdup("was changed meanwhile");
        return;
    }
    int error = make_step(undo, step);
    step->result = !error ? UNDO_DONE : error == ENOTEMPTY ? UNDO_LEFT : UNDO_FAILED;
    if (error == EEXIST && path_parse_guest(step->path, &guest))
        step->problem = g_strdup_printf(
            "guest number %u was taken just now ('pmxcfsctl guests %u' says by whom)", guest.id,
            guest.id);
    else if (error)
        step->problem = g_strdup(reason_of(error));
}

/* First what was not there goes, from the bottom up, so that its path is free. */
static void run_steps(struct undo *undo)
{
    for (guint i = undo->steps->len; i > 0; i--) {
        struct undo_step *step = undo->steps->pdata[i - 1];
        if (step->action == UNDO_REMOVE && step->result == UNDO_PLANNED)
            run_step(undo, step);
    }
    for (guint i = 0; i < undo->steps->len; i++) {
        struct undo_step *step = undo->steps->pdata[i];
        if (step->action != UNDO_REMOVE && step->result == UNDO_PLANNED)
            run_step(undo, step);
    }
}

int undo_run(struct undo *undo)
{
    bool json = undo->context->json;
    json_t *list = json ? json_array() : NULL;
    bool failed = false;

    if (!undo->dry_run)
        run_steps(undo);
    if (!json && undo->dry_run)
        undo_show(undo);
    for (guint i = 0; i < undo->steps->len; i++) {
        const struct undo_step *step = undo->steps->pdata[i];
        failed = failed || step->result == UNDO_FAILED;
        if (json)
            json_array_append_new(list, step_json(undo, step));
        if (json ? step->result == UNDO_FAILED : !undo->dry_run)
            print_step(step);
    }
    if (json)
        db_print_json(list);
    else if (undo->steps->len == 0)
        puts("nothing has to be changed: all is as it was");
    return failed ? EXIT_FAILED : EXIT_DONE;
}
