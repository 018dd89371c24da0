/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl: the tool for those who run pmxcfs. */
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/standard.h"
#include "ctl/commands.h"
#include "ctl/complete.h"
#include "ctl/suggest.h"

static int command_help(const struct context *context, int argc, char **argv);

static const struct command commands[] = {
    {"audit", "[--user LOGIN] [--path PATH]", "show who had what changed on this node",
     command_audit},
    {"backup", "[--database FILE] FILE", "copy the database, also while pmxcfs runs",
     command_backup},
    {"blame", "PATH[@VERSION|@WHEN]", "show who brought each line of a file", command_blame},
    {"changes", "[--path PATTERN] [--exec COMMAND]", "print each change, or call a command",
     command_changes},
    {"confirm", "[TRIAL]", "keep what a trial has changed", command_confirm},
    {"db check", "[--repair NEWFILE] [FILE]", "name all that a load refuses", command_db_check},
    {"db diff", "[-u] A [B]", "show in what two databases differ", command_db_diff},
    {"db dump", "[FILE]", "list all that is in a database", command_db_dump},
    {"db export", "[--database FILE] DIR", "write a database as files", command_db_export},
    {"db fold", "[FILE]", "bring in what a killed pmxcfs left in its journal", command_db_fold},
    {"db import", "DIR FILE", "make a database of files", command_db_import},
    {"db stat", "[FILE]", "show how much is in a database", command_db_stat},
    {"diff", "PATH [A [B]]", "show how a file differs from what it was", command_history_diff},
    {"doctor", "", "say what is wrong with this host, and what mends it", command_doctor},
    {"export", "--at WHEN DIR", "write all files as they were at a moment", command_export},
    {"guests", "[--node NODE] [ID...]", "list the guests", command_guests},
    {"guests move", "--from NODE --to NODE", "move the guests of a dead node", command_guests_move},
    {"help", "[COMMAND]", "show what a command does", command_help},
    {"history", "[--since WHEN] [PATH|PATTERN]", "show what was changed, when, by whom",
     command_history},
    {"kept diff", "[-u] COPY", "show in what a safety copy differs from the database",
     command_kept_diff},
    {"kept list", "", "list the safety copies", command_kept_list},
    {"kept restore", "COPY PATH...", "write files of a safety copy back", command_kept_restore},
    {"kept show", "COPY", "list all that is in a safety copy", command_kept_show},
    {"locks", "", "show the locks", command_locks},
    {"locks break", "--expired [LOCK...]", "have expired locks taken away", command_locks_break},
    {"log", "[-f] [-n N] [--node NODE]", "show the cluster log", command_log},
    {"members", "", "show the nodes of the cluster", command_members},
    {"metrics", "[--listen [ADDRESS]:PORT]", "show the metrics, or serve them", command_metrics},
    {"recover", "[--dry-run] FILE", "put the database of a dead host in place", command_recover},
    {"restore", "[--dry-run] FILE", "put a database in place of the present one", command_restore},
    {"show", "PATH[@VERSION|@WHEN]", "show what a file held", command_show},
    {"revert", "[--to VERSION|WHEN] PATH", "make a file what it was", command_revert},
    {"rollback", "--to VERSION|WHEN", "make the tree what it was", command_rollback},
    {"status", "[--watch]", "show how this node and the cluster are", command_status},
    {"top", "[-d SECONDS]", "show who asks for what how often", command_top},
    {"try", "[--for TIME] -- COMMAND", "run a command, undone unless confirmed", command_try},
    {"undelete", "PATH", "bring back what was deleted", command_undelete},
    {"verify", "", "have all nodes compare their copies now", command_verify},
    {"versions", "", "show the counters that clients poll", command_versions},
};

/* Is it the first word of a command of two? */
static bool begins_with(const struct command *command, const char *word)
{
    size_t length = strlen(word);

    return strncmp(command->name, word, length) == 0 && command->name[length] == ' ';
}

