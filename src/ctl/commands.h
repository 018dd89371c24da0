/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The subcommands of pmxcfsctl, and what they share. */
#ifndef PMXCFS_CTL_COMMANDS_H
#define PMXCFS_CTL_COMMANDS_H

#include <glib.h>
#include <stdbool.h>

#define DEFAULT_SOCKET "pve2"
#define SOCKET_VARIABLE "PMXCFS_SOCKET_NAME" /* in the environment */

/* Exit codes, the same for all subcommands (pmxcfsctl(8)). */
enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,    /* it could not be done; stderr says why */
    EXIT_WRONG_USE = 2, /* of the command line */
    EXIT_NO_DAEMON = 3,
    EXIT_FOUND = 4, /* it was looked at, and is not as it should be; stdout says what was found */
};

/* What the global options say. */
struct context {
    const char *socket; /* name of the daemon's socket */
    bool socket_given;  /* somebody named it: no other daemon is meant */
    bool json;
    int patience; /* milliseconds to wait for the daemon, and for each answer; 0: the usual */
};

struct command {
    const char *name;      /* one word, or two with a space between: "db check" */
    const char *arguments; /* for the help */
    const char *help;      /* one line */
    /* argv[0] is the (last word of the) subcommand's name. An exit code. */
    int (*run)(const struct context *context, int argc, char **argv);
};

/* Parses the options of a command: g_option_context_parse() with `entries` (NULL: none), after
 * which argv[1] and so on are the words that are no options, from `least` to `most` of them.
 * `parameters` names them for the help, `summary` says what the command does. False: stderr says
 * why. Asked for help it prints it and ends the process. */
bool command_parse(int *argc, char ***argv, const GOptionEntry *entries, const char *parameters,
                   const char *summary, int least, int most);

int command_audit(const struct context *context, int argc, char **argv);
int command_backup(const struct context *context, int argc, char **argv);
int command_blame(const struct context *context, int argc, char **argv);
int command_changes(const struct context *context, int argc, char **argv);
int command_confirm(const struct context *context, int argc, char **argv);
int command_db_check(const struct context *context, int argc, char **argv);
int command_db_diff(const struct context *context, int argc, char **argv);
int command_db_dump(const struct context *context, int argc, char **argv);
int command_db_export(const struct context *context, int argc, char **argv);
int command_db_fold(const struct context *context, int argc, char **argv);
int command_db_import(const struct context *context, int argc, char **argv);
int command_db_stat(const struct context *context, int argc, char **argv);
int command_doctor(const struct context *context, int argc, char **argv);
int command_export(const struct context *context, int argc, char **argv);
int command_guests(const struct context *context, int argc, char **argv);
int command_guests_move(const struct context *context, int argc, char **argv);
int command_history(const struct context *context, int argc, char **argv);
int command_history_diff(const struct context *context, int argc, char **argv);
int command_kept_diff(const struct context *context, int argc, char **argv);
int command_kept_list(const struct context *context, int argc, char **argv);
int command_kept_restore(const struct context *context, int argc, char **argv);
int command_kept_show(const struct context *context, int argc, char **argv);
int command_locks_break(const struct context *context, int argc, char **argv);
int command_locks(const struct context *context, int argc, char **argv);
int command_log(const struct context *context, int argc, char **argv);
int command_members(const struct context *context, int argc, char **argv);
int command_metrics(const struct context *context, int argc, char **argv);
int command_recover(const struct context *context, int argc, char **argv);
int command_restore(const struct context *context, int argc, char **argv);
int command_show(const struct context *context, int argc, char **argv);
int command_revert(const struct context *context, int argc, char **argv);
int command_rollback(const struct context *context, int argc, char **argv);
int command_status(const struct context *context, int argc, char **argv);
int command_top(const struct context *context, int argc, char **argv);
int command_try(const struct context *context, int argc, char **argv);
int command_undelete(const struct context *context, int argc, char **argv);
int command_verify(const struct context *context, int argc, char **argv);
int command_versions(const struct context *context, int argc, char **argv);

#endif
