/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The life of the process: background, readiness, signals, and an end that nothing holds up. */
#include "host/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "base/log.h"
#include "base/mounted.h"

#define LEAVE_SECONDS_MAX 5 /* then the kernel ends the process */

static void notify(const char *state)
{
#ifdef HAVE_SYSTEMD
    sd_notify(0, state);
#else
    (void)state;
#endif
}

/* The exit code for the parent: the child wrote a byte when it was ready, or the pipe ended. */
static int wait_for_child(pid_t child, int fd)
{
    char byte;
    int status = 0;
    ssize_t got;

    do
        got = read(fd, &byte, 1);
    while (got < 0 && errno == EINTR);
    if (got == 1)
        return EXIT_SUCCESS;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFSIGNALED(status))
        fprintf(stderr, "error: pmxcfs was ended by signal %d while it started\n",
                WTERMSIG(status));
    if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
        return WEXITSTATUS(status);
    return EXIT_FAILURE;
}

static void replace_descriptor(int fd, int flags)
{
    int null = open("/dev/null", flags | O_CLOEXEC);
    if (null < 0)
        return;
    dup2(null, fd);
    close(null);
}

int process_fork(void)
{
    int fds[2];

    /* Whoever started us may wait for the end of a pipe, or hold a lock by a file. */
    close_range(STDERR_FILENO + 1, ~0u, 0);
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    pid_t child = fork();
    if (child < 0) {
        int error = -errno;
        close(fds[0]);
        close(fds[1]);
        return error;
    }
    if (child > 0) {
        close(fds[1]);
        /* The atexit handlers and buffers are the child's to run and flush. */
        _exit(wait_for_child(child, fds[0]));
    }
    close(fds[0]);
    if (chdir("/") < 0) { /* the file system of the present one could not be unmounted */
        int error = -errno;
        close(fds[1]);
        return error;
    }
    setsid();
    replace_descriptor(STDIN_FILENO, O_RDONLY);
    return fds[1];
}

bool process_stderr_is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

void process_ready(int ready_fd)
{
    notify("READY=1");
    if (ready_fd < 0)
        return;
    log_detach();
    replace_descriptor(STDOUT_FILENO, O_WRONLY);
    replace_descriptor(STDERR_FILENO, O_WRONLY);
    /* A parent that was killed meanwhile does not matter. */
    ssize_t written = write(ready_fd, "r", 1);
    (void)written;
    close(ready_fd);
}

void process_hear_signals(void)
{
    static const int heard[] = {SIGTERM, SIGCHLD, SIGUSR1, SIGUSR2};

    for (size_t i = 0; i < sizeof(heard) / sizeof(*heard); i++)
        signal(heard[i], SIG_DFL);
}

static void stop_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

void process_block_signals(void)
{
    sigset_t set;
    stop_signals(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void log_stop(const siginfo_t *info)
{
    if (info->si_code == SI_USER && info->si_pid != getpid())
        log_info("stopping: %s from process %ld", strsignal(info->si_signo), (long)info->si_pid);
    else
        log_info("stopping");
}

void process_wait_for_stop(void)
{
    sigset_t set;
    siginfo_t info;

    stop_signals(&set);
    while (sigwaitinfo(&set, &info) < 0)
        ;
    log_stop(&info);
}

static struct timespec timespec_of(uint64_t milliseconds)
{
    return (struct timespec){.tv_sec = (time_t)(milliseconds / 1000),
                             .tv_nsec = (long)(milliseconds % 1000) * 1000000};
}

bool process_wait_for_stop_until(uint64_t milliseconds)
{
    struct timespec limit = timespec_of(milliseconds);
    sigset_t set;
    siginfo_t info;

    stop_signals(&set);
    if (sigtimedwait(&set, &info, &limit) < 0)
        return false; /* interrupted early does no harm: whoever waits looks again */
    log_stop(&info);
    return true;
}

void process_request_stop(void)
{
    kill(getpid(), SIGTERM);
}

void process_leave(const struct last_resort *resort)
{
    /* A look at the mount of a server that is gone, or a word to a log that hangs, may wait for
     * ever. */
    signal(SIGALRM, SIG_DFL);
    alarm(LEAVE_SECONDS_MAX);
    if (resort->pid_file)
        unlink(resort->pid_file);
    bool other = resort->mountpoint && mounted_is_other(resort->mountpoint, resort->mount_number);

    /* By force first: it breaks the connection, or whoever waits for us could keep us. Below
     * another mount ours is out of reach: there the guard breaks it. */
    if (resort->mountpoint && !other && umount2(resort->mountpoint, MNT_FORCE) < 0)
        umount2(resort->mountpoint, MNT_DETACH);
    if (other)
        mounted_warn_of_other(resort->mountpoint);
    _exit(resort->exit_code);
}

static void *watch_stop(void *data)
{
    const struct last_resort *resort = data;
    struct timespec left = timespec_of(resort->milliseconds);

    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        ;
    log_warning("the stop takes too long, leaving without the rest");
    process_leave(resort);
}

void process_begin_stop(const struct last_resort *resort)
{
    static struct last_resort plan; /* outlives the caller: the thread ends with the process */
    pthread_t thread;

    notify("STOPPING=1");
    plan = *resort;
    if (pthread_create(&thread, NULL, watch_stop, &plan) == 0)
        pthread_detach(thread);
    else
        log_warning("no watchdog for the stop: a part that hangs will hold it up");
}
