/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the mount is given when it is made. */
#ifndef PMXCFS_MOUNT_OPTIONS_H
#define PMXCFS_MOUNT_OPTIONS_H

#include <glib.h>
#include <stdbool.h>
#include <sys/types.h>

struct activity;
struct askers;
struct metrics_source;
struct mount_metrics;
struct replica;
struct status;

struct mount_options {
    const char *mountpoint;
    const char *nodename;
    gid_t group; /* of everything in the file system */
    struct replica *replica;
    struct status *status;
    struct activity *activity;     /* who asks for what, while somebody watches */
    struct askers *askers;         /* who asks for changes; NULL: it does not matter */
    struct mount_metrics *metrics; /* counted here */
    struct metrics_source *metrics_source;
    /* The kernel knows what mount_tell() told it; takes over the effects. From a thread of the
     * mount's. */
    void (*told)(void *context, GPtrArray *effects, bool rebuilt);
    /* The file system was unmounted from outside. From a thread of the mount's; must not stop the
     * mount itself. */
    void (*unmounted)(void *context);
    void *context;
};

#endif
