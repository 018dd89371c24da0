/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl changes: the change feed as JSON lines, to be piped, as text, or to a command; over
 * restarts of the daemon too. */
#include <errno.h>
#include <fnmatch.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/run_command.h"

#define REQUEST_SUBSCRIBE 100
#define PAUSE_MICROSECONDS 500000u

/* What is wanted of the feed, and how far it was read. */
struct following {
    const struct context *context;
    GStrv patterns; /* NULL: all paths */
    bool pretty;
    const char *command; /* NULL: events are printed */
    bool since_given;
    uint64_t version; /* of the last event; what comes after it is asked for */
};

/* ---- One event ---- */

static bool matches(const struct following *following, json_t *path)
{
    const char *text = json_string_value(path);

    for (int i = 0; text && following->patterns[i]; i++) {
        if (fnmatch(following->patterns[i], text, 0) == 0)
            return true;
    }
    return false;
}

/* What is not told by path may be about anything: it is wanted. */
static bool is_wanted(const struct following *following, json_t *event)
{
    json_t *paths = json_object_get(event, "paths");
    json_t *path;
    size_t i;

    if (!following->patterns || (!paths && !json_object_get(event, "path")) ||
        json_object_get(event, "more"))
        return true;
    json_array_foreach(paths, i, path)
    {
        if (matches(following, path))
            return true;
    }
    return matches(following, json_object_get(event, "path")) ||
           matches(following, json_object_get(event, "target"));
}

/* "node1", or the number of one whose name is not known; g_free() it. */
static char *node_of(json_t *event)
{
    json_t *node = json_object_get(event, "node");

    return json_is_string(node) ? field_printable(event, "node")
                                : g_strdup_printf("%lld", (long long)json_integer_value(node));
}

static void print_paths(json_t *event)
{
    json_t *path;
    size_t i;

    json_array_foreach(json_object_get(event, "paths"), i, path)
    {
        json_t *one = json_pack("{s:O}", "path", path);
        g_autofree char *text = field_printable(one, "path");
        printf("    %s\n", text);
        json_decref(one);
    }
    if (field_number(event, "more") > 0)
        printf("    and %lld more\n", (long long)field_number(event, "more"));
}

static void print_pretty(json_t *event)
{
    g_autofree char *operation = field_printable(event, "operation");

    if (strcmp(operation, "missed") == 0) {
        printf("(%lld changes are not told: they are forgotten, or came too fast)\n",
               (long long)field_number(event, "count"));
        return;
    }
    g_autofree char *time = db_time_shown((uint32_t)field_number(event, "time"));
    g_autofree char *node = node_of(event);
    g_autofree char *path = field_printable(event, "path");
    printf("%s  %-12s  %-7s", time, node, operation);
    if (json_object_get(event, "paths")) {
        printf("version %lld to %lld\n", (long long)field_number(event, "from"),
               (long long)field_number(event, "version"));
        print_paths(event);
        return;
    }
    printf(" %s", path);
    if (json_object_get(event, "target")) {
        g_autofree char *target = field_printable(event, "target");
        printf(" -> %s", target);
    } else if (strcmp(operation, "write") == 0) {
        g_autofree char *size = db_size_shown((uint64_t)field_number(event, "size"));
        printf("  (%s)", size);
    }
    putchar('\n');
}

static void show(const struct following *following, json_t *event, const char *line, size_t size)
{
    if (following->command)
        run_command(following->command, event, line, size);
    else if (following->pretty)
        print_pretty(event);
    else
        puts(line);
}

/* False: the reader of our output has gone away. */
static bool take(struct following *following, const char *line, size_t size)
{
    json_t *event = ask_parse(line, size);

    if (!event)
        return true;
    if (json_object_get(event, "version"))
        following->version = (uint64_t)field_number(event, "version");
    if (is_wanted(following, event))
        show(following, event, line, size);
    json_decref(event);
    return fflush(stdout) != EOF && !ferror(stdout);
}

/* ---- The feed ---- */

static int subscribe(struct client *client, const struct following *following)
{
    uint8_t version[8];
    g_autofree char *data = NULL;
    size_t size;

    put_le64(version, following->version);
    return client_ask(client, REQUEST_SUBSCRIBE, version,
                      following->since_given ? sizeof(version) : 0, &data, &size);
}

