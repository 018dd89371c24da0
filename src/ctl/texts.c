/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl members, guests, log, versions: what the daemon tells, for people or as JSON. */
#include <errno.h>
#include <glib.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "ctl/client.h"
#include "ctl/commands.h"

/* Requests of the local socket (doc/ipc.md). */
enum { ASK_VERSIONS = 1, ASK_MEMBERS = 2, ASK_GUESTS = 3, ASK_LOG = 8 };

/* Asks for a JSON text; NULL with *code set and the reason on stderr. */
static json_t *ask(const struct context *context, int32_t id, const void *request, size_t size,
                   int *code)
{
    g_autofree char *data = NULL;
    json_error_t problem;
    size_t data_size;
    struct client *client = client_open(context->socket);

    if (!client) {
        fprintf(stderr, "error: no daemon answers at '%s': %s\n", context->socket,
                g_strerror(errno));
        *code = EXIT_NO_DAEMON;
        return NULL;
    }
    int error = client_ask(client, id, request, size, &data, &data_size);
    client_close(client);
    *code = EXIT_FAILED;
    if (error) {
        fprintf(stderr, "error: the daemon says: %s\n", g_strerror(-error));
        return NULL;
    }
    json_t *answer = json_loadb(data, data_size, 0, &problem);
    if (!answer)
        fprintf(stderr, "error: the daemon's answer is no JSON: %s\n", problem.text);
    return answer;
}

static int print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
    return EXIT_DONE;
}

/* Without options of its own; `arguments` more than the name may follow. */
static bool parse(int *argc, char ***argv, GOptionEntry *entries, const char *summary)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(GOptionContext) options = g_option_context_new(summary);

    if (entries)
        g_option_context_add_main_entries(options, entries, NULL);
    if (g_option_context_parse(options, argc, argv, &problem) && *argc == 1)
        return true;
    fprintf(stderr, "error: %s\n", problem ? problem->message : "too many arguments");
    return false;
}

int command_versions(const struct context *context, int argc, char **argv)
{
    int code = EXIT_DONE;

    if (!parse(&argc, &argv, NULL, "- show the counters that clients poll"))
        return EXIT_WRONG_USE;
    json_t *answer = ask(context, ASK_VERSIONS, NULL, 0, &code);
    if (answer)
        code = print_json(answer);
    json_decref(answer);
    return code;
}

static void print_member(const char *name, json_t *node)
{
    json_t *address = json_object_get(node, "ip");

    printf("%-24s %5lld  %-8s %s\n", name, json_integer_value(json_object_get(node, "id")),
           json_integer_value(json_object_get(node, "online")) ? "online" : "offline",
           address ? json_string_value(address) : "-");
}

int command_members(const struct context *context, int argc, char **argv)
{
    int code = EXIT_DONE;
    const char *name;
    json_t *node;

    if (!parse(&argc, &argv, NULL, "- show the nodes of the cluster"))
        return EXIT_WRONG_USE;
    json_t *answer = ask(context, ASK_MEMBERS, NULL, 0, &code);
    if (!answer)
        return code;
    json_t *cluster = json_object_get(answer, "cluster");
    if (context->json) {
        print_json(answer);
    } else if (!cluster) {
        printf("node %s, no cluster\n", json_string_value(json_object_get(answer, "nodename")));
    } else {
        printf("cluster %s, %s\n", json_string_value(json_object_get(cluster, "name")),
               json_integer_value(json_object_get(cluster, "quorate")) ? "quorate" : "NO QUORUM");
        json_object_foreach(json_object_get(answer, "nodelist"), name, node)
            print_member(name, node);
    }
    json_decref(answer);
    return EXIT_DONE;
}

int command_guests(const struct context *context, int argc, char **argv)
{
    int code = EXIT_DONE;
    const char *id;
    json_t *guest;
    g_autofree char *node = NULL;
    GOptionEntry entries[] = {
        {"node", 0, 0, G_OPTION_ARG_STRING, &node, "only the guests of this node", "NODE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};

    if (!parse(&argc, &argv, entries, "- list the guests"))
        return EXIT_WRONG_USE;
    json_t *answer = ask(context, ASK_GUESTS, NULL, 0, &code);
    if (!answer)
        return code;
    if (context->json && !node)
        print_json(answer);
    json_object_foreach(json_object_get(answer, "ids"), id, guest)
    {
        const char *where = json_string_value(json_object_get(guest, "node"));
        if ((context->json && !node) || (node && g_strcmp0(node, where) != 0))
            continue;
        if (context->json)
            printf("{\"id\":%s,\"type\":\"%s\"}\n", id,
                   json_string_value(json_object_get(guest, "type")));
        else
            printf("%10s  %-6s  %s\n", id, json_string_value(json_object_get(guest, "type")),
                   where);
    }
    json_decref(answer);
    return EXIT_DONE;
}

static void print_log_entry(json_t *entry)
{
    time_t time = (time_t)json_integer_value(json_object_get(entry, "time"));
    struct tm date;
    char stamp[32];

    localtime_r(&time, &date);
    strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &date);
    printf("%s %s %s %s[%lld]: %s\n", stamp, json_string_value(json_object_get(entry, "node")),
           json_string_value(json_object_get(entry, "user")),
           json_string_value(json_object_get(entry, "tag")),
           json_integer_value(json_object_get(entry, "pid")),
           json_string_value(json_object_get(entry, "msg")));
}

int command_log(const struct context *context, int argc, char **argv)
{
    int code = EXIT_DONE;
    gint lines = 50;
    uint8_t request[17] = {0}; /* max, three unused numbers, an empty user */
    GOptionEntry entries[] = {
        {"lines", 'n', 0, G_OPTION_ARG_INT, &lines, "how many entries at most (50)", "N"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};

    if (!parse(&argc, &argv, entries, "- show the cluster log, oldest first"))
        return EXIT_WRONG_USE;
    put_le32(request, (uint32_t)CLAMP(lines, 1, 100000));
    json_t *answer = ask(context, ASK_LOG, request, sizeof(request), &code);
    if (!answer)
        return code;
    json_t *entries_shown = json_object_get(answer, "data");
    if (context->json)
        print_json(answer);
    for (size_t i = context->json ? 0 : json_array_size(entries_shown); i-- > 0;)
        print_log_entry(json_array_get(entries_shown, i));
    json_decref(answer);
    return EXIT_DONE;
}
