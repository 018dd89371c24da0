/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A process beside the daemon that frees those who wait for it, should it be killed. */
#include "host/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mounted.h"

#define MOUNTED_SIGNAL SIGUSR1
#define DEATH_SIGNAL SIGUSR2 /* when the thread that started the guard ends */

/* What the guard cares for; zeros: not known (yet). */
struct cared_for {
    const char *mountpoint;
    uint64_t number;
    unsigned int device;
};

/* True if it is at its mount point still, at whatever depth. */
static bool is_there(const struct cared_for *mount)
{
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    char wanted[PATH_MAX + 32];
    char *line = NULL;
    size_t room = 0;
    bool found = false;

    if (!mounts)
        return false;
    snprintf(wanted, sizeof(wanted), " 0:%u / %s ", mount->device, mount->mountpoint);
    while (!found && getline(&line, &room, mounts) > 0)
        found = strstr(line, wanted) && strstr(line, " - fuse /dev/fuse ");
    free(line);
    fclose(mounts);
    return found;
}

/* By the kernel's own list, since no path leads to a mount below another. The device's number is
 * given again once the file system is gone. */
static void abort_connection(const struct cared_for *mount)
{
    char path[64];

    if (mount->device == 0 || !is_there(mount))
        return;
    snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", mount->device);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t written = write(fd, "1", 1);
    (void)written;
    close(fd);
}

/* A forced unmount breaks the connection first, and then fails, since `fd` keeps the mount busy:
 * just that is wanted. */
static void break_connection(const struct cared_for *mount)
{
    char path[32];
    int fd = open(mount->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0 && mount->number != 0 && mounted_number(fd, "") == mount->number) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        umount2(path, MNT_FORCE);
    } else {
        abort_connection(mount);
    }
    if (fd >= 0)
        close(fd);
}

static void __attribute__((noreturn)) keep_watch(const char *mountpoint, const sigset_t *signals)
{
    struct cared_for mount = {.mountpoint = mountpoint};

    for (;;) {
        switch (sigwaitinfo(signals, NULL)) {
        case MOUNTED_SIGNAL:
            mount.number = mounted_number(AT_FDCWD, mountpoint);
            mount.device = mounted_device(mountpoint);
            break;
        case DEATH_SIGNAL:
            break_connection(&mount);
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
