/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl try: runs a command whose changes the daemon brings back unless they are confirmed. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/history_time.h"
#include "ctl/trial.h"
#include "ctl/trial_run.h"

#define SECONDS_DEFAULT 300
#define SECONDS_MAX 86400
#define TEXT_MAX 1000u /* bytes of the command's text */
#define PAUSE_MICROSECONDS 10000u
#define PAUSES_MAX 3000 /* 30 s */

/* ---- Beginning ---- */

static void put_number(GByteArray *bytes, uint32_t number)
{
    const guint8 little[4] = {(guint8)number, (guint8)(number >> 8), (guint8)(number >> 16),
                              (guint8)(number >> 24)};

    g_byte_array_append(bytes, little, sizeof(little));
}

static char *command_text(char **command)
{
    char *text = g_strjoinv(" ", command);

    if (strlen(text) > TEXT_MAX)
        text[TEXT_MAX] = '\0';
    return text;
}

static int ask_to_begin(const struct context *context, uint32_t seconds, pid_t group,
                        char **command, uint32_t *id)
{
    g_autoptr(GByteArray) request = g_byte_array_new();
    g_autofree char *text = command_text(command);
    json_t *answer = NULL;
    int error;

    put_number(request, seconds);
    put_number(request, (uint32_t)group);
    g_byte_array_append(request, (const guint8 *)text, (guint)strlen(text) + 1);
    int code = ask_quietly(context, ASK_TRIAL_BEGIN, request->data, request->len, &answer, &error);
    if (code == EXIT_DONE)
        *id = (uint32_t)field_number(answer, "id");
    else if (error == EOPNOTSUPP)
        fputs("error: the daemon writes no history, so it could not bring anything back\n", stderr);
    else if (error == ENOSPC)
        fputs("error: there are too many trials; see 'pmxcfsctl try --list'\n", stderr);
    else
        ask_complain(context, code, error);
    json_decref(answer);
    return code;
}

/* Until the list has what is wanted of the trial: `key` true, or not 0. */
static int wait_for_field(const struct context *context, uint32_t id, const char *key,
                          json_t **trial)
{
    int code = EXIT_DONE;

    for (int i = 0; i < PAUSES_MAX; i++) {
        *trial = trial_find(context, id, &code);
        if (!*trial || field_bool(*trial, key))
            return code;
        if (json_is_string(json_object_get(*trial, "problem")))
            break;
        g_clear_pointer(trial, json_decref);
        g_usleep(PAUSE_MICROSECONDS);
    }
    g_autofree char *problem =
        *trial ? field_printable(*trial, "problem") : g_strdup("the daemon does not get to it");
    g_clear_pointer(trial, json_decref);
    fprintf(stderr, "error: trial %" PRIu32 ": %s\n", id, problem);
    return EXIT_FAILED;
}

static int begin(const struct context *context, uint32_t seconds, pid_t group, char **command,
                 uint32_t *id)
{
    json_t *trial = NULL;
    int code = ask_to_begin(context, seconds, group, command, id);

    if (code != EXIT_DONE)
        return code;
    code = wait_for_field(context, *id, "stored", &trial);
    if (code != EXIT_DONE) {
        trial_end(context, *id, TRIAL_CONFIRM); /* nobody needs it */
    } else if (!trial) {
        fputs("error: the trial was over before the command began\n", stderr);
        code = EXIT_FAILED;
    }
    json_decref(trial);
    return code;
}

/* ---- Asking ---- */

enum reply { REPLY_YES, REPLY_NO, REPLY_NONE, REPLY_OVER };

/* Waits for a line at the terminal, while the trial lasts. */
static enum reply wait_for_reply(const struct context *context, uint32_t id)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char line[64];
    int code;

    for (;;) {
        int ready = poll(&input, 1, 1000);
        if (ready < 0 && errno != EINTR)
            return REPLY_NONE;
        if (ready <= 0) {
            json_t *trial = trial_find(context, id, &code);
            json_decref(trial);
            if (!trial && code == EXIT_DONE)
                return REPLY_OVER;
            continue;
        }
        ssize_t size = read(STDIN_FILENO, line, sizeof(line));
        if (size <= 0)
            return REPLY_NONE;
        if (*line == 'y' || *line == 'Y' || *line == 'n' || *line == 'N')
            return *line == 'y' || *line == 'Y' ? REPLY_YES : REPLY_NO;
        fputs("y or n? ", stdout);
        fflush(stdout);
    }
}

static void print_how(uint32_t id, json_int_t deadline)
{
    g_autofree char *until = db_time_shown((uint32_t)deadline);

    printf("trial %" PRIu32 ": unless 'pmxcfsctl confirm %" PRIu32
           "' is said until %s, the daemon makes that undone\n",
           id, id, until);
}

