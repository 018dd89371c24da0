/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Runs a command as a group of processes of its own, and lets it begin when it is told to. */
#ifndef PMXCFS_CTL_TRIAL_RUN_H
#define PMXCFS_CTL_TRIAL_RUN_H

#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

struct trial_run {
    pid_t group;   /* of the command: its first process */
    int gate;      /* a byte in it lets the command begin; closed, it never does */
    bool terminal; /* stdin is a terminal, and this process is in its foreground */
    struct termios modes;
};

/* Makes the process, which waits. `quiet`: its output goes to stderr. 0 or a negative errno. */
int trial_run_prepare(struct trial_run *run, char **command, bool quiet);

/* Lets it begin, with the terminal, and waits for its end; its status is that of waitpid(). An
 * interrupt of this process is given to the command. */
int trial_run_go(struct trial_run *run);

/* It is not to begin. */
void trial_run_cancel(struct trial_run *run);

#endif
