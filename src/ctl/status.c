/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl status: how this node and the cluster are. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/doctor.h"
#include "ctl/terminal.h"

#define PAUSE_DEFAULT "2" /* seconds */
#define PAUSE_MIN 0.1
#define PAUSE_MAX 3600.0

/* Prints `good` or, in red, `bad`. */
static void print_judged(bool is_good, const char *good, const char *bad)
{
    if (is_good)
        fputs(good, stdout);
    else
        printf("%s%s%s", colour_begin(stdout, COLOUR_RED), bad, colour_end(stdout));
}

/* --- Parts --- */

static bool is_in_sync(json_t *overview)
{
    return field_bool(overview, "joined") && strcmp(field_text(overview, "state"), "in sync") == 0;
}

static bool is_well(json_t *overview)
{
    return field_bool(overview, "quorate") && is_in_sync(overview) &&
           field_bool(overview, "database_ok");
}

/* With --acknowledge=all: whose confirmation a change is answered without. */
static void print_answers(json_t *overview)
{
    g_autoptr(GPtrArray) unable =
        doctor_names_without(json_object_get(overview, "group"), "confirms");
    g_autofree char *list = unable->len > 0 ? doctor_list(unable) : NULL;
    g_autofree char *bad =
        g_strdup_printf("WITHOUT %s, which cannot confirm: what it has is not known", list);

    fputs("answers    ", stdout);
    print_judged(!list, "when all members have confirmed a change", bad);
    putchar('\n');
}

static void print_node(json_t *overview)
{
    g_autofree char *started = db_time_shown((uint32_t)field_number(overview, "started"));
    g_autofree char *quorate = db_time_shown((uint32_t)field_number(overview, "quorate_since"));
    g_autofree char *state = db_time_shown((uint32_t)field_number(overview, "state_since"));
    g_autofree char *node = field_printable(overview, "node");
    g_autofree char *release = field_printable(overview, "release");
    g_autofree char *mountpoint = field_printable(overview, "mountpoint");
    g_autofree char *sync = field_printable(overview, "state");

    printf("node       %s%s%s, pmxcfs %s at %s, since %s\n", colour_begin(stdout, COLOUR_BOLD),
           node, colour_end(stdout), release, mountpoint, started);
    fputs("quorum     ", stdout);
    print_judged(field_bool(overview, "quorate"), "yes", "NO: this node is read-only");
    printf(", since %s\n", quorate);
    fputs("state      ", stdout);
    print_judged(is_in_sync(overview), "in sync", sync);
    printf(", since %s\ndatabase   ", state);
    print_judged(field_bool(overview, "database_ok"), "takes writes",
                 "TAKES NO WRITES: look for a full, read-only or failing disk");
    putchar('\n');
    if (strcmp(field_text(overview, "acknowledge"), "all") == 0)
        print_answers(overview);
}

/* The member of the group with that node id; NULL: it is not in the group. */
static json_t *find_in_group(json_t *overview, json_int_t id)
{
    json_t *group = json_object_get(overview, "group");
    json_t *member;
    size_t i;

    json_array_foreach(group, i, member)
    {
        if (field_number(member, "id") == id)
            return member;
    }
    return NULL;
}

/* Of an older daemon that does not tell, it is assumed. */
static bool is_connected(json_t *overview)
{
    return !json_is_false(json_object_get(overview, "connected"));
}

static void print_member(json_t *overview, const char *name, json_t *node)
{
    json_t *member = find_in_group(overview, field_number(node, "id"));
    bool online = field_bool(node, "online");
    bool synced = member && field_bool(member, "in_sync");
    bool own = strcmp(name, field_text(overview, "node")) == 0;
    g_autofree char *shown = text_printable(name);
    g_autofree char *ip = field_printable(node, "ip");

    printf("  %-24s %5lld  ", shown, (long long)field_number(node, "id"));
    print_judged(online, "online ", "offline");
    fputs("  ", stdout);
    print_judged(synced, "in sync    ", member ? "not in sync" : "-          ");
    printf("  %s%s\n", ip, own ? "  (this node)" : "");
}

