/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl verify: has all nodes compare their copies now. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/terminal.h"

#define TIMEOUT_DEFAULT 60
#define PAUSE_MICROSECONDS 100000u

/* A member that differs leaves the group as soon as it has compared, which it does not tell. Others
 * may take longer than this node: so long they are waited for, and as long again as this one took.
 */
#define LEAVING_MICROSECONDS (5 * G_USEC_PER_SEC)

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

/* Why this node knows nothing of the others; NULL: it does. g_free() it. */
static char *find_cut(json_t *overview)
{
    if (!field_bool(overview, "quorate"))
        return g_strdup("there is no quorum: this node is cut off, and what the others have is not "
                        "known here");
    g_autofree char *state = field_printable(overview, "state");
    if (!field_bool(overview, "joined") || strcmp(state, "in sync") != 0)
        return g_strdup_printf("this node is not in sync (%s)", state);
    return NULL;
}

/* Why no comparison of this node's can say anything; NULL: it can. g_free() it. */
static char *find_objection(json_t *overview)
{
    char *cut = find_cut(overview);

    if (cut || json_array_size(json_object_get(overview, "group")) > 1)
        return cut;
    return g_strdup("no other member is in the group: there is no copy to compare with");
}

static int complain_unverified(const char *objection)
{
    fprintf(stderr, "error: nothing could be verified: %s; see 'pmxcfsctl status'\n", objection);
    return EXIT_FAILED;
}

/* The nodes of the node list that are not in the group, whose copies nobody compared. */
static json_t *find_absent(const struct context *context, json_t *overview)
{
    json_t *absent = json_array();
    json_t *members = NULL;
    json_t *node, *member;
    const char *name;
    size_t i;
    int error;

    ask_quietly(context, ASK_MEMBERS, NULL, 0, &members, &error);
    json_object_foreach(json_object_get(members, "nodelist"), name, node)
    {
        bool there = false;
        json_array_foreach(json_object_get(overview, "group"), i, member) there =
            there || field_number(member, "id") == field_number(node, "id");
        if (!there)
            json_array_append_new(absent, json_string(name));
    }
    json_decref(members);
    return absent;
}

/* What is to be said of the nodes of a list, null for those whose name is not known. */
static void print_each(json_t *names, const char *what)
{
    json_t *name;
    size_t i;

    json_array_foreach(names, i, name)
    {
        const char *text = json_string_value(name);
        g_autofree char *shown = text_printable(text ? text : "an unknown node");
        printf("%s %s\n", shown, what);
    }
}

static void print_equal(json_t *verification, size_t members, json_t *missing, json_t *absent)
{
    g_autofree char *asked = db_count_shown(members, "member was asked", "members were asked");
    g_autofree char *checksum = field_printable(verification, "checksum");

    printf("%s to compare version %lld, checksum %s\n", asked,
           (long long)field_number(verification, "version"), checksum);
    print_each(absent, "is not in the group: its copy was not compared");
    print_each(missing, "left the group: its copy differs, or it has failed; its log says which");
    if (json_array_size(missing) == 0)
        printf("all stayed in the group: no copy%s differs\n",
               json_array_size(absent) > 0 ? " of theirs" : "");
}

/* `absent`: not in the group from the beginning. */
static int report(const struct context *context, json_t *before, json_t *now, json_t *missing,
                  json_t *absent)
{
    json_t *verification = json_object_get(now, "verification");
    size_t members = json_array_size(json_object_get(before, "group"));
    bool equal = count_of(now, "different") == count_of(before, "different");

    if (context->json) {
        json_t *object =
            json_pack("{s:s, s:O, s:O, s:I, s:O, s:O}", "result", equal ? "equal" : "different",
                      "version", json_object_get(verification, "version"), "checksum",
                      json_object_get(verification, "checksum"), "members", (json_int_t)members,
                      "left", missing, "absent", absent);
        print_json(object);
        json_decref(object);
    } else if (!equal) {
        puts("this node's copy differs from what it was: it leaves the group and takes over the "
             "others' state; see its log");
    } else {
        print_equal(verification, members, missing, absent);
    }
    return equal && json_array_size(missing) == 0 ? EXIT_DONE : EXIT_FOUND;
}

/* Why no verification could be asked for. */
static void explain(const struct context *context, json_t *overview, int code, int error)
{
    json_t *lowest = json_array_get(json_object_get(overview, "group"), 0);
    g_autofree char *state = field_printable(overview, "state");
    g_autofree char *name = field_printable(lowest, "name");

    if (code == EXIT_FAILED && error == EOPNOTSUPP)
        fputs("error: local mode: no other node has a copy to compare with; 'pmxcfsctl db check' "
              "looks at the database\n",
              stderr);
    else if (code == EXIT_FAILED && error == EAGAIN)
        fprintf(stderr, "error: this node is not in sync (%s): see 'pmxcfsctl status'\n", state);
    else if (code == EXIT_FAILED && error == EPERM && geteuid() == 0)
        fprintf(stderr,
                "error: only the member with the lowest node id may ask for it: run this on %s\n",
                name);
    else
        ask_complain(context, code, error);
}

/* What is known once this node has compared. */
static int conclude(const struct context *context, json_t *before, json_t *now, gint64 taken)
{
    json_t *missing = watch_group(context, before, LEAVING_MICROSECONDS + taken);
    json_t *absent = find_absent(context, before);
    int code;
    json_t *after = ask(context, ASK_OVERVIEW, NULL, 0, &code);
    bool equal = count_of(now, "different") == count_of(before, "different");
    g_autofree char *objection = after && equal ? find_cut(after) : NULL;

    if (objection) /* cut off meanwhile */
        code = complain_unverified(objection);
    else if (after)
        code = report(context, before, now, missing, absent);
    json_decref(after);
    json_decref(absent);
    json_decref(missing);
    return code;
}

static int verify(const struct context *context, json_t *before, int timeout)
{
    gint64 started = g_get_monotonic_time();
    g_autofree char *objection = field_bool(before, "local") ? NULL : find_objection(before);
    int error;

    if (objection)
        return complain_unverified(objection);
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
        code = conclude(context, before, now, g_get_monotonic_time() - started);
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
