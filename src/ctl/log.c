/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl log: the cluster log, and what is added to it. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "ctl/ask.h"
#include "ctl/names.h"
#include "ctl/terminal.h"

#define LINES_DEFAULT 50
#define LINES_MAX 100000
#define FOLLOWED 1000 /* entries that are looked at each time: more cannot come in a second */
#define PAUSE_MICROSECONDS 1000000u
#define PRIORITY_WARNING 4

/* What is wanted of the log. */
struct choice {
    int lines;
    bool follow;
    char *user; /* NULL: all users */
    char *node; /* NULL: of all nodes */
};

/* Takes away what was not asked for, which the daemon cannot choose. */
static void keep_wanted(json_t *answer, const struct choice *choice, int lines)
{
    json_t *entries = json_object_get(answer, "data");

    for (size_t i = json_array_size(entries); choice->node && i-- > 0;) {
        if (strcmp(field_text(json_array_get(entries, i), "node"), choice->node) != 0)
            json_array_remove(entries, i);
    }
    for (size_t i = json_array_size(entries); i-- > (size_t)lines;)
        json_array_remove(entries, i);
}

/* The newest `lines` entries that are wanted, the newest first. */
static json_t *ask_entries(const struct context *context, const struct choice *choice, int lines,
                           int *code, int *error)
{
    const char *user = choice->user ? choice->user : "";
    g_autoptr(GByteArray) request = g_byte_array_new();
    uint8_t numbers[16] = {0}; /* how many, and three that are not used */
    json_t *answer = NULL;

    put_le32(numbers, (uint32_t)(choice->node ? LINES_MAX : lines));
    g_byte_array_append(request, numbers, sizeof(numbers));
    g_byte_array_append(request, (const guint8 *)user, (guint)strlen(user) + 1);
    *code = ask_quietly(context, ASK_LOG, request->data, request->len, &answer, error);
    keep_wanted(answer, choice, lines);
    return answer;
}

static void print_entry(const struct context *context, json_t *entry)
{
    time_t time = (time_t)field_number(entry, "time");
    bool bad = field_number(entry, "pri") < PRIORITY_WARNING;
    struct tm date;
    char stamp[32];

    if (context->json) {
        print_json_line(entry);
        return;
    }
    g_autofree char *node = field_printable(entry, "node");
    g_autofree char *user = field_printable(entry, "user");
    g_autofree char *tag = field_printable(entry, "tag");
    g_autofree char *message = field_printable(entry, "msg");
    localtime_r(&time, &date);
    strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &date);
    printf("%s %s %s %s[%lld]: %s%s%s\n", stamp, node, user, tag,
           (long long)field_number(entry, "pid"), bad ? colour_begin(stdout, COLOUR_RED) : "",
           message, bad ? colour_end(stdout) : "");
}

/* What tells an entry from all others: a process of a node gives each number once. */
static char *entry_key(json_t *entry)
{
    return g_strdup_printf("%lld %lld %s", (long long)field_number(entry, "time"),
                           (long long)field_number(entry, "uid"), field_text(entry, "node"));
}

/* Prints those of the answer that are not among `seen` (NULL: all), oldest first; gives the keys of
 * all. */
static GHashTable *print_new(const struct context *context, json_t *answer, GHashTable *seen)
{
    GHashTable *keys = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    json_t *entries = json_object_get(answer, "data");

    for (size_t i = json_array_size(entries); i-- > 0;) {
        json_t *entry = json_array_get(entries, i);
        char *key = entry_key(entry);
        if (!seen || !g_hash_table_contains(seen, key))
            print_entry(context, entry);
        g_hash_table_add(keys, key);
    }
    fflush(stdout);
    return keys;
}

/* Prints what comes, also beyond a restart of the daemon, until the reader of our output goes away.
 */
static int follow(const struct context *context, const struct choice *choice)
{
    int code, error;
    bool absent = false;
    json_t *answer = ask_entries(context, choice, FOLLOWED, &code, &error);

    if (!answer) {
        ask_complain(context, code, error);
        return code;
    }
    /* Those before the newest `lines` are as good as printed. */
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    json_t *entries = json_object_get(answer, "data");
    for (size_t i = (size_t)choice->lines; i < json_array_size(entries); i++)
        g_hash_table_add(seen, entry_key(json_array_get(entries, i)));
    while (!ferror(stdout)) {
        if (answer) {
            GHashTable *keys = print_new(context, answer, seen);
            g_hash_table_unref(seen);
            seen = keys;
            absent = false;
        } else if (!absent) {
            ask_complain(context, code, error);
            absent = true;
        }
        json_decref(answer);
        g_usleep(PAUSE_MICROSECONDS);
        answer = ask_entries(context, choice, FOLLOWED, &code, &error);
    }
    json_decref(answer);
    return EXIT_DONE;
}

static int show(const struct context *context, const struct choice *choice)
{
    int code, error;

    if (choice->node && !names_check_node(context, choice->node, &code))
        return code;
    if (choice->follow)
        return follow(context, choice);
    json_t *answer = ask_entries(context, choice, choice->lines, &code, &error);
    if (!answer) {
        ask_complain(context, code, error);
        return code;
    }
    if (context->json)
        print_json(answer);
    else
        g_hash_table_unref(print_new(context, answer, NULL));
    json_decref(answer);
    return EXIT_DONE;
}

int command_log(const struct context *context, int argc, char **argv)
{
    gboolean following = FALSE;
    struct choice choice = {.lines = LINES_DEFAULT};
    const GOptionEntry entries[] = {
        {"lines", 'n', 0, G_OPTION_ARG_INT, &choice.lines, "how many entries at most (50)", "N"},
        {"follow", 'f', 0, G_OPTION_ARG_NONE, &following, "go on with what is added", NULL},
        {"node", 0, 0, G_OPTION_ARG_STRING, &choice.node, "only entries of this node", "NODE"},
        {"user", 'u', 0, G_OPTION_ARG_STRING, &choice.user, "only entries of this user", "USER"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code = EXIT_WRONG_USE;

    if (!command_parse(&argc, &argv, entries, NULL,
                       "Show the cluster log, oldest first. As JSON: one object; with --follow one "
                       "for each entry.",
                       0, 0))
        ;
    else if (choice.lines < 1 || choice.lines > LINES_MAX)
        fprintf(stderr, "error: -n takes 1 to %d entries, not %d\n", LINES_MAX, choice.lines);
    else {
        choice.follow = following;
        code = show(context, &choice);
    }
    g_free(choice.user);
    g_free(choice.node);
    return code;
}
