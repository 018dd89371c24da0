/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A trial, and the file in which trials survive a restart. */
#include "history/trial_file.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

void trial_free(struct trial *trial)
{
    g_free(trial->command);
    g_free(trial->problem);
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

json_t *trial_file_json(const GPtrArray *trials)
{
    json_t *list = json_array();

    for (guint i = 0; i < trials->len; i++) {
        const struct trial *trial = trials->pdata[i];
        json_array_append_new(list,
                              json_pack("{s:I,s:s,s:I,s:I,s:I,s:I,s:I,s:b,s:b,s:s,s:s?}", "id",
                                        (json_int_t)trial->id, "command", trial->command, "group",
                                        (json_int_t)trial->group, "begun", (json_int_t)trial->begun,
                                        "deadline", (json_int_t)trial->deadline, "from",
                                        (json_int_t)trial->from, "until", (json_int_t)trial->until,
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

/* NULL: it cannot be a trial. */
static struct trial *read_trial(json_t *object)
{
    json_int_t id, group, begun, deadline, from, until;
    const char *command;
    int ended;

    if (json_unpack(object, "{s:I,s:s,s:I,s:I,s:I,s:I,s:I,s:b}", "id", &id, "command", &command,
                    "group", &group, "begun", &begun, "deadline", &deadline, "from", &from, "until",
                    &until, "ended", &ended) != 0 ||
        id < 1 || id >= UINT32_MAX || group < 0 || group > INT32_MAX || from < 0)
        return NULL;
    struct trial *trial = g_new(struct trial, 1);
    *trial = (struct trial){
        .id = (uint32_t)id,
        .command = g_strdup(command),
        .group = (pid_t)group,
        .begun = begun,
        .deadline = deadline,
        .from = from,
        .until = until,
        .in_force = true,
        .stored = true,
        .ended = ended,
    };
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
