/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl members, versions: what the daemon tells, for people or as JSON. */
#include <stdio.h>

#include "ctl/ask.h"
#include "ctl/terminal.h"

int command_versions(const struct context *context, int argc, char **argv)
{
    int code;

    if (!command_parse(&argc, &argv, NULL, NULL, "Show the counters that clients poll.", 0, 0))
        return EXIT_WRONG_USE;
    json_t *answer = ask(context, ASK_VERSIONS, NULL, 0, &code);
    if (answer)
        print_json(answer);
    json_decref(answer);
    return code;
}

static void print_member(const char *name, json_t *node)
{
    bool online = field_bool(node, "online");
    g_autofree char *shown = text_printable(name);
    g_autofree char *ip = field_printable(node, "ip");

    printf("%-24s %5lld  %s%-8s%s %s\n", shown, (long long)field_number(node, "id"),
           online ? "" : colour_begin(stdout, COLOUR_RED), online ? "online" : "offline",
           online ? "" : colour_end(stdout), ip);
}

int command_members(const struct context *context, int argc, char **argv)
{
    int code;
    const char *name;
    json_t *node;

    if (!command_parse(&argc, &argv, NULL, NULL, "Show the nodes of the cluster.", 0, 0))
        return EXIT_WRONG_USE;
    json_t *answer = ask(context, ASK_MEMBERS, NULL, 0, &code);
    if (!answer)
        return code;
    json_t *cluster = json_object_get(answer, "cluster");
    if (context->json) {
        print_json(answer);
    } else if (!cluster) {
        g_autofree char *node_name = field_printable(answer, "nodename");
        printf("node %s, no cluster\n", node_name);
    } else {
        g_autofree char *cluster_name = field_printable(cluster, "name");
        printf("cluster %s, %s\n", cluster_name,
               field_bool(cluster, "quorate") ? "quorate" : "NO QUORUM");
        json_object_foreach(json_object_get(answer, "nodelist"), name, node)
            print_member(name, node);
    }
    json_decref(answer);
    return EXIT_DONE;
}
