/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Trials: changes that are brought back to what was there before unless they are confirmed in time.
 */
#include "history/trials.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/thread.h"
#include "history/revert.h"
#include "history/trial_file.h"

#define RETRY_SECONDS 5
#define SHOWN_MICROSECONDS 10000 /* the kernel mostly needs less to know what was brought back */

struct trials {
    struct recorder *recorder;
    struct reverter *reverter;
    char *history; /* path of history.db */
    char *file;
    pthread_t thread;

    struct lock lock; /* never held over I/O; guards what follows */
    pthread_cond_t wake;
    bool stop;
    bool changed;    /* the thread has something to look at */
    uint32_t next;   /* id */
    GPtrArray *list; /* struct trial; taken out by the thread alone */
};

/* --- The thread --- */

/* 0 or a negative errno. */
static int save(struct trials *trials)
{
    lock_take(&trials->lock);
    recorder_set_prompt(trials->recorder, trials->list->len > 0);
    json_t *list = trial_file_json(trials->list, true);
    lock_give(&trials->lock);
    int error = trial_file_write(trials->file, list);
    if (error)
        log_error("cannot write %s: %s: trials do not survive a restart", trials->file,
                  g_strerror(-error));
    return error;
}

#define NOT_WRITTEN "the history cannot be written at the moment (the log says why)"

/* The last change of all, and its version; 0: there is none. Else *problem (g_free() it): a history
 * that lacks what was changed just now must not be taken for one that knows it. */
static int find_last(struct trials *trials, int64_t *last, uint64_t *version, char **problem)
{
    if (!recorder_write(trials->recorder)) {
        *problem = g_strdup(NOT_WRITTEN);
        return -EAGAIN;
    }
    int error = revert_find_last(trials->history, last, version);
    if (error)
        *problem = g_strdup_printf("the history cannot be read: %s", g_strerror(-error));
    return error;
}

/* Takes the text over; NULL: there is none. Paths need not be UTF-8, the list must. With the lock.
 */
static void set_problem(struct trial *trial, char *problem)
{
    g_free(trial->problem);
    trial->problem = problem ? g_utf8_make_valid(problem, -1) : NULL;
    g_free(problem);
}

/* Such a trial cannot be: takes `problem` over. */
static void refuse(struct trials *trials, struct trial *trial, char *problem)
{
    LOCKED(&trials->lock);
    trial->in_force = false;
    trial->state = TRIAL_FAILED;
    set_problem(trial, problem);
}

/* From here on what is changed belongs to the trial. One that a restart would forget is none. */
static void put_in_force(struct trials *trials, struct trial *trial)
{
    int64_t from;
    uint64_t version;
    char *problem = NULL;
    int error = find_last(trials, &from, &version, &problem);

    if (error) {
        refuse(trials, trial, problem);
        return;
    }
    lock_take(&trials->lock);
    trial->window.from = from;
    trial->version = version;
    trial->in_force = true;
    lock_give(&trials->lock);
    error = save(trials);
    if (error) {
        refuse(trials, trial,
               g_strdup_printf("a restart would forget it, %s cannot be written: %s", trials->file,
                               g_strerror(-error)));
        return;
    }
    lock_take(&trials->lock);
    trial->stored = true;
    lock_give(&trials->lock);
}

/* The command has ended. Until that could be noted all that its processes change counts. 0, or a
 * negative errno with *problem (g_free() it). */
static int close_window(struct trials *trials, struct trial *trial, char **problem)
{
    int64_t until;
    uint64_t version;
    int error = find_last(trials, &until, &version, problem);

    if (error)
        return error;
    lock_take(&trials->lock);
    trial->window.until = MAX(until, 1); /* 0 says that it has not ended */
    lock_give(&trials->lock);
    save(trials);
    return 0;
}

/* Whoever waits for its end finds it in the list as long as a restart would find it in the file.
 * False: so it is. */
static bool forget(struct trials *trials, struct trial *trial)
{
    lock_take(&trials->lock);
    trial->in_force = false;
    lock_give(&trials->lock);
    if (save(trials) && trial->stored)
        return false;
    lock_take(&trials->lock);
    g_ptr_array_remove(trials->list, trial);
    recorder_set_prompt(trials->recorder, trials->list->len > 0);
    lock_give(&trials->lock);
    return true;
}

static bool must_stop(struct trials *trials)
{
    lock_take(&trials->lock);
    bool stop = trials->stop;
    lock_give(&trials->lock);
    return stop;
}

/* What was there when a later trial began may have been this one's: that is over now. */
static void tell_later(struct trials *trials, const struct trial *undone)
{
    LOCKED(&trials->lock);
    for (guint i = 0; i < trials->list->len; i++) {
        struct trial *trial = trials->list->pdata[i];
        if (!trial->in_force || trial->window.from <= undone->window.from)
            continue;
        g_array_append_val(trial->undone, undone->window);
        g_array_append_vals(trial->undone, undone->undone->data, undone->undone->len);
    }
}

