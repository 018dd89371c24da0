/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who asks for what, counted while somebody watches. */
#include "status/activity.h"

#include <glib.h>
#include <jansson.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/process.h"
#include "status/json_text.h"

#define WATCH_MILLISECONDS 10000u
#define ROWS_MAX 1000u /* what comes beyond them is counted together */
/* A path, and all rows with it, fit a reply of 1 MiB even if it grows threefold as JSON; control
 * characters, which would grow more, are not kept. */
#define PATH_KEPT 250u
#define COMMAND_SIZE 32u
#define HOLDERS_MAX 1000u

struct activity_row {
    const char *operation;
    pid_t caller;
    char *path;
    char command[COMMAND_SIZE];
    uint64_t count;
};

/* Who took or renewed a lock. */
struct holder {
    pid_t process;
    uint64_t ticks; /* since boot, when it did: a process that started later only has the number */
};

struct activity {
    struct clock_source *clock;
    atomic_uint_fast64_t until; /* milliseconds; 0: nobody watches */
    struct lock lock;           /* for what follows */
    GHashTable *rows;           /* set of struct activity_row, owned */
    GHashTable *holders;        /* path of a lock → struct holder, both owned */
    uint64_t more;
    uint64_t since; /* milliseconds */
};

static guint hash_row(gconstpointer key)
{
    const struct activity_row *row = key;

    return g_str_hash(row->path) * 31 + g_direct_hash(row->operation) + (guint)row->caller;
}

static gboolean same_row(gconstpointer a, gconstpointer b)
{
    const struct activity_row *first = a, *second = b;

    return first->caller == second->caller && first->operation == second->operation &&
           strcmp(first->path, second->path) == 0;
}

static void free_row(gpointer data)
{
    struct activity_row *row = data;

    g_free(row->path);
    g_free(row);
}

struct activity *activity_new(struct clock_source *clock)
{
    struct activity *activity = g_new0(struct activity, 1);

    activity->clock = clock;
    activity->rows = g_hash_table_new_full(hash_row, same_row, free_row, NULL);
    activity->holders = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    lock_init(&activity->lock, LOCK_RANK_ACTIVITY);
    return activity;
}

void activity_free(struct activity *activity)
{
    if (!activity)
        return;
    g_hash_table_unref(activity->rows);
    g_hash_table_unref(activity->holders);
    lock_destroy(&activity->lock);
    g_free(activity);
}

/* With the lock held. */
static void forget(struct activity *activity)
{
    g_hash_table_remove_all(activity->rows);
    activity->more = 0;
}

bool activity_is_watched(struct activity *activity)
{
    uint64_t until = atomic_load_explicit(&activity->until, memory_order_relaxed);

    if (until == 0)
        return false;
    if (activity->clock->milliseconds(activity->clock) < until)
        return true;
    LOCKED(&activity->lock);
    if (atomic_compare_exchange_strong(&activity->until, &until, 0))
        forget(activity);
    return false;
}

static void replace_controls(char *text)
{
    for (; *text; text++) {
        if (g_ascii_iscntrl(*text))
            *text = '?';
    }
}

/* The name of the caller's program, while it is there to be asked; in COMMAND_SIZE bytes. */
static void find_command(pid_t caller, char *command)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/comm", (int)caller);
    FILE *file = fopen(path, "re");

    if (!file)
        return;
    if (fgets(command, COMMAND_SIZE, file))
        command[strcspn(command, "\n")] = '\0';
    replace_controls(command);
    fclose(file);
}

void activity_note(struct activity *activity, const char *operation, const char *path, pid_t caller)
{
    struct activity_row *row = g_new0(struct activity_row, 1);

    *row = (struct activity_row){
        .operation = operation, .caller = caller, .path = g_strndup(path, PATH_KEPT), .count = 1};
    replace_controls(row->path);
    lock_take(&activity->lock);
    struct activity_row *known = g_hash_table_lookup(activity->rows, row);
    if (known) {
        known->count++;
    } else if (g_hash_table_size(activity->rows) < ROWS_MAX) {
        find_command(row->caller, row->command);
        g_hash_table_add(activity->rows, g_steal_pointer(&row));
    } else {
        activity->more++;
    }
    lock_give(&activity->lock);
    if (row)
        free_row(row);
}

static json_t *row_object(const struct activity_row *row)
{
    json_t *object = json_object();

    json_text_set_string(object, "operation", row->operation);
    json_text_set_string(object, "path", row->path);
    json_text_set_number(object, "pid", row->caller);
    json_text_set_string(object, "command", row->command);
    json_text_set_number(object, "count", row->count);
    return object;
}

struct buffer *activity_take(struct activity *activity)
{
    uint64_t now = activity->clock->milliseconds(activity->clock);
    json_t *object = json_object();
    json_t *rows = json_array();
    GHashTableIter iter;
    gpointer row;

    lock_take(&activity->lock);
    bool watched = atomic_exchange(&activity->until, now + WATCH_MILLISECONDS) > now;
    if (!watched)
        forget(activity);
    g_hash_table_iter_init(&iter, activity->rows);
    while (g_hash_table_iter_next(&iter, &row, NULL))
        json_array_append_new(rows, row_object(row));
    json_text_set(object, "milliseconds",
                  json_integer(watched ? (json_int_t)(now - activity->since) : 0));
    json_text_set_number(object, "more", activity->more);
    forget(activity);
    activity->since = now;
    lock_give(&activity->lock);
    json_text_set(object, "rows", rows);
    return json_text_buffer(object, JSON_COMPACT);
}

/* --- Who has a lock --- */

static uint64_t ticks_since_boot(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    uint64_t rate = (uint64_t)sysconf(_SC_CLK_TCK);
    return (uint64_t)now.tv_sec * rate + (uint64_t)now.tv_nsec * rate / 1000000000;
}

void activity_note_lock(struct activity *activity, const char *path, pid_t process)
{
    struct holder *holder = g_new(struct holder, 1);

    *holder = (struct holder){.process = process, .ticks = ticks_since_boot()};
    LOCKED(&activity->lock);
    if (g_hash_table_size(activity->holders) >= HOLDERS_MAX)
        g_hash_table_remove_all(activity->holders); /* more than there ever are: most are gone */
    g_hash_table_replace(activity->holders, g_strdup(path), holder);
}

json_t *activity_lock_holder(struct activity *activity, const char *path)
{
    struct holder holder = {0};

    lock_take(&activity->lock);
    const struct holder *found = g_hash_table_lookup(activity->holders, path);
    if (found)
        holder = *found;
    lock_give(&activity->lock);
    if (!found)
        return json_null();
    char command[COMMAND_SIZE] = "";
    uint64_t started = process_start_ticks(holder.process);
    if (started == TICKS_UNKNOWN) /* nobody is to take its lock away for that */
        return json_null();
    bool alive = started > 0 && started <= holder.ticks;
    if (alive)
        find_command(holder.process, command);
    json_t *object = json_object();
    json_text_set_number(object, "pid", holder.process);
    json_text_set_string(object, "command", command);
    json_text_set(object, "alive", json_boolean(alive));
    return object;
}
