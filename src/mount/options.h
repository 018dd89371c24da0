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

/* Who hears of it; embed it. From threads of the mount's. */
struct mount_listener {
    /* The kernel knows what mount_tell() told it; takes over the effects. */
    void (*told)(struct mount_listener *listener, GPtrArray *effects, bool rebuilt);
    /* The file system was unmounted from outside. Must not stop the mount itself. */
    void (*unmounted)(struct mount_listener *listener);
};

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
    struct mount_listener *listener;
};

#endif