/* Of a host without a cluster. */
static void print_old_name(json_t *overview)
{
    g_autofree char *old = field_printable(overview, "old_name");

    if (!json_is_string(json_object_get(overview, "old_name")))
        return;
    fputs("name       ", stdout);
    print_judged(false, "", "ALL GUESTS ARE UNDER ANOTHER NAME");
    printf(": %s. Was the host renamed? 'local' leads to none\n           of them; give it that "
           "name again, or see 'pmxcfsctl doctor'\n",
           old);
}

/* Those who tell of one release; `release` NULL: those who tell of none. */
static char *names_of_release(json_t *group, const char *release)
{
    GString *names = g_string_new(NULL);
    json_t *member;
    size_t i;

    json_array_foreach(group, i, member)
    {
        const char *told = json_string_value(json_object_get(member, "release"));
        g_autofree char *name = field_printable(member, "name");
        g_autofree char *host = field_printable(member, "host_version");
        if (g_strcmp0(told, release) != 0)
            continue;
        g_string_append_printf(names, "%s%s", names->len ? ", " : "", name);
        if (!told && json_is_string(json_object_get(member, "host_version")))
            g_string_append_printf(names, " (host %s)", host);
    }
    return g_string_free(names, names->len == 0);
}

/* Which member runs what, as far as they tell. */
static void print_releases(json_t *overview)
{
    json_t *group = json_object_get(overview, "group");
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    g_autofree char *silent = names_of_release(group, NULL);
    json_t *member;
    size_t i;

    fputs("releases   ", stdout);
    json_array_foreach(group, i, member)
    {
        const char *release = json_string_value(json_object_get(member, "release"));
        if (!release || !g_hash_table_add(seen, (char *)release))
            continue;
        g_autofree char *names = names_of_release(group, release);
        g_autofree char *shown = text_printable(release);
        printf("%spmxcfs %s: %s", g_hash_table_size(seen) > 1 ? "; " : "", shown, names);
    }
    if (silent)
        printf("%snot told by %s: another implementation, or an older release",
               g_hash_table_size(seen) > 0 ? "; " : "", silent);
    putchar('\n');
}

static void print_members(json_t *overview, json_t *members)
{
    json_t *cluster = json_object_get(members, "cluster");
    json_t *nodes = json_object_get(members, "nodelist");
    g_autofree char *cluster_name = field_printable(cluster, "name");
    size_t online = 0;
    const char *name;
    json_t *node;

    if (field_bool(overview, "local")) {
        puts("cluster    none (local mode)");
        print_old_name(overview);
        return;
    }
    if (!is_connected(overview)) {
        printf("cluster    %s, ", cluster_name);
        print_judged(false, "", "COROSYNC IS NOT RUNNING, or does not answer");
        puts("; of the other nodes nothing is known.\n           See 'systemctl status corosync' "
             "and 'journalctl -u corosync'");
        return;
    }
    if (json_object_size(nodes) > 0 && !json_object_get(nodes, field_text(overview, "node"))) {
        fputs("name       ", stdout);
        print_judged(false, "", "NO NODE OF THE CLUSTER HAS THIS HOST'S NAME");
        puts(": was it renamed? 'local' leads nowhere, and\n           guests stay under the old "
             "name; give it that name again, or see 'pmxcfsctl doctor'");
    }
    json_object_foreach(nodes, name, node) online += field_bool(node, "online");
    printf("cluster    %s, %zu of %zu %s online\n", cluster_name, online, json_object_size(nodes),
           json_object_size(nodes) == 1 ? "node" : "nodes");
    json_object_foreach(nodes, name, node) print_member(overview, name, node);
    if (json_array_size(json_object_get(overview, "group")) > 0)
        print_releases(overview);
    if (!field_bool(overview, "quorate"))
        printf("way out    start the nodes that are missing. If they are switched off for good: "
               "'pvecm expected %zu'.\n           NEVER while they may still run: two halves would "
               "change the cluster apart (split brain)\n",
               MAX(online, 1));
}