static int ask_person(const struct context *context, uint32_t id, json_int_t deadline)
{
    g_autofree char *left = trial_time_left(deadline);

    printf("Keep it? [y/n] (within %s, also by 'pmxcfsctl confirm %" PRIu32 "') ", left, id);
    fflush(stdout);
    enum reply reply = wait_for_reply(context, id);
    if (reply == REPLY_YES || reply == REPLY_NO)
        return trial_settle(context, id, reply == REPLY_YES ? TRIAL_CONFIRM : TRIAL_ABORT);
    putchar('\n');
    if (reply == REPLY_NONE) {
        print_how(id, deadline);
    } else if ((json_int_t)time(NULL) < deadline) {
        printf("trial %" PRIu32 ": confirmed or aborted elsewhere\n", id);
    } else {
        printf("trial %" PRIu32 ": not confirmed in time, what was changed is as it was before\n",
               id);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

/* ---- When the command has ended ---- */

/* False: it did not do well, and stderr says so. */
static bool went_well(int status)
{
    if (WIFSIGNALED(status))
        fprintf(stderr, "error: the command was ended by signal %d\n", WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        fprintf(stderr, "error: the command ended with exit code %d\n", WEXITSTATUS(status));
    return status == 0;
}

/* Nothing was changed: there is nothing to confirm. */
static int finish_unchanged(const struct context *context, uint32_t id)
{
    int code = trial_end_for_good(context, id, TRIAL_CONFIRM);

    if (code == EXIT_DONE && context->json)
        db_print_json(json_pack("{s:I, s:s}", "id", (json_int_t)id, "result", "unchanged"));
    else if (code == EXIT_DONE)
        puts("the command changed nothing");
    return code;
}

static int finish(const struct context *context, uint32_t id, json_t *trial, bool terminal)
{
    json_int_t deadline = field_number(trial, "deadline");
    json_t *changed = trial_changes(context, trial);
    int code = EXIT_DONE;

    if (changed && json_array_size(changed) == 0) {
        code = finish_unchanged(context, id);
    } else if (context->json) {
        db_print_json(json_pack("{s:I, s:s, s:I, s:O*}", "id", (json_int_t)id, "result", "waiting",
                                "deadline", deadline, "changed", changed));
    } else {
        puts("changed:");
        trial_print_changes(changed);
        if (terminal)
            code = ask_person(context, id, deadline);
        else
            print_how(id, deadline);
    }
    json_decref(changed);
    return code;
}

static int conclude(const struct context *context, uint32_t id, int status, bool terminal)
{
    json_t *trial = NULL;

    if (!went_well(status)) {
        trial_settle(context, id, TRIAL_ABORT);
        return EXIT_FAILED;
    }
    int code;
    json_auto_t *found = trial_find(context, id, &code);
    if (found)
        code = trial_end(context, id, TRIAL_COMMAND_ENDED);
    if (found && code == EXIT_DONE)
        code = wait_for_field(context, id, "until", &trial);
    if (code == EXIT_DONE && trial)
        code = finish(context, id, trial, terminal);
    else if (code == EXIT_DONE && context->json)
        db_print_json(json_pack("{s:I, s:s}", "id", (json_int_t)id, "result", "over"));
    else if (code == EXIT_DONE)
        printf("trial %" PRIu32 " is over: its time has passed, or it was settled elsewhere\n", id);
    json_decref(trial);
    return code;
}

/* ---- The command ---- */

static int try_command(const struct context *context, uint32_t seconds, bool all, char **command)
{
    struct trial_run run;
    uint32_t id = 0;
    int error = trial_run_prepare(&run, command, context->json);

    if (error) {
        fprintf(stderr, "error: cannot start a process: %s\n", g_strerror(-error));
        return EXIT_FAILED;
    }
    int code = begin(context, seconds, all ? 0 : run.group, command, &id);
    if (code != EXIT_DONE) {
        trial_run_cancel(&run);
        return code;
    }
    int status = trial_run_go(&run);
    return conclude(context, id, status, run.terminal);
}

/* "5m" in seconds; 0: it is none. */
static uint32_t parse_seconds(const char *text)
{
    int64_t now = time(NULL);
    int64_t then;
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || !g_ascii_isalpha(text[digits]) || history_time_parse(text, now, &then) ||
        now - then < 1 || now - then > SECONDS_MAX)
        return 0;
    return (uint32_t)(now - then);
}

#define SUMMARY                                                                                    \
    "Runs a command (an editor, a script), and has the daemon bring back what it changed in the\n" \
    "tree unless that is confirmed in time: by the answer to a question, or by 'pmxcfsctl\n"       \
    "confirm', also if this terminal is gone, or the daemon was restarted, by then. If the\n"      \
    "command fails, what it changed is brought back at once."

int command_try(const struct context *context, int argc, char **argv)
{
    g_autofree char *given = NULL;
    gboolean all = FALSE;
    gboolean list = FALSE;
    gboolean undo = FALSE;
    const GOptionEntry entries[] = {
        {"for", 0, 0, G_OPTION_ARG_STRING, &given, "how long that can be confirmed (5m)", "TIME"},
        {"all", 0, 0, G_OPTION_ARG_NONE, &all,
         "what anybody changes on this node meanwhile, not only processes of the command", NULL},
        {"list", 0, 0, G_OPTION_ARG_NONE, &list, "only show the trials that wait", NULL},
        {"abort", 0, 0, G_OPTION_ARG_NONE, &undo, "only have a trial brought back now", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    uint32_t seconds = SECONDS_DEFAULT;

    if (!command_parse(&argc, &argv, entries, "-- COMMAND [ARGUMENT...] | [TRIAL]", SUMMARY, 0,
                       G_MAXINT))
        return EXIT_WRONG_USE;
    char **words = argv + 1;
    bool one = words[0] && words[1];
    if ((list && (undo || *words)) || (undo && one) || (!list && !undo && !*words)) {
        fputs("error: one of: -- COMMAND, --list, --abort [TRIAL]\n", stderr);
        return EXIT_WRONG_USE;
    }
    if (list)
        return trial_print_list(context);
    if (undo)
        return trial_choose_and_settle(context, *words, TRIAL_ABORT);
    if (given && (seconds = parse_seconds(given)) == 0) {
        fprintf(stderr, "error: --for: '%s' is no time from 1s to 24h\n", given);
        return EXIT_WRONG_USE;
    }
    return try_command(context, seconds, all, words);
}