/* Takes events until the daemon (a negative errno) or the reader of our output (0) goes away. */
static int take_events(struct client *client, struct following *following)
{
    for (;;) {
        g_autofree char *line = NULL;
        size_t size;
        int error = client_next_event(client, &line, &size);
        if (error == -EAGAIN)
            continue;
        if (error)
            return error;
        if (!take(following, line, size))
            return 0;
    }
}

/* The version of the tree now; 0: it cannot be had. */
static uint64_t present_version(const struct context *context)
{
    json_t *overview = NULL;
    int error;

    ask_quietly(context, ASK_OVERVIEW, NULL, 0, &overview, &error);
    json_int_t version = field_number(json_object_get(overview, "versions"), "tree");
    json_decref(overview);
    return (uint64_t)version;
}

/* From the first connection on: what was told till now is known, so that after a restart nothing is
 * told twice, and nothing is left out silently. */
static void find_start(struct following *following)
{
    if (!following->since_given)
        following->version = present_version(following->context);
}

/* Connects anew; NULL: that will never be possible, and stderr says why. */
static struct client *reconnect(struct following *following, int lost)
{
    int code, error;
    struct client *client;

    fprintf(stderr, "the feed was interrupted (%s): waiting for the daemon\n", g_strerror(-lost));
    while (!(client = ask_connect(following->context, &code, &error)) && code == EXIT_NO_DAEMON)
        g_usleep(PAUSE_MICROSECONDS);
    if (!client) {
        ask_complain(following->context, code, error);
        return NULL;
    }
    uint64_t present = present_version(following->context);
    if (present > 0 && present < following->version) {
        fprintf(stderr,
                "the file system is an older one: version %" PRIu64 " instead of %" PRIu64
                "; going on with what comes\n",
                present, following->version);
        following->version = present;
    }
    following->since_given = following->version > 0;
    return client;
}

static int follow(struct following *following)
{
    int code, error;
    struct client *client = ask_connect(following->context, &code, &error);

    if (!client) {
        ask_complain(following->context, code, error);
        return code;
    }
    find_start(following);
    for (;;) {
        int result = subscribe(client, following);
        bool refused = result == -ECHRNG || result == -EPERM || result == -EINVAL;
        if (!result)
            result = take_events(client, following);
        client_close(client);
        if (result == 0)
            return EXIT_DONE;
        if (refused) {
            ask_complain(following->context, EXIT_FAILED, -result);
            return EXIT_FAILED;
        }
        client = reconnect(following, result);
        if (!client)
            return EXIT_FAILED;
    }
}

int command_changes(const struct context *context, int argc, char **argv)
{
    g_autofree char *since = NULL;
    g_autofree char *command = NULL;
    g_auto(GStrv) patterns = NULL;
    gboolean pretty = FALSE;
    guint64 version = 0;
    const GOptionEntry entries[] = {
        {"since", 0, 0, G_OPTION_ARG_STRING, &since,
         "begin after this version, as far as the daemon remembers", "VERSION"},
        {"path", 'p', 0, G_OPTION_ARG_FILENAME_ARRAY, &patterns,
         "only of paths like this (*, ?, []; * goes over slashes); may be given several times",
         "PATTERN"},
        {"pretty", 0, 0, G_OPTION_ARG_NONE, &pretty, "for people", NULL},
        {"exec", 'e', 0, G_OPTION_ARG_STRING, &command,
         "call this command of the shell for each, one after the other", "COMMAND"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    g_autoptr(GError) problem = NULL;

    if (!command_parse(&argc, &argv, entries, NULL,
                       "Print each change as a line of JSON, also over restarts of the daemon.", 0,
                       0))
        return EXIT_WRONG_USE;
    if (since && !g_ascii_string_to_unsigned(since, 10, 0, G_MAXUINT64 - 1, &version, &problem)) {
        fprintf(stderr, "error: %s\nTry pmxcfsctl changes --help.\n", problem->message);
        return EXIT_WRONG_USE;
    }
    if (pretty && (command || context->json)) {
        fputs("error: --pretty goes neither with --exec nor with --json\n", stderr);
        return EXIT_WRONG_USE;
    }
    struct following following = {.context = context,
                                  .patterns = patterns,
                                  .pretty = pretty,
                                  .command = command,
                                  .since_given = since != NULL,
                                  .version = version};
    return follow(&following);
}
