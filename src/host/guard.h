/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A process beside the daemon that frees those who wait for it, should it be killed. */
#ifndef PMXCFS_HOST_GUARD_H
#define PMXCFS_HOST_GUARD_H

#include <sys/types.h>

/* Why: notifications to the kernel wait for locks and pages, which processes hold that wait for an
 * answer of the daemon, and neither wait can be interrupted. A daemon that is killed then does not
 * end, and with it its connection to the kernel, its lock file, and all who use the mount. The
 * guard hears of the end of the daemon's main thread and breaks the connection, after which
 * everybody gets an error at once. The mount itself stays, so that nobody writes below it. Where
 * another mount lies over it, that takes the kernel's list of connections, which systemd mounts. */

/* Starts the guard; main thread, before there is any other. It keeps `lock_fd`, the daemon's lock,
 * until it has ended: else the next daemon could mount before a guard that gets no processor looks
 * at the mount point, and kernels give a mount the number of one that is gone. Its process id, or a
 * negative errno. */
pid_t guard_start(const char *mountpoint, int lock_fd);

/* What is mounted there now is what the guard cares for. The string given to guard_start() must
 * have lived until then. `guard` <= 0 is allowed here and below. */
void guard_mounted(pid_t guard);

/* Ends the guard; the mount is not touched. */
void guard_stop(pid_t guard);

#endif
