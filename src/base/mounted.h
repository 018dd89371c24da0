/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which mount is there: the daemon's own, or one that somebody has put in its place or over it. */
#ifndef PMXCFS_BASE_MOUNTED_H
#define PMXCFS_BASE_MOUNTED_H

#include <stdbool.h>
#include <stdint.h>

/* The number of the mount that the path leads to, without asking whoever serves it, and without a
 * descriptor; 0: not known. `directory` and `path` as with openat(); the path "" is the descriptor
 * itself. Kernels before 6.8 give a new mount the number of one that is gone. */
uint64_t mounted_number(int directory, const char *path);

/* The number of the device that the file system there has, as in /proc/self/mountinfo; also without
 * asking. 0: not known. */
unsigned int mounted_device(const char *mountpoint);

/* True if the mount on top at `mountpoint` is known to be another than `own` (0: not known), so
 * that an unmount by path would take that away. It asks the kernel alone, as an unmount does. */
bool mounted_is_other(const char *mountpoint, uint64_t own);

/* Warns that the other mount is left as it is, and says what to do. Once: a stop that is cut short
 * looks again. */
void mounted_warn_of_other(const char *mountpoint);

#endif
