/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the shells' completion asks for: pmxcfsctl --complete WORD... */
#include "ctl/complete.h"

#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"

#define FILES ":files"

static void offer(const char *candidate, const char *description, const char *word)
{
    if (g_str_has_prefix(candidate, word))
        printf("%s\t%s\n", candidate, description);
}

/* --- Options of a command, and their values --- */

static void offer_nodes(const char *socket, const char *word)
{
    const struct context context = {.socket = socket};
    json_t *members = NULL;
    const char *name;
    json_t *node;
    int error;

    if (ask_quietly(&context, ASK_MEMBERS, NULL, 0, &members, &error) != EXIT_DONE)
        return;
    json_object_foreach(json_object_get(members, "nodelist"), name, node)
        offer(name, field_bool(node, "online") ? "online" : "offline", word);
    if (!json_object_get(members, "nodelist"))
        offer(field_text(members, "nodename"), "this node", word);
    json_decref(members);
}

/* By what a table of options calls the value. */
static void offer_value(const char *kind, const char *socket, const char *word)
{
    if (strcmp(kind, "NODE") == 0)
        offer_nodes(socket, word);
    else if (strstr(kind, "FILE") || strstr(kind, "DIR"))
        puts(FILES);
}

static bool is_called(const GOptionEntry *entry, const char *word)
{
    return word[0] == '-' && ((word[1] == '-' && strcmp(word + 2, entry->long_name) == 0) ||
                              (word[1] == entry->short_name && word[1] && !word[2]));
}

static void offer_options(const GOptionEntry *entries, const char *word)
{
    bool has_json = false;

    for (const GOptionEntry *entry = entries; entry && entry->long_name; entry++) {
        g_autofree char *option = g_strconcat("--", entry->long_name, NULL);
        offer(option, entry->description ? entry->description : "", word);
        has_json = has_json || strcmp(entry->long_name, "json") == 0;
    }
    if (!has_json)
        offer("--json", "output to be parsed", word);
    offer("--help", "what the command does", word);
}

void complete_options(const GOptionEntry *entries, const char *parameters, char **arguments)
{
    const char *word = arguments[COMPLETE_WORD];

    for (const GOptionEntry *entry = entries; entry && entry->long_name; entry++) {
        if (entry->arg == G_OPTION_ARG_NONE || !is_called(entry, arguments[COMPLETE_BEFORE]))
            continue;
        offer_value(entry->arg_description ? entry->arg_description : "",
                    arguments[COMPLETE_SOCKET], word);
        return;
    }
    if (parameters && word[0] != '-')
        puts(FILES); /* nothing else is an argument of a command */
    else
        offer_options(entries, word);
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
                           const char *word)
{
    g_autoptr(GHashTable) told = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    for (size_t i = 0; i < count; i++) {
        g_auto(GStrv) parts = g_strsplit(commands[i].name, " ", 2);
        const char *candidate = first ? parts[1] : parts[0];
        bool fits = candidate && (!first || strcmp(first, parts[0]) == 0);
        if (!fits || !g_hash_table_add(told, g_strdup(candidate)))
            continue;
        offer(candidate, first || !parts[1] ? commands[i].help : "work on a database file", word);
    }
}

static void offer_global_options(const char *word)
{
    offer("--socket-name", "the daemon's socket", word);
    offer("--json", "output to be parsed", word);
    offer("--help", "this help", word);
    offer("--version", "the version", word);
}

/* Skips the options before the command; gives how many words that are. */
static int skip_global(const char **socket, int count, char **words)
{
    int i = 0;

    while (i < count && words[i][0] == '-') {
        if (strcmp(words[i], "--socket-name") == 0 && i + 1 < count)
            *socket = words[++i];
        i++;
    }
    return i;
}

void complete(const struct command *commands, size_t count, const char *socket, int word_count,
              char **words)
{
    char *word = words[word_count - 1];
    int before = word_count - 1; /* words that are complete */
    int skipped = skip_global(&socket, before, words);
    const struct command *command = NULL;
    int length = 0;

    if (before > 0 && skipped == before && strcmp(words[before - 1], "--socket-name") == 0)
        return;
    for (size_t i = 0; i < count; i++) {
        int matched = match(&commands[i], before - skipped, words + skipped);
        if (matched > length) {
            command = &commands[i];
            length = matched;
        }
    }
    if (before == skipped && word[0] == '-')
        offer_global_options(word);
    else if (before == skipped)
        offer_commands(commands, count, NULL, word);
    else if (before == skipped + 1)
        offer_commands(commands, count, words[skipped], word);
    if (!command)
        return;
    char *arguments[COMPLETE_COUNT + 1] = {
        [COMPLETE_NAME] = words[skipped],
        [COMPLETE_MARK] = (char *)COMPLETE_MARK_TEXT,
        [COMPLETE_SOCKET] = (char *)socket,
        [COMPLETE_BEFORE] = words[before - 1],
        [COMPLETE_WORD] = word,
    };
    command->run(&(struct context){.socket = socket}, COMPLETE_COUNT, arguments);
}
