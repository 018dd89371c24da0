/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Runs a command as a group of processes of its own, and lets it begin when it is told to. */
#include "ctl/trial_run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* For the signal handler, which has no argument; 0: no command runs. */
static volatile sig_atomic_t running;

static void give_signal(int number)
{
    if (running > 0)
        kill(-(pid_t)running, number);
}

static void run_child(char **command, int gate, bool quiet)
{
    char byte;

    setpgid(0, 0);
    if (read(gate, &byte, 1) != 1)
        _exit(126); /* this process's parent is gone, or has changed its mind */
    if (quiet)
        dup2(STDERR_FILENO, STDOUT_FILENO);
    execvp(command[0], command);
    fprintf(stderr, "error: cannot run %s: %s\n", command[0], strerror(errno));
    _exit(errno == ENOENT ? 127 : 126);
}

int trial_run_prepare(struct trial_run *run, char **command, bool quiet)
{
    int gate[2];

    *run = (struct trial_run){0};
    /* A group that this namespace cannot see is 0; the terminal could not be given back to it. */
    run->terminal = getpgrp() > 0 && isatty(STDIN_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp() &&
                    tcgetattr(STDIN_FILENO, &run->modes) == 0;
    if (pipe2(gate, O_CLOEXEC) < 0)
        return -errno;
    fflush(stdout);
    run->group = fork();
    int error = run->group < 0 ? -errno : 0;
    if (run->group == 0) {
        close(gate[1]);
        run_child(command, gate[0], quiet);
    }
    close(gate[0]);
    run->gate = gate[1];
    if (error)
        close(run->gate);
    else
        setpgid(run->group, run->group); /* here too: who comes first is not known */
    return error;
}

/* The terminal's foreground is `group` from now on. */
static void give_terminal(pid_t group)
{
    void (*before)(int) = signal(SIGTTOU, SIG_IGN);

    tcsetpgrp(STDIN_FILENO, group);
    signal(SIGTTOU, before);
}

static int wait_for_end(const struct trial_run *run)
{
    int status = 0;

    for (;;) {
        pid_t pid = waitpid(run->group, &status, run->terminal ? WUNTRACED : 0);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0 || !WIFSTOPPED(status))
            return status;
        /* Ctrl-Z: the shell is to have the terminal until it brings all of it to the front. */
        give_terminal(getpgrp());
        kill(0, SIGTSTP);
        give_terminal(run->group);
        kill(-run->group, SIGCONT);
    }
}

int trial_run_go(struct trial_run *run)
{
    const struct sigaction given = {.sa_handler = give_signal, .sa_flags = SA_RESTART};
    struct sigaction interrupt, terminate, hang_up;

    running = run->group;
    sigaction(SIGINT, &given, &interrupt);
    sigaction(SIGTERM, &given, &terminate);
    /* A shell that ends hangs up its jobs, of which the command's group is none. */
    sigaction(SIGHUP, NULL, &hang_up);
    if (hang_up.sa_handler != SIG_IGN)
        sigaction(SIGHUP, &given, NULL);
    if (run->terminal)
        give_terminal(run->group);
    ssize_t written = write(run->gate, "", 1);
    close(run->gate);
    int status = wait_for_end(run);
    (void)written; /* if it failed the child ends, which its status says */
    running = 0;
    if (run->terminal) {
        give_terminal(getpgrp());
        if (status != 0)
            tcsetattr(STDIN_FILENO, TCSADRAIN, &run->modes);
    }
    sigaction(SIGINT, &interrupt, NULL);
    sigaction(SIGTERM, &terminate, NULL);
    sigaction(SIGHUP, &hang_up, NULL);
    return status;
}

void trial_run_cancel(struct trial_run *run)
{
    close(run->gate);
    while (waitpid(run->group, NULL, 0) < 0 && errno == EINTR)
        ;
}
