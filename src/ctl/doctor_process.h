/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Runs what may hang in a process of its own, and waits for it so long and no longer. */
#ifndef PMXCFS_CTL_DOCTOR_PROCESS_H
#define PMXCFS_CTL_DOCTOR_PROCESS_H

/* Makes a text, which free() or g_free() frees, or gives NULL with a negative errno in *error. */
typedef char *(*doctor_work)(void *argument, int *error);

/* Calls `work` in a child process, which shares nothing with this one. Its text, g_free() it; NULL
 * with *error: its own, -ETIMEDOUT (the child is killed, and left to itself if even that hangs), or
 * -EPIPE if it came to a bad end. This process must have no other thread. */
char *doctor_process_run(doctor_work work, void *argument, int milliseconds, int *error);

#endif
