/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The options of pmxcfsctl's commands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/commands.h"
#include "ctl/complete.h"
#include "ctl/suggest.h"

/* What the word names, if it is a long option: "lines" of "--lines=3"; g_free() it. */
static char *long_name(const char *word)
{
    return g_str_has_prefix(word, "--") ? g_strndup(word + 2, strcspn(word + 2, "=")) : NULL;
}

static bool is_among(const GPtrArray *names, const char *name)
{
    for (guint i = 0; i < names->len; i++) {
        if (strcmp(names->pdata[i], name) == 0)
            return true;
    }
    return false;
}

static void add_names(GPtrArray *names, const GOptionEntry *entries)
{
    for (const GOptionEntry *entry = entries; entry && entry->long_name; entry++)
        g_ptr_array_add(names, (gpointer)entry->long_name);
}

/* Behind the message of an unknown option: which one was meant; g_free() it. */
static char *meant(const GOptionEntry *entries, const GOptionEntry *common, GStrv words)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    add_names(names, entries);
    add_names(names, common);
    for (char **word = words; *word && strcmp(*word, "--") != 0; word++) {
        g_autofree char *name = long_name(*word);
        const char *nearest = name && !is_among(names, name) ? suggest(name, names) : NULL;
        if (nearest)
            return g_strdup_printf("; did you mean --%s?", nearest);
    }
    return g_strdup("");
}

/* GLib's texts have an ellipsis and quotation marks that not every terminal can show; g_free() it.
 */
static char *make_plain(const char *text)
{
    static const struct {
        const char *sign;
        const char *plain;
    } signs[] = {{"\u2026", "..."}, {"\u201c", "'"}, {"\u201d", "'"}};
    char *plain = g_strdup(text);

    for (size_t i = 0; i < G_N_ELEMENTS(signs); i++) {
        g_auto(GStrv) parts = g_strsplit(plain, signs[i].sign, -1);
        g_free(plain);
        plain = g_strjoinv(signs[i].plain, parts);
    }
    return plain;
}

static void complain(const GError *problem, const char *hint, bool is_missing)
{
    g_autofree char *message = problem ? make_plain(problem->message) : NULL;

    fprintf(stderr, "error: %s%s\nTry %s --help.\n",
            message      ? message
            : is_missing ? "something is missing"
                         : "too many arguments",
            hint, g_get_prgname());
}

static void print_help(GOptionContext *options)
{
    g_autofree char *help = g_option_context_get_help(options, TRUE, NULL);
    g_autofree char *plain = make_plain(help);

    fputs(plain, stdout);
}

/* GLib takes what is called a string for text in the locale's encoding, which is that of no locale
 * here, and refuses all but ASCII. Names and paths are bytes; g_free() it. */
static GOptionEntry *take_bytes(const GOptionEntry *entries)
{
    size_t count = 0;

    while (entries[count].long_name)
        count++;
    GOptionEntry *taken = g_memdup2(entries, (count + 1) * sizeof(*entries));
    for (size_t i = 0; i < count; i++) {
        if (taken[i].arg == G_OPTION_ARG_STRING)
            taken[i].arg = G_OPTION_ARG_FILENAME;
    }
    return taken;
}

bool command_parse(int *argc, char ***argv, const GOptionEntry *entries, const char *parameters,
                   const char *summary, int least, int most)
{
    gboolean help = FALSE;
    gboolean json = FALSE;
    g_autofree char *socket = NULL;
    /* The first two were taken out before (main.c), and stand here for the help. */
    const GOptionEntry common[] = {
        {"json", 0, 0, G_OPTION_ARG_NONE, &json, "output to be parsed", NULL},
        {"socket-name", 0, 0, G_OPTION_ARG_STRING, &socket,
         "the daemon's socket ($" SOCKET_VARIABLE ", " DEFAULT_SOCKET ")", "NAME"},
        {"help", 'h', 0, G_OPTION_ARG_NONE, &help, "this help", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    g_autoptr(GError) problem = NULL;

    if (*argc == COMPLETE_COUNT && strcmp((*argv)[COMPLETE_MARK], COMPLETE_MARK_TEXT) == 0) {
        complete_options(entries, common, parameters, *argv);
        return false;
    }
    g_autoptr(GOptionContext) options = g_option_context_new(parameters);
    g_auto(GStrv) words = g_strdupv(*argv);
    g_option_context_set_help_enabled(options, FALSE);
    g_option_context_set_summary(options, summary);
    g_autofree GOptionEntry *taken = entries ? take_bytes(entries) : NULL;
    if (taken)
        g_option_context_add_main_entries(options, taken, NULL);
    g_option_context_add_main_entries(options, common, NULL);
    bool parsed = g_option_context_parse(options, argc, argv, &problem);
    if (parsed && help) {
        print_help(options);
        exit(EXIT_DONE);
    }
    /* GLib leaves it before a word that begins with a dash. */
    if (parsed && *argc > 1 && strcmp((*argv)[1], "--") == 0) {
        for (int i = 1; i < *argc; i++)
            (*argv)[i] = (*argv)[i + 1];
        (*argc)--;
    }
    int count = *argc - 1;
    if (parsed && count >= least && count <= most)
        return true;
    bool unknown = g_error_matches(problem, G_OPTION_ERROR, G_OPTION_ERROR_UNKNOWN_OPTION);
    g_autofree char *hint = unknown ? meant(entries, common, words + 1) : g_strdup("");
    complain(problem, hint, count < least);
    return false;
}