static void print_limit(const char *what, json_t *limit, bool is_size)
{
    json_int_t used = field_number(limit, "used");
    json_int_t most = field_number(limit, "limit");
    g_autofree char *used_text =
        is_size ? db_size_shown((uint64_t)used) : g_strdup_printf("%lld", (long long)used);
    g_autofree char *most_text =
        is_size ? db_size_shown((uint64_t)most) : g_strdup_printf("%lld", (long long)most);
    g_autofree char *share = g_strdup_printf("%lld %%", (long long)(most ? used * 100 / most : 0));

    printf("%-10s %s of %s, ", what, used_text, most_text);
    print_judged(used * 10 < most * 9, share, share);
    putchar('\n');
}

static void print_sizes(json_t *overview)
{
    json_t *sizes = json_object_get(overview, "sizes");
    const char *separator = "files      ";
    const char *name;
    json_t *bytes;

    print_limit("content", json_object_get(sizes, "content"), true);
    print_limit("entries", json_object_get(sizes, "entries"), false);
    json_object_foreach(json_object_get(sizes, "database"), name, bytes)
    {
        g_autofree char *size = db_size_shown((uint64_t)json_integer_value(bytes));
        printf("%s%s %s", separator, name, size);
        separator = ", ";
    }
    printf("\nguests     %lld\nlocks      %lld\n", (long long)field_number(overview, "guests"),
           (long long)field_number(overview, "locks"));
}

/* An older daemon tells nothing of it. */
static void print_history(json_t *overview)
{
    json_t *history = json_object_get(overview, "history");
    json_int_t complete = field_number(history, "complete");
    json_int_t left_out = field_number(history, "left_out");

    if (!history)
        return;
    fputs("history    ", stdout);
    if (json_is_null(history)) {
        puts("none is written (--history-size)");
        return;
    }
    g_autofree char *size = db_size_shown((uint64_t)field_number(history, "bytes"));
    g_autofree char *since = complete > 0 ? db_time_shown((uint32_t)complete) : NULL;
    printf("%s, %s%s", size, since ? "complete since " : "not begun yet", since ? since : "");
    if (left_out > 0)
        printf(", %lld changes left out", (long long)left_out);
    print_judged(!field_bool(history, "failing"), "", "; CANNOT BE WRITTEN: see the log");
    putchar('\n');
}

static void print_queues(json_t *overview)
{
    const char *separator = "queues     ";
    const char *name;
    json_t *length;
    bool any = false;

    json_object_foreach(json_object_get(overview, "queues"), name, length)
    {
        if (json_integer_value(length) == 0)
            continue;
        printf("%s%s %lld", separator, name, (long long)json_integer_value(length));
        separator = ", ";
        any = true;
    }
    puts(any ? "" : "queues     all empty");
}

static void print_rest(json_t *overview)
{
    json_t *versions = json_object_get(overview, "versions");
    json_t *clients = json_object_get(overview, "clients");
    json_t *verification = json_object_get(overview, "verification");

    printf("clients    %lld, of which %lld hear the change feed\n",
           (long long)field_number(clients, "connections"),
           (long long)field_number(clients, "subscribers"));
    printf("versions   tree %lld, clinfo %lld, vmlist %lld\n",
           (long long)field_number(versions, "tree"), (long long)field_number(versions, "clinfo"),
           (long long)field_number(versions, "vmlist"));
    if (field_number(verification, "time") == 0)
        return;
    g_autofree char *time = db_time_shown((uint32_t)field_number(verification, "time"));
    g_autofree char *equal =
        db_count_shown((uint64_t)field_number(verification, "equal"), "time", "times");
    g_autofree char *different =
        db_count_shown((uint64_t)field_number(verification, "different"), "time", "times");
    printf("verified   %s equal, %s different; last at %s, version %lld\n", equal, different, time,
           (long long)field_number(verification, "version"));
}