/* Not now, or (-ESTALE) never. */
static void note_problem(struct trials *trials, struct trial *trial, int error, const char *problem)
{
    LOCKED(&trials->lock);
    trial->lost = error == -ESTALE;
    trial->tried = false;
    if (!trial->told)
        log_warning("try %u (%s) was not confirmed, but cannot be brought back%s: %s", trial->id,
                    trial->command, trial->lost ? "" : " yet", problem);
    trial->told = true;
    set_problem(trial, g_strdup(problem));
    if (trial->lost)
        trial->state = TRIAL_FAILED;
    trial_set_due(trial, RETRY_SECONDS);
}

/* As revert_changes(), when the history has all that belongs to the trial. */
static int revert_trial(struct trials *trials, struct trial *trial, char **problem)
{
    struct revert revert = {
        .version = trial->version, .undone = trial->undone, .done = trial->done};
    int error = 0;

    if (trial->ended && trial->window.until == 0)
        error = close_window(trials, trial, problem);
    if (!error && !recorder_write(trials->recorder)) {
        *problem = g_strdup(NOT_WRITTEN);
        error = -EAGAIN;
    }
    revert.window = trial->window;
    return error ? error : revert_changes(trials->history, trials->reverter, &revert, problem);
}

static void note_end(struct trials *trials, struct trial *trial, const char *problem)
{
    log_warning("try %u (%s) was not confirmed: %u paths are as they were before%s%s", trial->id,
                trial->command, g_hash_table_size(trial->done), problem ? "; " : "",
                problem ? problem : "");
    lock_take(&trials->lock);
    trial->in_force = false;
    lock_give(&trials->lock);
    save(trials);
}

/* What cannot be brought back now, without quorum for instance, is tried again. What has been is in
 * the list, but for no restart, until programs see it: whoever waits for that looks at it next. */
static void bring_back(struct trials *trials, struct trial *trial)
{
    g_autofree char *problem = NULL;
    int error = revert_trial(trials, trial, &problem);

    if (!error || error == -EEXIST) {
        tell_later(trials, trial);
        note_end(trials, trial, problem);
        trial->blocked = error ? g_steal_pointer(&problem) : NULL;
    } else if (!must_stop(trials)) {
        note_problem(trials, trial, error, problem ? problem : g_strerror(-error));
    }
}

/* True: it could be. */
static bool try_to_close(struct trials *trials, struct trial *trial)
{
    char *problem = NULL;
    int error = close_window(trials, trial, &problem);

    lock_take(&trials->lock);
    set_problem(trial, problem);
    lock_give(&trials->lock);
    return !error;
}

/* It has been brought back. With the lock. */
static bool is_reverted(const struct trial *trial)
{
    return !trial->in_force && trial->state == TRIAL_REVERTING;
}

/* It has, and programs see that: what could not be becomes its problem. True: all could. With the
 * lock. */
static bool settle(struct trial *trial)
{
    if (!trial->blocked)
        return true;
    trial->state = TRIAL_FAILED;
    set_problem(trial, g_steal_pointer(&trial->blocked));
    return false;
}

/* One step of a trial, if there is one to be made now. Without the lock. */
static bool advance(struct trials *trials, struct trial *trial)
{
    bool shown = trials->reverter->shown(trials->reverter);

    lock_take(&trials->lock);
    bool settled = is_reverted(trial) && shown && settle(trial);
    bool refused = !trial->stored && trial->state == TRIAL_FAILED;
    bool fresh = !trial->in_force && trial->state == TRIAL_WAITING && !trial->confirmed;
    bool ended = trial->ended && trial->window.until == 0 && trial->in_force;
    bool over = clock_milliseconds() >= trial->due;
    /* One that was refused goes when whoever wanted it has seen that, or is gone himself. */
    bool gone = trial->confirmed || (refused && (trial->ended || over)) || settled;
    bool due = over && trial->in_force && !trial->lost;
    bool set = trial_follow_clock(trial);
    trial->tried = due && !gone;
    if (trial->tried)
        trial->state = TRIAL_REVERTING;
    lock_give(&trials->lock);
    if (set)
        save(trials);
    if (fresh)
        put_in_force(trials, trial);
    else if (gone)
        return forget(trials, trial);
    else if (due)
        bring_back(trials, trial);
    else if (ended)
        return try_to_close(trials, trial);
    return fresh || due;
}

/* The trial at that index of the list; NULL: there is none. Only the thread takes any out. */
static struct trial *trial_at(struct trials *trials, guint index)
{
    lock_take(&trials->lock);
    struct trial *trial = index < trials->list->len ? trials->list->pdata[index] : NULL;
    lock_give(&trials->lock);
    return trial;
}

