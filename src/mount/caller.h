/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What /proc tells of the threads that wait for an answer. Nothing here waits, or may be called
 * with a lock held. */
#ifndef PMXCFS_MOUNT_CALLER_H
#define PMXCFS_MOUNT_CALLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* True if a signal that it got will end the thread, or it has ended. */
bool caller_is_dying(pid_t thread);

/* True if the thread is in truncate() of a path. What it asks the kernel for looks like what an
 * open with O_TRUNC asks for, but nobody will write there. */
bool caller_truncates(pid_t thread);

/* Who has the directory with that inode number on the file system mounted at `mountpoint` open, and
 * is in a system call: "PID (NAME)", or "unknown". g_free() it. Looks at all processes. */
char *caller_who_holds(const char *mountpoint, uint64_t inode);

#endif
