/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the shells' completion asks for: pmxcfsctl --complete WORD... */
#include "ctl/complete.h"

#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"
#include "ctl/guests.h"
#include "ctl/history_common.h"
#include "ctl/kept.h"
#include "ctl/names.h"
#include "ctl/where.h"
#include "history/reader.h"

#define FILES ":files"
#define PATIENCE_MILLISECONDS 1000 /* somebody has pressed Tab */
#define RECORDED_MAX 2000          /* changes that are looked through */

/* What is begun. */
struct begun {
    struct context context;
    const char *prefix;
    const char *word;
};

/* Lines and terminals can carry no control characters: such names are not offered. */
static bool is_line(const char *text)
{
    while (*text && !g_ascii_iscntrl(*text) && !(text[0] == '\xc2' && (guchar)text[1] < 0xa0))
        text++;
    return *text == '\0';
}

static void offer(const struct begun *begun, const char *candidate, const char *description)
{
    g_autofree char *shown = text_printable(description);

    if (g_str_has_prefix(candidate, begun->word) && is_line(candidate))
        printf("%s%s\t%s\n", begun->prefix, candidate, shown);
}

/* --- Options of a command, and their values --- */

static void offer_nodes(const struct begun *begun)
{
    json_t *members = NULL;
    int error;

    if (ask_quietly(&begun->context, ASK_MEMBERS, NULL, 0, &members, &error) != EXIT_DONE)
        return;
    g_autoptr(GPtrArray) names = names_of_nodes(&begun->context);
    json_t *nodes = json_object_get(members, "nodelist");
    for (guint i = 0; i < names->len; i++) {
        const char *name = names->pdata[i];
        json_t *node = json_object_get(nodes, name);
        bool own = strcmp(name, field_text(members, "nodename")) == 0;
        offer(begun, name,
              own                          ? "this node"
              : !node                      ? "no member"
              : field_bool(node, "online") ? "online"
                                           : "offline");
    }
    json_decref(members);
}

static void offer_guests(const struct begun *begun)
{
    int code, error;
    json_t *answer = guests_ask_quietly(&begun->context, &code, &error);
    const char *id;
    json_t *guest;

    json_object_foreach(json_object_get(answer, "ids"), id, guest)
        offer(begun, id, field_text(guest, "node"));
    json_decref(answer);
}

static void offer_locks(const struct begun *begun)
{
    json_t *locks = NULL;
    json_t *lock;
    size_t i;
    int error;

    ask_quietly(&begun->context, ASK_LOCKS, NULL, 0, &locks, &error);
    json_array_foreach(locks, i, lock)
        offer(begun, field_text(lock, "path"), field_bool(lock, "expired") ? "expired" : "held");
    json_decref(locks);
}

static void offer_copies(const struct begun *begun)
{
    int code;
    g_autofree char *state_dir = where_state_dir(&begun->context, NULL, &code);
    g_autoptr(GPtrArray) copies = state_dir ? kept_list(state_dir) : NULL;

    for (guint i = 0; copies && i < copies->len; i++)
        offer(begun, copies->pdata[i], "a safety copy");
}

/* As it is written down so far; NULL: it is not to be had. */
static struct history_reader *open_history(const struct begun *begun)
{
    struct history_reader *reader = NULL;
    g_autofree char *message = NULL;
    int code;
    g_autofree char *directory = where_state_dir(&begun->context, NULL, &code);
    g_autofree char *file = g_build_filename(directory ? directory : "", HISTORY_FILE, NULL);

    return directory && history_open_live(file, &reader, &message) == 0 ? reader : NULL;
}

/* Paths of the history, deleted ones among them. */
static void offer_recorded(const struct begun *begun)
{
    const struct history_filter filter = {.limit = RECORDED_MAX};
    g_autoptr(GHashTable) told = g_hash_table_new(g_str_hash, g_str_equal);
    struct history_reader *reader = open_history(begun);
    GPtrArray *changes = NULL;

    if (!reader)
        return;
    if (history_list(reader, &filter, &changes) == 0) {
        for (guint i = 0; i < changes->len; i++) {
            const struct history_change *change = changes->pdata[i];
            if (*change->path && g_hash_table_add(told, change->path))
                offer(begun, change->path, change->after.exists ? "" : "deleted");
        }
        g_hash_table_remove_all(told);
        g_ptr_array_unref(changes);
    }
    history_close(reader);
}

