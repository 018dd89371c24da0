/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A trial, and the file in which trials survive a restart. */
#include "history/trial_file.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define CLOCK_SLACK                                                                                \
    2 /* seconds: both clocks are read one after the other, and one in whole seconds */

struct trial *trial_new(const char *command, const struct revert_window *window)
{
    struct trial *trial = g_new0(struct trial, 1);

    trial->command = g_utf8_make_valid(command, -1);
    trial->window = *window;
    trial->undone = g_array_new(FALSE, FALSE, sizeof(struct revert_window));
    trial->done = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    return trial;
}

void trial_set_due(struct trial *trial, int64_t seconds)
{
    trial->deadline = (int64_t)clock_seconds() + seconds;
    trial->due = clock_milliseconds() + (uint64_t)seconds * 1000u;
}

bool trial_follow_clock(struct trial *trial)
{
    uint64_t now = clock_milliseconds();
    int64_t left = trial->due > now ? (int64_t)(trial->due - now) / 1000 : 0;
    int64_t deadline = (int64_t)clock_seconds() + left;

    if (left == 0 || ABS(deadline - trial->deadline) <= CLOCK_SLACK)
        return false;
    trial->deadline = deadline;
    return true;
}

void trial_free(struct trial *trial)
{
    g_array_unref(trial->undone);
    g_hash_table_unref(trial->done);
    g_free(trial->command);
    g_free(trial->problem);
    g_free(trial->blocked);
    g_free(trial);
}

static void trial_destroy(gpointer trial)
{
    trial_free(trial);
}

static const char *state_name(enum trial_state state)
{
    static const char *const names[] = {"waiting", "reverting", "failed"};

    return names[state];
}

/* Three numbers each. */
static json_t *windows_json(const GArray *windows)
{
    json_t *list = json_array();

    for (guint i = 0; i < windows->len; i++) {
        const struct revert_window *window = &g_array_index(windows, struct revert_window, i);
        json_array_append_new(list,
                              json_pack("[I,I,I]", (json_int_t)window->from,
                                        (json_int_t)window->until, (json_int_t)window->group));
    }
    return list;
}

json_t *trial_file_json(const GPtrArray *trials, bool in_force)
{
    json_t *list = json_array();

    for (guint i = 0; i < trials->len; i++) {
        const struct trial *trial = trials->pdata[i];
        if (in_force && !trial->in_force)
            continue;
        json_array_append_new(
            list,
            json_pack("{s:I,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:b,s:b,s:s,s:s?}", "id",
                      (json_int_t)trial->id, "command", trial->command, "group",
                      (json_int_t)trial->window.group, "begun", (json_int_t)trial->begun,
                      "deadline", (json_int_t)trial->deadline, "from",
                      (json_int_t)trial->window.from, "until", (json_int_t)trial->window.until,
                      "version", (json_int_t)trial->version, "undone", windows_json(trial->undone),
                      "ended", trial->ended, "stored", trial->stored, "state",
                      state_name(trial->state), "problem", trial->problem));
    }
    return list;
}

int trial_file_write(const char *path, json_t *list)
{
    g_autoptr(GError) error = NULL;

    if (json_array_size(list) == 0) {
        json_decref(list);
        return unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
    }
    char *text = json_dumps(list, JSON_INDENT(1));
    json_decref(list);
    bool good = text && g_file_set_contents_full(path, text, (gssize)strlen(text),
                                                 G_FILE_SET_CONTENTS_CONSISTENT |
                                                     G_FILE_SET_CONTENTS_DURABLE,
                                                 0600, &error);
    free(text);
    return good ? 0 : -EIO;
}

static void read_windows(json_t *list, GArray *windows)
{
    json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        json_int_t from, until, group;
        if (json_unpack(one, "[I,I,I]", &from, &until, &group) != 0 || from < 0 || group < 0 ||
            group > INT32_MAX)
            continue;
        const struct revert_window window = {from, until, (pid_t)group};
        g_array_append_val(windows, window);
    }
}

/* NULL: it cannot be a trial. The clock may have been set while nobody looked: it gets no more time
 * than it had. */
static struct trial *read_trial(json_t *object)
{
    json_int_t id, group, begun, deadline, from, until, version = 0;
    json_t *undone = NULL;
    const char *command;
    int ended;

    if (json_unpack(object, "{s:I,s:s,s:I,s:I,s:I,s:I,s:I,s:b,s?I,s?o}", "id", &id, "command",
                    &command, "group", &group, "begun", &begun, "deadline", &deadline, "from",
                    &from, "until", &until, "ended", &ended, "version", &version, "undone",
                    &undone) != 0 ||
        id < 1 || id >= UINT32_MAX || group < 0 || group > INT32_MAX || from < 0)
        return NULL;
    const struct revert_window window = {from, until, (pid_t)group};
    struct trial *trial = trial_new(command, &window);
    trial->id = (uint32_t)id;
    trial->begun = begun;
    trial->version = version > 0 ? (uint64_t)version : 0;
    trial->in_force = trial->stored = true;
    trial->ended = ended;
    read_windows(undone, trial->undone);
    trial_set_due(trial, CLAMP(deadline - (int64_t)clock_seconds(), 0, MAX(deadline - begun, 0)));
    return trial;
}

GPtrArray *trial_file_read(const char *path)
{
    GPtrArray *trials = g_ptr_array_new_with_free_func(trial_destroy);
    json_error_t error;
    json_t *list;
    json_t *object;
    size_t i;

    if (access(path, F_OK) != 0)
        return trials;
    list = json_load_file(path, 0, &error);
    if (!list)
        log_error("no trial is known any more, %s is damaged: %s", path, error.text);
    json_array_foreach(list, i, object)
    {
        struct trial *trial = read_trial(object);
        if (trial)
            g_ptr_array_add(trials, trial);
    }
    json_decref(list);
    return trials;
}
