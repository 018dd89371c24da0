/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl confirm, try --list, try --abort: trials that the daemon has. */
#include "ctl/trial.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/ask.h"
#include "ctl/db.h"

#define PAUSE_MICROSECONDS 20000u
#define PAUSES_MAX 1500 /* 30 s */

/* ---- Requests ---- */

/* All trials; NULL with *code set, and stderr says why. */
static json_t *list_trials(const struct context *context, int *code)
{
    return ask(context, ASK_TRIALS, NULL, 0, code);
}

json_t *trial_find(const struct context *context, uint32_t id, int *code)
{
    json_t *list = list_trials(context, code);
    json_t *found = NULL;
    json_t *trial;
    size_t i;

    json_array_foreach(list, i, trial)
    {
        if (field_number(trial, "id") == (json_int_t)id)
            found = json_incref(trial);
    }
    json_decref(list);
    return found;
}

int trial_end(const struct context *context, uint32_t id, enum trial_end end)
{
    const uint8_t request[5] = {(uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16),
                                (uint8_t)(id >> 24), (uint8_t)end};
    int error;
    int code = ask_quietly(context, ASK_TRIAL_END, request, sizeof(request), NULL, &error);

    if (code == EXIT_DONE)
        return code;
    if (error == ENOENT)
        fprintf(stderr, "error: there is no trial %" PRIu32 " (any more)\n", id);
    else if (error == EBUSY)
        fprintf(stderr, "error: trial %" PRIu32 " is being brought back already\n", id);
    else
        ask_complain(context, code, error);
    return code;
}

char *trial_time_left(json_int_t deadline)
{
    json_int_t seconds = MAX(deadline - (json_int_t)time(NULL), 0);

    int minutes = (int)(seconds / 60);

    if (minutes >= 60)
        return g_strdup_printf("%d h %d min", minutes / 60, minutes % 60);
    return minutes > 0 ? g_strdup_printf("%d min %d s", minutes, (int)(seconds % 60))
                       : g_strdup_printf("%d s", (int)seconds);
}

/* Why it is not over, and what becomes of it. */
static void complain_of_problem(uint32_t id, json_t *trial)
{
    g_autofree char *problem = field_printable(trial, "problem");

    if (strcmp(field_text(trial, "state"), "failed") == 0)
        fprintf(stderr,
                "error: trial %" PRIu32 ": %s; that is left as it is, 'pmxcfsctl confirm %" PRIu32
                "' takes the trial off the list\n",
                id, problem, id);
    else
        fprintf(stderr,
                "error: trial %" PRIu32 ": %s; the daemon goes on trying, unless 'pmxcfsctl "
                "confirm %" PRIu32 "' is said\n",
                id, problem, id);
}

/* Until the daemon has it no more, or says why it cannot bring it back (yet). */
static int wait_until_gone(const struct context *context, uint32_t id)
{
    int code = EXIT_DONE;

    for (int i = 0; i < PAUSES_MAX; i++) {
        json_t *trial = trial_find(context, id, &code);
        if (!trial)
            return code;
        bool failed = json_is_string(json_object_get(trial, "problem"));
        if (failed)
            complain_of_problem(id, trial);
        json_decref(trial);
        if (failed)
            return EXIT_FAILED;
        g_usleep(PAUSE_MICROSECONDS);
    }
    fprintf(stderr, "error: trial %" PRIu32 " is not over yet; see 'pmxcfsctl try --list'\n", id);
    return EXIT_FAILED;
}

static void print_settled(const struct context *context, uint32_t id, bool confirmed)
{
    if (context->json)
        db_print_json(json_pack("{s:I, s:s}", "id", (json_int_t)id, "result",
                                confirmed ? "confirmed" : "reverted"));
    else
        printf("trial %" PRIu32 ": %s\n", id,
               confirmed ? "confirmed, what was changed stays"
                         : "aborted, what was changed is as it was before");
}

