/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A process beside the daemon that frees those who wait for it, should it be killed. */
#include "host/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mounted.h"

#define MOUNTED_SIGNAL SIGUSR1
#define DEATH_SIGNAL SIGUSR2 /* when the thread that started the guard ends */

/* A forced unmount breaks the connection first, and then fails, since `fd` keeps the mount busy:
 * just that is wanted. */
static void break_connection(const char *mountpoint, uint64_t number)
{
    char path[32];
    int fd = open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (number != 0 && mounted_number(fd, "") == number) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        umount2(path, MNT_FORCE);
    }
    close(fd);
}

static void __attribute__((noreturn)) keep_watch(const char *mountpoint, const sigset_t *signals)
{
    uint64_t number = 0;

    for (;;) {
        switch (sigwaitinfo(signals, NULL)) {
        case MOUNTED_SIGNAL:
            number = mounted_number(AT_FDCWD, mountpoint);
            break;
        case DEATH_SIGNAL:
            break_connection(mountpoint, number);
            _exit(0);
        default:
            break;
        }
    }
}

static void close_all_but(int fd)
{
    if (fd > 0)
        close_range(0, (unsigned int)fd - 1, 0);
    close_range((unsigned int)(fd + 1), ~0u, 0);
}

static void __attribute__((noreturn)) run(const char *mountpoint, pid_t daemon, int lock_fd)
{
    sigset_t signals;

    sigfillset(&signals); /* a stop of the whole service must not end it before the daemon */
    sigprocmask(SIG_SETMASK, &signals, NULL);
    prctl(PR_SET_NAME, "pmxcfs-guard");
    prctl(PR_SET_PDEATHSIG, DEATH_SIGNAL);
    close_all_but(lock_fd);
    if (getppid() != daemon)
        _exit(0);
    sigemptyset(&signals);
    sigaddset(&signals, MOUNTED_SIGNAL);
    sigaddset(&signals, DEATH_SIGNAL);
    keep_watch(mountpoint, &signals);
}

pid_t guard_start(const char *mountpoint, int lock_fd)
{
    pid_t daemon = getpid();
    sigset_t all, before;

    /* Signals wait until the guard is ready for them. */
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t guard = fork();
    if (guard == 0)
        run(mountpoint, daemon, lock_fd);
    int error = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return guard < 0 ? -error : guard;
}

void guard_mounted(pid_t guard)
{
    if (guard > 0)
        kill(guard, MOUNTED_SIGNAL);
}

void guard_stop(pid_t guard)
{
    if (guard <= 0)
        return;
    kill(guard, SIGKILL);
    while (waitpid(guard, NULL, 0) < 0 && errno == EINTR)
        ;
}
