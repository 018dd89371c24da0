/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The subcommands of pmxcfsctl, and what they share. */
#ifndef PMXCFS_CTL_COMMANDS_H
#define PMXCFS_CTL_COMMANDS_H

#include <stdbool.h>

/* Exit codes, the same for all subcommands (pmxcfsctl(8)). */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,    /* it could not be done; stderr says why */
    EXIT_WRONG_USE = 2, /* of the command line */
    EXIT_NO_DAEMON = 3,
};

/* What the global options say. */
struct context {
    const char *socket; /* name of the daemon's socket */
    bool json;
};

struct command {
    const char *name;
    const char *arguments; /* for the help */
    const char *help;      /* one line */
    /* argv[0] is the subcommand's name. An exit code. */
    int (*run)(const struct context *context, int argc, char **argv);
};

int command_changes(const struct context *context, int argc, char **argv);
int command_guests(const struct context *context, int argc, char **argv);
int command_log(const struct context *context, int argc, char **argv);
int command_members(const struct context *context, int argc, char **argv);
int command_versions(const struct context *context, int argc, char **argv);

#endif