/* The commands whose name begins with `word` (NULL: all); their number. */
static int print_commands(FILE *to, const char *word)
{
    int count = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        const struct command *command = &commands[i];
        if (word && !begins_with(command, word))
            continue;
        g_autofree char *call = g_strconcat(command->name, " ", command->arguments, NULL);
        fprintf(to, "  %-42s %s\n", call, command->help);
        count++;
    }
    return count;
}

static void print_help(void)
{
    puts("Usage: pmxcfsctl [--socket-name NAME] [--json] COMMAND [OPTIONS]\n\nCommands:");
    print_commands(stdout, NULL);
    puts("\nOptions, before and after the command:\n"
         "  --socket-name NAME   the daemon's socket ($" SOCKET_VARIABLE ", " DEFAULT_SOCKET ")\n"
         "  --json               output to be parsed\n"
         "  -h, --help           this help; after a command, its own\n"
         "  --version            the version (before the command)\n"
         "\nExit codes: 0 done, 1 failed, 2 wrong use, 3 no daemon answers, 4 something was found "
         "(diff, doctor, status, verify, db check, db diff, db fold, recover, restore --dry-run)");
}

/* --- Which command --- */

/* The command of that name, of one word or (`second` not NULL) two. */
static const struct command *find_named(const char *first, const char *second)
{
    g_autofree char *name = second ? g_strconcat(first, " ", second, NULL) : g_strdup(first);

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

/* Is it the first word of any? */
static bool is_first_word(const char *word)
{
    bool found = false;

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        found = found || begins_with(&commands[i], word);
    return found;
}

/* A word that can be nothing but the second one of a command: "mvoe" behind "guests", which else
 * takes numbers. */
static bool must_be_second(const char *first, const char *word)
{
    return is_first_word(first) && g_ascii_isalpha(*word);
}

/* The command that the words begin with, two of them if there is one of that name. */
static const struct command *find_command(int argc, char **argv)
{
    const struct command *found = argc > 1 ? find_named(argv[0], argv[1]) : NULL;

    if (found || (argc > 1 && must_be_second(argv[0], argv[1])))
        return found;
    return find_named(argv[0], NULL);
}

/* What was called is no command: the first word of some, or nothing. */
static int explain(int argc, char **argv)
{
    bool help = argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0);
    bool two = argc > 1 && argv[1][0] != '-';
    g_autoptr(GPtrArray) names = g_ptr_array_new();

    if ((help || argc == 1) && print_commands(help ? stdout : stderr, argv[0]) > 0)
        return help ? EXIT_DONE : EXIT_WRONG_USE;
    g_autofree char *called = g_strconcat(argv[0], two ? " " : "", two ? argv[1] : "", NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        g_ptr_array_add(names, (gpointer)commands[i].name);
    const char *nearest = suggest(called, names);
    if (!nearest && !is_first_word(argv[0]))
        nearest = suggest(argv[0], names);
    fprintf(stderr, "error: no command is called '%s'%s%s%s\nTry pmxcfsctl --help.\n", called,
            nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    return EXIT_WRONG_USE;
}

static int run(const struct context *context, int argc, char **argv)
{
    const struct command *command = find_command(argc, argv);

    if (!command)
        return explain(argc, argv);
    /* So that a command's own help says how it is called. */
    g_autofree char *name = g_strconcat("pmxcfsctl ", command->name, NULL);
    g_set_prgname(name);
    int words = strchr(command->name, ' ') ? 2 : 1;
    return command->run(context, argc - words + 1, argv + words - 1);
}

static int command_help(const struct context *context, int argc, char **argv)
{
    char option[] = "--help";

    if (!command_parse(&argc, &argv, NULL, "[COMMAND]",
                       "Show what there is, or what a command does.", 0, 2))
        return EXIT_WRONG_USE;
    if (argc == 1) {
        print_help();
        return EXIT_DONE;
    }
    char *words[] = {argv[1], argc > 2 ? argv[2] : option, argc > 2 ? option : NULL, NULL};
    return run(context, argc, words);
}

/* --- Options of all commands --- */

/* Takes one, if argv[*at] is one of them: 1, and *at is its last word; 0: it is another word; -1:
 * its value is missing. */
static int take_option(struct context *context, int argc, char **argv, int *at)
{
    static const char name[] = "--socket-name";
    const char *word = argv[*at];

    if (strcmp(word, "--json") == 0) {
        context->json = true;
        return 1;
    }
    if (strncmp(word, name, strlen(name)) != 0)
        return 0;
    const char *rest = word + strlen(name);
    if (*rest == '\0')
        rest = *at + 1 < argc ? argv[++*at] : "";
    else if (*rest++ != '=')
        return 0;
    if (!*rest) {
        fprintf(stderr, "error: which socket? %s NAME\nTry pmxcfsctl --help.\n", name);
        return -1;
    }
    context->socket = rest;
    context->socket_given = true;
    return 1;
}

static void complain_of_option(const char *word)
{
    static const char *const known[] = {"--json", "--socket-name", "--help", "--version"};
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autofree char *name = g_strndup(word, strcspn(word, "="));

    for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
        g_ptr_array_add(names, (gpointer)known[i]);
    g_autofree char *hint = suggest_text(name, names);
    fprintf(stderr, "error: unknown option %s%s\nTry pmxcfsctl --help.\n", word, hint);
}

/* The options before the command; gives the index of the command in argv, 0 if it is not to be run
 * (*code says why). */
static int parse_global(struct context *context, int argc, char **argv, int *code)
{
    *code = EXIT_WRONG_USE;
    for (int i = 1; i < argc; i++) {
        int taken = take_option(context, argc, argv, &i);
        if (taken < 0)
            return 0;
        if (taken > 0)
            continue;
        if (argv[i][0] != '-')
            return i;
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            print_help();
            *code = EXIT_DONE;
        } else if (strcmp(argv[i], "--version") == 0) {
            puts("pmxcfsctl " PMXCFS_VERSION);
            *code = EXIT_DONE;
        } else {
            complain_of_option(argv[i]);
        }
        return 0;
    }
    fputs("error: which command?\nTry pmxcfsctl --help.\n", stderr);
    return 0;
}

/* They are understood behind the command too, where people write them. How many words are left, or
 * -1. */
static int take_options(struct context *context, int argc, char **argv)
{
    int kept = 1; /* the command itself stays */
    bool ended = false;

    for (int i = 1; i < argc; i++) {
        ended = ended || strcmp(argv[i], "--") == 0;
        int taken = ended ? 0 : take_option(context, argc, argv, &i);
        if (taken < 0)
            return -1;
        if (taken == 0)
            argv[kept++] = argv[i];
    }
    argv[kept] = NULL;
    return kept;
}

static int call(struct context *context, int argc, char **argv)
{
    int code;

    if (argc > 2 && strcmp(argv[1], "--complete") == 0) {
        complete(commands, G_N_ELEMENTS(commands), context, argc - 2, argv + 2);
        return EXIT_DONE;
    }
    int first = parse_global(context, argc, argv, &code);
    if (first == 0)
        return code;
    argv += first;
    argc = take_options(context, argc - first, argv);
    return argc < 0 ? EXIT_WRONG_USE : run(context, argc, argv);
}

/* Has all that was printed been taken? A reader at the end of a pipe who goes away knows that. */
static bool is_output_whole(void)
{
    struct stat info;
    int error = fflush(stdout) == 0 ? 0 : errno;

    if ((error == 0 && !ferror(stdout)) ||
        (fstat(STDOUT_FILENO, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISCHR(info.st_mode)))
        return true;
    fprintf(stderr, "error: standard output did not take all%s%s\n", error ? ": " : "",
            error ? g_strerror(error) : "");
    return false;
}

int main(int argc, char **argv)
{
    standard_open();
    const char *variable = g_getenv(SOCKET_VARIABLE);
    bool named = variable && *variable;
    struct context context = {.socket = named ? variable : DEFAULT_SOCKET, .socket_given = named};
    int code = call(&context, argc, argv);

    return is_output_whole() ? code : EXIT_FAILED;
}
