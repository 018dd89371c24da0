/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl: the tool for those who run pmxcfs. */
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "ctl/commands.h"

#define DEFAULT_SOCKET "pve2"

static const struct command commands[] = {
    {"changes", "[--since VERSION]", "print each change as a line of JSON", command_changes},
    {"guests", "[--node NODE]", "list the guests", command_guests},
    {"log", "[-n N]", "show the cluster log", command_log},
    {"members", "", "show the nodes of the cluster", command_members},
    {"versions", "", "show the counters that clients poll", command_versions},
};

static void print_help(void)
{
    puts("Usage: pmxcfsctl [--socket-name NAME] [--json] COMMAND [OPTIONS]\n\nCommands:");
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++)
        printf("  %-10s %-20s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
    puts("\nOptions:\n"
         "  --socket-name NAME   the daemon's socket (" DEFAULT_SOCKET ")\n"
         "  --json               output to be parsed\n"
         "  -h, --help           this help; after a command, its own\n"
         "  --version            the version\n"
         "\nExit codes: 0 done, 1 failed, 2 wrong use, 3 no daemon answers");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
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

int main(int argc, char **argv)
{
    struct context context = {.socket = DEFAULT_SOCKET};
    int code;
    int first = parse_global(&context, argc, argv, &code);

    if (first == 0)
        return code;
    const struct command *command = find_command(argv[first]);
    if (!command) {
        fprintf(stderr, "error: no command is called '%s'\nTry pmxcfsctl --help.\n", argv[first]);
        return EXIT_WRONG_USE;
    }
    /* So that a command's own help says how it is called. */
    g_autofree char *name = g_strconcat("pmxcfsctl ", command->name, NULL);
    g_set_prgname(name);
    return command->run(&context, argc - first, argv + first);
}
