/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl: the tool for those who run pmxcfs. */
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "ctl/commands.h"
#include "ctl/complete.h"

#define DEFAULT_SOCKET "pve2"

static const struct command commands[] = {
    {"backup", "[--database FILE] FILE", "copy the database, also while pmxcfs runs",
     command_backup},
    {"changes", "[--since VERSION]", "print each change as a line of JSON", command_changes},
    {"db check", "[--repair NEWFILE] [FILE]", "name all that a load refuses", command_db_check},
    {"db diff", "[--content] A B", "show in what two databases differ", command_db_diff},
    {"db dump", "[FILE]", "list all that is in a database", command_db_dump},
    {"db export", "[--database FILE] DIR", "write a database as files", command_db_export},
    {"db fold", "[FILE]", "bring in what a killed pmxcfs left in its journal", command_db_fold},
    {"db import", "DIR FILE", "make a database of files", command_db_import},
    {"db stat", "[FILE]", "show how much is in a database", command_db_stat},
    {"guests", "[--node NODE]", "list the guests", command_guests},
    {"guests move", "--from NODE --to NODE", "move the guests of a dead node", command_guests_move},
    {"locks", "", "show the locks", command_locks},
    {"log", "[-f] [-n N]", "show the cluster log", command_log},
    {"members", "", "show the nodes of the cluster", command_members},
    {"recover", "[--dry-run] FILE", "put the database of a dead host in place", command_recover},
    {"restore", "[--state-dir DIR] FILE", "put a database in place of the present one",
     command_restore},
    {"status", "[--watch]", "show how this node and the cluster are", command_status},
    {"top", "[-d SECONDS]", "show who asks for what how often", command_top},
    {"verify", "", "have all nodes compare their copies now", command_verify},
    {"versions", "", "show the counters that clients poll", command_versions},
};

/* The commands whose name begins with `word` (NULL: all); their number. */
static int print_commands(FILE *to, const char *word)
{
    int count = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        const struct command *command = &commands[i];
        size_t length = word ? strlen(word) : 0;
        if (word && (strncmp(command->name, word, length) != 0 || command->name[length] != ' '))
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
    puts("\nOptions:\n"
         "  --socket-name NAME   the daemon's socket (" DEFAULT_SOCKET ")\n"
         "  --json               output to be parsed; also after the command\n"
         "  -h, --help           this help; after a command, its own\n"
         "  --version            the version\n"
         "\nExit codes: 0 done, 1 failed, 2 wrong use, 3 no daemon answers, 4 something was found "
         "(status, verify, db check, db diff, db fold, recover)");
}

/* The command that the words begin with, two of them if there is one of that name. */
static const struct command *find_command(int argc, char **argv)
{
    const struct command *found = NULL;
    g_autofree char *both = argc > 1 ? g_strconcat(argv[0], " ", argv[1], NULL) : NULL;

    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (both && strcmp(commands[i].name, both) == 0)
            return &commands[i];
        if (strcmp(commands[i].name, argv[0]) == 0)
            found = &commands[i];
    }
    return found;
}

/* What was called is no command: the first word of some, or nothing. */
static int explain(int argc, char **argv)
{
    bool help = argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0);

    if ((help || argc == 1) && print_commands(help ? stdout : stderr, argv[0]) > 0)
        return help ? EXIT_DONE : EXIT_WRONG_USE;
    fprintf(stderr, "error: no command is called '%s%s%s'\nTry pmxcfsctl --help.\n", argv[0],
            argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
    return EXIT_WRONG_USE;
}

/* The options before the command; gives the index of the command in argv, 0 if it is not to be run
 * (*code says why). */
static int parse_global(struct context *context, int argc, char **argv, int *code)
{
    *code = EXIT_WRONG_USE;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            context->json = true;
        } else if (strcmp(argv[i], "--socket-name") == 0 && i + 1 < argc) {
            context->socket = argv[++i];
        } else if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            print_help();
            *code = EXIT_DONE;
            return 0;
        } else if (strcmp(argv[i], "--version") == 0) {
            puts("pmxcfsctl " PMXCFS_VERSION);
            *code = EXIT_DONE;
            return 0;
        } else if (argv[i][0] != '-') {
            return i;
        } else {
            fprintf(stderr, "error: unknown option %s\nTry pmxcfsctl --help.\n", argv[i]);
            return 0;
        }
    }
    fputs("error: which command?\nTry pmxcfsctl --help.\n", stderr);
    return 0;
}

/* --json is understood behind the command too, where people write it. */
static int take_json(struct context *context, int argc, char **argv)
{
    int kept = 1; /* the command itself stays */
    bool ended = false;

    for (int i = 1; i < argc; i++) {
        ended = ended || strcmp(argv[i], "--") == 0;
        if (!ended && strcmp(argv[i], "--json") == 0)
            context->json = true;
        else
            argv[kept++] = argv[i];
    }
    argv[kept] = NULL;
    return kept;
}

int main(int argc, char **argv)
{
    struct context context = {.socket = DEFAULT_SOCKET};
    int code;

    if (argc > 2 && strcmp(argv[1], "--complete") == 0) {
        complete(commands, G_N_ELEMENTS(commands), DEFAULT_SOCKET, argc - 2, argv + 2);
        return EXIT_DONE;
    }
    int first = parse_global(&context, argc, argv, &code);

    if (first == 0)
        return code;
    argv += first;
    argc = take_json(&context, argc - first, argv);
    const struct command *command = find_command(argc, argv);
    if (!command)
        return explain(argc, argv);
    /* So that a command's own help says how it is called. */
    g_autofree char *name = g_strconcat("pmxcfsctl ", command->name, NULL);
    g_set_prgname(name);
    int words = strchr(command->name, ' ') ? 2 : 1;
    return command->run(&context, argc - words + 1, argv + words - 1);
}