int trial_end_for_good(const struct context *context, uint32_t id, enum trial_end end)
{
    int code = trial_end(context, id, end);

    return code == EXIT_DONE ? wait_until_gone(context, id) : code;
}

int trial_settle(const struct context *context, uint32_t id, enum trial_end end)
{
    bool confirmed = end == TRIAL_CONFIRM;
    int code = EXIT_DONE;
    json_t *trial = confirmed ? NULL : trial_find(context, id, &code);
    json_t *changes = trial ? trial_changes(context, trial) : NULL;

    json_decref(trial);
    code = trial_end_for_good(context, id, end);
    if (code == EXIT_DONE)
        print_settled(context, id, confirmed);
    if (code == EXIT_DONE && trial_complain_of_lost(changes))
        code = EXIT_FAILED;
    json_decref(changes);
    return code;
}

/* ---- Which one ---- */

/* "3", or NULL if there is only one. EXIT_DONE with *id, else stderr says why. */
static int choose(const struct context *context, const char *given, uint32_t *id)
{
    guint64 number;
    int code = EXIT_FAILED;

    if (given && g_ascii_string_to_unsigned(given, 10, 1, UINT32_MAX, &number, NULL)) {
        *id = (uint32_t)number;
        return EXIT_DONE;
    }
    if (given) {
        fprintf(stderr, "error: '%s' is no number of a trial; see 'pmxcfsctl try --list'\n", given);
        return EXIT_WRONG_USE;
    }
    json_t *list = list_trials(context, &code);
    if (!list)
        return code;
    size_t count = json_array_size(list);
    if (count == 1)
        *id = (uint32_t)field_number(json_array_get(list, 0), "id");
    else
        fputs(count ? "error: there are several trials: which one? See 'pmxcfsctl try --list'\n"
                    : "error: there is no trial that waits\n",
              stderr);
    json_decref(list);
    return count == 1 ? EXIT_DONE : EXIT_FAILED;
}

int trial_choose_and_settle(const struct context *context, const char *given, enum trial_end end)
{
    uint32_t id = 0;
    int code = choose(context, given, &id);

    return code == EXIT_DONE ? trial_settle(context, id, end) : code;
}

/* ---- Commands ---- */

static void print_trial(json_t *trial)
{
    g_autofree char *left = trial_time_left(field_number(trial, "deadline"));
    g_autofree char *begun = db_time_shown((uint32_t)field_number(trial, "begun"));
    g_autofree char *command = field_printable(trial, "command");
    g_autofree char *problem = field_printable(trial, "problem");
    bool reverting = strcmp(field_text(trial, "state"), "waiting") != 0;

    printf("%4lld  %s  %-12s  %-5s  %s", (long long)field_number(trial, "id"), begun,
           reverting ? field_text(trial, "state") : left,
           field_bool(trial, "ended") ? "ended" : "runs", command);
    if (json_is_string(json_object_get(trial, "problem")))
        printf("  (%s)", problem);
    putchar('\n');
}

int trial_print_list(const struct context *context)
{
    int code;
    json_t *list = list_trials(context, &code);
    json_t *trial;
    size_t i;

    if (!list)
        return code;
    if (context->json) {
        db_print_json(list);
        return EXIT_DONE;
    }
    if (json_array_size(list) == 0)
        puts("there are no trials");
    else
        printf("%4s  %-19s  %-12s  %-5s  %s\n", "ID", "BEGUN", "LEFT", "", "COMMAND");
    json_array_foreach(list, i, trial) print_trial(trial);
    json_decref(list);
    return EXIT_DONE;
}

int command_confirm(const struct context *context, int argc, char **argv)
{
    if (!command_parse(&argc, &argv, NULL, "[TRIAL]",
                       "Keep what a trial has changed ('pmxcfsctl try'); its number is needed only "
                       "if there are several.",
                       0, 1))
        return EXIT_WRONG_USE;
    return trial_choose_and_settle(context, argc > 1 ? argv[1] : NULL, TRIAL_CONFIRM);
}
