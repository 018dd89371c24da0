/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl verify: has all nodes compare their copies now. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "ctl/ask.h"
#include "ctl/terminal.h"

#define TIMEOUT_DEFAULT 60
#define PAUSE_MICROSECONDS 100000u

/* A member that differs leaves the group as soon as it has compared, which it does not tell. Others
 * may take longer than this node: so long they are waited for, and as long again as this one took.
 */
#define LEAVING_MICROSECONDS (2 * G_USEC_PER_SEC)

static json_int_t count_of(json_t *overview, const char *result)
{
    return field_number(json_object_get(overview, "verification"), result);
}

/* The members of `before` that are not in the group of `now`, or have left it in between. */
static json_t *find_missing(json_t *before, json_t *now)
{
    json_t *missing = json_array();
    json_t *member, *other;
    size_t i, j;

    json_array_foreach(json_object_get(before, "group"), i, member)
    {
        bool there = false;
        json_array_foreach(json_object_get(now, "group"), j, other)
        {
            there = there || (field_number(other, "id") == field_number(member, "id") &&
                              field_number(other, "since") == field_number(member, "since"));
        }
        if (!there)
            json_array_append(missing, json_object_get(member, "name"));
    }
    return missing;
}

/* Asks for the overview until this node has compared; NULL with *code set. */
static json_t *wait_for_result(const struct context *context, json_t *before, int timeout,
                               int *code)
{
    gint64 started = g_get_monotonic_time();
    struct progress progress;
    json_t *now = NULL;

    progress_start(&progress, "comparing");
    do {
        json_decref(now);
        g_usleep(PAUSE_MICROSECONDS);
        progress_step(&progress, 0, 0);
        now = ask(context, ASK_OVERVIEW, NULL, 0, code);
    } while (now && count_of(now, "equal") == count_of(before, "equal") &&
             count_of(now, "different") == count_of(before, "different") &&
             g_get_monotonic_time() - started < timeout * G_USEC_PER_SEC);
    progress_end(&progress);
    return now;
}

/* Watches the group for members that leave; gives their names. */
static json_t *watch_group(const struct context *context, json_t *before, gint64 microseconds)
{
    gint64 end = g_get_monotonic_time() + microseconds;
    json_t *missing = json_array();
    struct progress progress;
    int code;

    progress_start(&progress, "watching for members that leave");
    while (json_array_size(missing) == 0 && g_get_monotonic_time() < end) {
        g_usleep(PAUSE_MICROSECONDS);
        progress_step(&progress, 0, 0);
        json_t *now = ask(context, ASK_OVERVIEW, NULL, 0, &code);
        if (!now)
            break;
        json_decref(missing);
        missing = find_missing(before, now);
        json_decref(now);
    }
    progress_end(&progress);
    return missing;
}

static int report(const struct context *context, json_t *before, json_t *now, json_t *missing)
{
    json_t *verification = json_object_get(now, "verification");
    size_t members = json_array_size(json_object_get(before, "group"));
    bool equal = count_of(now, "different") == count_of(before, "different");
    size_t i;
    json_t *name;

    if (context->json) {
        json_t *object =
            json_pack("{s:s, s:O, s:O, s:I, s:O}", "result", equal ? "equal" : "different",
                      "version", json_object_get(verification, "version"), "checksum",
                      json_object_get(verification, "checksum"), "members", (json_int_t)members,
                      "left", missing);
        print_json(object);
        json_decref(object);
    } else if (!equal) {
        puts("this node's copy differs from what it was: it leaves the group and takes over the "
             "others' state; see its log");
    } else {
        printf("%zu members were asked to compare version %lld, checksum %s\n", members,
               (long long)field_number(verification, "version"),
               field_text(verification, "checksum"));
        json_array_foreach(missing, i, name)
            printf("%s left the group: its copy differs, or it has failed; its log says which\n",
                   json_string_value(name) ? json_string_value(name) : "an unknown node");
        if (json_array_size(missing) == 0)
            puts("all stayed in the group: no copy differs");
    }
    return equal && json_array_size(missing) == 0 ? EXIT_DONE : EXIT_FOUND;
}

/* Why no verification could be asked for. */
static void explain(const struct context *context, json_t *overview, int code, int error)
{
    json_t *lowest = json_array_get(json_object_get(overview, "group"), 0);

    if (code == EXIT_FAILED && error == EOPNOTSUPP)
        fputs("error: local mode: no other node has a copy to compare with; 'pmxcfsctl db check' "
              "looks at the database\n",
              stderr);
    else if (code == EXIT_FAILED && error == EAGAIN)
        fprintf(stderr, "error: this node is not in sync (%s): see 'pmxcfsctl status'\n",
                field_text(overview, "state"));
    else if (code == EXIT_FAILED && error == EPERM && geteuid() == 0)
        fprintf(stderr,
                "error: only the member with the lowest node id may ask for it: run this on %s\n",
                field_text(lowest, "name"));
    else
        ask_complain(context, code, error);
}

static int verify(const struct context *context, json_t *before, int timeout)
{
    gint64 started = g_get_monotonic_time();
    int error;
    int code = ask_quietly(context, ASK_VERIFY, NULL, 0, NULL, &error);

    if (code != EXIT_DONE) {
        explain(context, before, code, error);
        return code;
    }
    json_t *now = wait_for_result(context, before, timeout, &code);
    if (!now)
        return code;
    if (count_of(now, "equal") == count_of(before, "equal") &&
        count_of(now, "different") == count_of(before, "different")) {
        fprintf(stderr,
                "error: no comparison within %d s: the group synchronises, or corosync is slow; "
                "see 'pmxcfsctl status'\n",
                timeout);
        code = EXIT_FAILED;
    } else {
        gint64 taken = g_get_monotonic_time() - started;
        json_t *missing = watch_group(context, before, LEAVING_MICROSECONDS + taken);
        code = report(context, before, now, missing);
        json_decref(missing);
    }
    json_decref(now);
    return code;
}

int command_verify(const struct context *context, int argc, char **argv)
{
    gint timeout = TIMEOUT_DEFAULT;
    const GOptionEntry entries[] = {{"timeout", 't', 0, G_OPTION_ARG_INT, &timeout,
                                     "how long to wait for this node's result (60)", "SECONDS"},
                                    {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(&argc, &argv, entries, NULL,
                       "Have all members compare their copies now, as they do once an hour. On the "
                       "member with the lowest node id alone; root alone.\nA member whose copy "
                       "differs leaves the group and takes over the others' state. The protocol "
                       "has no word for \"mine is equal\": the result is this node's own, and who "
                       "has left. The exit code is 4 if anybody did.",
                       0, 0))
        return EXIT_WRONG_USE;
    json_t *before = ask(context, ASK_OVERVIEW, NULL, 0, &code);
    if (!before)
        return code;
    code = verify(context, before, timeout);
    json_decref(before);
    return code;
}
