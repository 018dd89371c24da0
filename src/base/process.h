/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What /proc tells of other processes and their threads. Nothing here waits, or may be called with
 * a lock held. */
#ifndef PMXCFS_BASE_PROCESS_H
#define PMXCFS_BASE_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* True if a signal that it got will end the thread, or it has ended. */
bool process_is_dying(pid_t thread);

/* True if the thread is in truncate() of a path. What it asks the kernel for looks like what an
 * open with O_TRUNC asks for, but nobody will write there. */
bool process_truncates(pid_t thread);

/* When the process or thread was started, in ticks since the boot: with its number it tells it from
 * all others. 0: there is none. TICKS_UNKNOWN: that cannot be told, as when no descriptor is free.
 */
#define TICKS_UNKNOWN UINT64_MAX
uint64_t process_start_ticks(pid_t process);

/* True if the thread waits in a system call that writes, or is in none: it runs, or waits for
 * nothing but a processor. */
bool process_may_be_writing(pid_t thread);

/* A process that has the inode of that number on the file system mounted at `mountpoint` open:
 * "process 123 (NAME)"; NULL: none. g_free() it. Looks at all processes. */
char *process_that_has_open(const char *mountpoint, uint64_t inode);

#endif
