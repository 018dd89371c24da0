/* SPDX-License-Identifier: GPL-3.0-or-later */
/* librrd, loaded when the first RRD file is to be written. */
#ifndef PMXCFS_STATUS_LIBRRD_H
#define PMXCFS_STATUS_LIBRRD_H

#include <rrd.h> /* librrd's */

/* librrd draws graphs too, and brings fonts, Cairo and X11 along: some 12 MiB of memory, which a
 * process that leaves its updates to rrdcached never needs. So it is not linked. */
struct librrd {
    __typeof__(rrd_create_r) *create; /* NULL: not loaded */
    __typeof__(rrd_update_r) *update;
    __typeof__(rrd_test_error) *test_error;
    __typeof__(rrd_get_error) *get_error;
    __typeof__(rrd_clear_error) *clear_error;
};

/* Loads it, unless it is loaded. NULL, or what went wrong (g_free() it): then it is tried again the
 * next time. One thread; reads from the disk. What is loaded stays until the process ends. */
char *librrd_load(struct librrd *librrd);

#endif