static void offer_trials(const struct begun *begun)
{
    json_t *trials = NULL;
    json_t *trial;
    size_t i;
    int error;

    ask_quietly(&begun->context, ASK_TRIALS, NULL, 0, &trials, &error);
    json_array_foreach(trials, i, trial)
    {
        g_autofree char *id = g_strdup_printf("%lld", (long long)field_number(trial, "id"));
        g_autofree char *command = field_printable(trial, "command");
        offer(begun, id, command);
    }
    json_decref(trials);
}

/* Those that changed something here. */
static void offer_users(const struct begun *begun)
{
    struct history_reader *reader = open_history(begun);
    GArray *users = NULL;

    if (reader && history_known_users(reader, &users) == 0) {
        for (guint i = 0; i < users->len; i++) {
            g_autofree char *name = history_common_user(g_array_index(users, uint32_t, i));
            offer(begun, name, "changed something here");
        }
        g_array_unref(users);
    }
    history_close(reader);
}

static void offer_moments(const struct begun *begun)
{
    offer(begun, "1h", "an hour ago");
    offer(begun, "1d", "a day ago");
    offer(begun, "today", "its beginning");
    offer(begun, "yesterday", "its beginning");
}

/* By what a table of options calls the value, or a help the arguments. */
static void offer_value(const char *kind, const struct begun *begun)
{
    if (strcmp(kind, "NODE") == 0)
        offer_nodes(begun);
    else if (strstr(kind, "[ID"))
        offer_guests(begun);
    else if (strstr(kind, "[LOCK"))
        offer_locks(begun);
    else if (strstr(kind, "[TRIAL"))
        offer_trials(begun);
    else if (g_str_has_prefix(kind, "COPY"))
        offer_copies(begun);
    else if (g_str_has_suffix(kind, "WHEN"))
        offer_moments(begun);
    else if (strcmp(kind, "LOGIN") == 0)
        offer_users(begun);
    else if (strstr(kind, "PATH"))
        offer_recorded(begun);
    else if (strstr(kind, "FILE") || strstr(kind, "DIR") || strcmp(kind, "A [B]") == 0)
        puts(FILES);
}

static bool is_called(const GOptionEntry *entry, const char *word)
{
    return word[0] == '-' && ((word[1] == '-' && strcmp(word + 2, entry->long_name) == 0) ||
                              (word[1] == entry->short_name && word[1] && !word[2]));
}

static void offer_options(const GOptionEntry *entries, const struct begun *begun)
{
    for (const GOptionEntry *entry = entries; entry && entry->long_name; entry++) {
        g_autofree char *option = g_strconcat("--", entry->long_name, NULL);
        offer(begun, option, entry->description ? entry->description : "");
    }
}

/* The entry whose value comes behind `word`; NULL: it is no option that needs one. */
static const GOptionEntry *find_taking(const GOptionEntry *entries, const char *word)
{
    for (const GOptionEntry *entry = entries; entry && entry->long_name; entry++) {
        if (entry->arg != G_OPTION_ARG_NONE && is_called(entry, word))
            return entry;
    }
    return NULL;
}

void complete_options(const GOptionEntry *entries, const GOptionEntry *common,
                      const char *parameters, char **arguments)
{
    const char *before = arguments[COMPLETE_BEFORE];
    const char *socket = arguments[COMPLETE_SOCKET];
    const struct begun begun = {
        .context = {.socket = *socket ? socket : DEFAULT_SOCKET,
                    .socket_given = *socket,
                    .patience = PATIENCE_MILLISECONDS},
        .prefix = arguments[COMPLETE_PREFIX],
        .word = arguments[COMPLETE_WORD],
    };
    const GOptionEntry *entry = find_taking(entries, before);

    if (!entry)
        entry = find_taking(common, before);
    if (entry) {
        offer_value(entry->arg_description ? entry->arg_description : "", &begun);
    } else if (parameters && begun.word[0] != '-') {
        offer_value(parameters, &begun);
    } else {
        offer_options(entries, &begun);
        offer_options(common, &begun);
    }
}

/* --- Which command --- */

/* How many words of the name the given words begin with; 0: it is not that command. */
static int match(const struct command *command, int count, char **words)
{
    const char *second = strchr(command->name, ' ');
    size_t length = second ? (size_t)(second - command->name) : strlen(command->name);

    if (count < 1 || strlen(words[0]) != length || strncmp(command->name, words[0], length) != 0)
        return 0;
    if (!second)
        return 1;
    return count > 1 && strcmp(second + 1, words[1]) == 0 ? 2 : 0;
}