/* Each as far as it gets now: what cannot be brought back yet is put off by that. */
static void look_at_all(struct trials *trials)
{
    struct trial *trial;

    for (guint i = 0; (trial = trial_at(trials, i)) && !must_stop(trials);) {
        if (!advance(trials, trial))
            i++;
    }
}

/* Looks every second, while there are trials: also whether the wall clock, by which deadlines are
 * told and stored, was set. Holds the lock. */
static void wait_for_work(struct trials *trials)
{
    int64_t pause = G_USEC_PER_SEC;

    for (guint i = 0; i < trials->list->len; i++) {
        if (is_reverted(trials->list->pdata[i]))
            pause = SHOWN_MICROSECONDS;
    }
    while (!trials->stop && !trials->changed) {
        if (trials->list->len == 0) {
            lock_wait(&trials->lock, &trials->wake);
            continue;
        }
        lock_wait_until(&trials->lock, &trials->wake, g_get_monotonic_time() + pause);
        break;
    }
    trials->changed = false;
}

static void *trials_main(void *pointer)
{
    struct trials *trials = pointer;

    lock_take(&trials->lock);
    while (!trials->stop) {
        lock_give(&trials->lock);
        look_at_all(trials);
        lock_take(&trials->lock);
        wait_for_work(trials);
    }
    lock_give(&trials->lock);
    return NULL;
}

/* --- Start, stop --- */

void trials_free(struct trials *trials)
{
    if (!trials)
        return;
    g_ptr_array_unref(trials->list);
    pthread_cond_destroy(&trials->wake);
    lock_destroy(&trials->lock);
    g_free(trials->history);
    g_free(trials->file);
    g_free(trials);
}

struct trials *trials_start(const char *directory, struct recorder *recorder,
                            struct reverter *reverter)
{
    struct trials *trials = g_new0(struct trials, 1);

    trials->recorder = recorder;
    trials->reverter = reverter;
    trials->history = g_build_filename(directory, HISTORY_FILE, NULL);
    trials->file = g_build_filename(directory, "trials.json", NULL);
    trials->list = trial_file_read(trials->file);
    trials->next = 1;
    for (guint i = 0; i < trials->list->len; i++)
        trials->next = MAX(trials->next, ((struct trial *)trials->list->pdata[i])->id + 1);
    recorder_set_prompt(recorder, trials->list->len > 0);
    lock_init(&trials->lock, LOCK_RANK_TRIALS);
    thread_condition_init(&trials->wake);
    int error = thread_start(&trials->thread, trials_main, trials);
    if (!error)
        return trials;
    trials_free(trials);
    errno = -error;
    return NULL;
}

void trials_begin_stop(struct trials *trials)
{
    if (!trials)
        return;
    lock_take(&trials->lock);
    trials->stop = true;
    pthread_cond_signal(&trials->wake);
    lock_give(&trials->lock);
}

void trials_stop(struct trials *trials)
{
    if (!trials)
        return;
    trials_begin_stop(trials);
    pthread_join(trials->thread, NULL);
}

/* --- Requests --- */

int trials_begin(struct trials *trials, uint32_t seconds, pid_t group, const char *command,
                 uint32_t *id)
{
    if (strlen(command) > TRIAL_COMMAND_MAX)
        return -ENOSPC;
    struct trial *trial = trial_new(command, &(struct revert_window){.group = group});
    trial->begun = (int64_t)clock_seconds();
    trial_set_due(trial, seconds);
    lock_take(&trials->lock);
    bool room = trials->list->len < TRIALS_MAX;
    if (room) {
        *id = trial->id = trials->next++;
        g_ptr_array_add(trials->list, trial);
        trials->changed = true;
        pthread_cond_signal(&trials->wake);
    }
    lock_give(&trials->lock);
    if (room)
        return 0;
    trial_free(trial);
    return -ENOSPC;
}

int trials_end(struct trials *trials, uint32_t id, enum trial_end end)
{
    int error = -ENOENT;

    lock_take(&trials->lock);
    for (guint i = 0; i < trials->list->len; i++) {
        struct trial *trial = trials->list->pdata[i];
        if (trial->id != id || trial->confirmed)
            continue;
        /* What is being brought back, or is, can no longer be confirmed; between attempts it can.
         */
        bool late = trial->tried || is_reverted(trial);
        error = end == TRIAL_CONFIRM && late ? -EBUSY : 0;
        trial->ended = true;
        trial->confirmed = end == TRIAL_CONFIRM && !error;
        bool again = end == TRIAL_ABORT && trial->in_force;
        if (trial->confirmed || again)
            set_problem(trial, NULL);
        if (again) {
            trial->lost = false;
            trial_set_due(trial, 0);
        }
        trials->changed = true;
        pthread_cond_signal(&trials->wake);
    }
    lock_give(&trials->lock);
    return error;
}

json_t *trials_list(struct trials *trials)
{
    lock_take(&trials->lock);
    json_t *list = trial_file_json(trials->list, false);
    lock_give(&trials->lock);
    return list;
}