/* --- The command --- */

/* Asks for both answers, and puts the members into the overview; NULL with *code set. */
static json_t *ask_all(const struct context *context, int *code)
{
    json_t *overview = ask(context, ASK_OVERVIEW, NULL, 0, code);
    json_t *members = overview ? ask(context, ASK_MEMBERS, NULL, 0, code) : NULL;

    if (!members) {
        json_decref(overview);
        return NULL;
    }
    json_object_set_new(overview, "members", members);
    *code = is_well(overview) ? EXIT_DONE : EXIT_FOUND;
    return overview;
}

static void print_all(json_t *overview)
{
    print_node(overview);
    print_members(overview, json_object_get(overview, "members"));
    print_sizes(overview);
    print_history(overview);
    print_queues(overview);
    print_rest(overview);
}

/* What the doctor finds worst, if it finds anything; only root may look. */
static void print_worst(const struct context *context)
{
    const struct doctor_options options = {0};
    struct doctor doctor;

    if (geteuid() != 0)
        return;
    doctor_examine(&doctor, context, &options, true);
    g_autofree char *worst = doctor_first_line(&doctor);
    if (worst)
        printf("doctor     %s%s%s (pmxcfsctl doctor)\n", colour_begin(stdout, COLOUR_YELLOW), worst,
               colour_end(stdout));
    doctor_clear(&doctor);
}

/* Until the reader of our output goes away, somebody interrupts us, or presses q. */
static void watch(const struct context *context, double seconds)
{
    bool terminal = isatty(STDOUT_FILENO);

    do {
        int code;
        json_t *overview = ask_all(context, &code);
        if (overview && context->json) {
            print_json_line(overview);
        } else if (overview) {
            fputs(terminal ? CLEAR_SCREEN : "", stdout);
            print_all(overview);
            fputs(terminal ? "" : "\n", stdout);
        }
        fflush(stdout);
        json_decref(overview);
    } while (!ferror(stdout) && terminal_pause(seconds));
}

/* GLib knows no option whose value may be left out: gives it the usual one. */
static void complete_watch(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool has_value = i + 1 < argc && g_ascii_isdigit(*argv[i + 1]);
        if ((strcmp(argv[i], "--watch") == 0 || strcmp(argv[i], "-w") == 0) && !has_value)
            argv[i] = (char *)"--watch=" PAUSE_DEFAULT;
    }
}

int command_status(const struct context *context, int argc, char **argv)
{
    double seconds = NAN; /* not given */
    const GOptionEntry entries[] = {
        {"watch", 'w', 0, G_OPTION_ARG_DOUBLE, &seconds,
         "show it again every 2 seconds, or as many as are given; q ends it", "[SECONDS]"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    complete_watch(argc, argv);
    if (!command_parse(
            &argc, &argv, entries, NULL,
            "Show how this node and the cluster are.\nThe exit code is 4 without quorum, "
            "while this node is not in sync, and while its database takes no writes.",
            0, 0))
        return EXIT_WRONG_USE;
    if (!isnan(seconds) && !(seconds >= PAUSE_MIN && seconds <= PAUSE_MAX)) {
        fputs("error: --watch takes 0.1 to 3600 seconds\n", stderr);
        return EXIT_WRONG_USE;
    }
    if (!isnan(seconds)) {
        watch(context, seconds);
        return EXIT_DONE;
    }
    json_t *overview = ask_all(context, &code);
    if (overview && context->json)
        print_json(overview);
    else if (overview)
        print_all(overview);
    if (overview && !context->json)
        print_worst(context);
    json_decref(overview);
    return code;
}