/* The second words of commands that begin with `first`; with NULL the first words of all. */
static void offer_commands(const struct command *commands, size_t count, const char *first,
                           const struct begun *begun)
{
    g_autoptr(GHashTable) told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (size_t i = 0; i < count; i++) {
        g_auto(GStrv) parts = g_strsplit(commands[i].name, " ", 2);
        const char *candidate = first ? parts[1] : parts[0];
        bool fits = candidate && (!first || strcmp(first, parts[0]) == 0);
        if (!fits || !g_hash_table_add(told, g_strdup(candidate)))
            continue;
        offer(begun, candidate,
              first || !parts[1]              ? commands[i].help
              : strcmp(parts[0], "kept") == 0 ? "work on safety copies"
                                              : "work on a database file");
    }
}

static void offer_global_options(const struct begun *begun)
{
    offer(begun, "--socket-name", "the daemon's socket");
    offer(begun, "--json", "output to be parsed");
    offer(begun, "--help", "this help");
    offer(begun, "--version", "the version");
}

/* The words as if nobody had written a "=": "--from" "=" "x" and "--from=x" both become two. The
 * last one stays, if it is "--from=x", and only loses what *prefix is then. */
static GPtrArray *split(int count, char **words, char **prefix)
{
    GPtrArray *all = g_ptr_array_new_with_free_func(g_free);

    *prefix = g_strdup("");
    for (int i = 0; i < count; i++) {
        const char *equals = g_str_has_prefix(words[i], "--") ? strchr(words[i], '=') : NULL;
        if (equals) {
            g_ptr_array_add(all, g_strndup(words[i], (gsize)(equals - words[i])));
            g_ptr_array_add(all, g_strdup(equals + 1));
            if (i + 1 == count) {
                g_free(*prefix);
                *prefix = g_strndup(words[i], (gsize)(equals + 1 - words[i]));
            }
        } else if (strcmp(words[i], "=") != 0) {
            g_ptr_array_add(all, g_strdup(words[i]));
        } else if (i + 1 == count) {
            g_ptr_array_add(all, g_strdup(""));
        }
    }
    return all;
}

/* Takes the options of all commands out of the complete words, wherever they stand, and finds the
 * socket; gives how many words are left. */
static int take_common(const char **socket, int count, char **words)
{
    int kept = 0;

    for (int i = 0; i < count; i++) {
        if (strcmp(words[i], "--socket-name") == 0 && i + 1 < count)
            *socket = words[++i];
        else if (strcmp(words[i], "--json") != 0)
            words[kept++] = words[i];
    }
    return kept;
}

void complete(const struct command *commands, size_t count, const struct context *context,
              int word_count, char **given)
{
    g_autofree char *prefix = NULL;
    g_autoptr(GPtrArray) all = split(word_count, given, &prefix);
    g_autofree char **words = g_memdup2(all->pdata, all->len * sizeof(char *));
    const char *socket = context->socket_given ? context->socket : "";
    char *word = words[all->len - 1];
    const char *previous = all->len > 1 ? words[all->len - 2] : "";
    int before = take_common(&socket, (int)all->len - 1, words);
    const struct begun begun = {.context = *context, .prefix = prefix, .word = word};
    const struct command *command = NULL;
    char **at = words;
    int length = 0;

    if (strcmp(previous, "--socket-name") == 0)
        return;
    if (before > 0 && strcmp(words[0], "help") == 0 && word[0] != '-') {
        at++; /* what follows is a command */
        before--;
    }
    for (size_t i = 0; i < count; i++) {
        int matched = match(&commands[i], before, at);
        if (matched > length) {
            command = &commands[i];
            length = matched;
        }
    }
    if (before == 0 && word[0] == '-')
        offer_global_options(&begun);
    else if (before == 0)
        offer_commands(commands, count, NULL, &begun);
    else if (before == 1)
        offer_commands(commands, count, at[0], &begun);
    if (!command || at != words)
        return;
    char *arguments[COMPLETE_COUNT + 1] = {
        [COMPLETE_NAME] = at[0],
        [COMPLETE_MARK] = (char *)COMPLETE_MARK_TEXT,
        [COMPLETE_SOCKET] = (char *)socket,
        [COMPLETE_BEFORE] = (char *)previous,
        [COMPLETE_PREFIX] = prefix,
        [COMPLETE_WORD] = word,
    };
    command->run(context, COMPLETE_COUNT, arguments);
}
