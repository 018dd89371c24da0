/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The mount: what its requests work with, and what each of them may ask of it. */
#ifndef PMXCFS_MOUNT_CONTEXT_H
#define PMXCFS_MOUNT_CONTEXT_H

#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "core/state.h"
#include "kernel/node.h"
#include "kernel/notify.h"
#include "kernel/truncations.h"
#include "mount/operations.h"
#include "mount/options.h"
#include "mount/timer.h"
#include "replica/replica.h"

/* While one waits for a disk, as the writer, the other goes on. The kernel gives each request to
 * the one that has waited longest: the more there are, the more often that is one on another
 * processor than the caller's, whose wake-up takes longer than most requests do. */
#define WORKERS 2

/* A thread that serves the kernel's requests. */
struct worker {
    struct mount *mount;
    pthread_t thread;
    atomic_bool running;
};

struct mount {
    struct mount_options options;
    struct fuse_session *session;
    uint64_t number; /* the kernel's, of this mount; 0: not known */
    char *link_targets[VIRTUAL_OPENVZ + 1];

    struct node_table nodes;
    struct notifier_listener listener;
    struct turn_owner turn_owner;
    struct notifier notifier;
    struct truncations_owner truncations_owner;
    struct truncations truncations;
    struct timer_owner timer_owner;
    struct timer timer;
    atomic_uint_fast64_t names_changed; /* publications of others' that changed names, so far */

    struct worker workers[WORKERS];
    atomic_bool stopping;
    atomic_bool unmounting; /* by mount_free() */
    bool serving;
};

#define CACHE_FOR_EVER 1e9 /* seconds: all that changes is invalidated */

static inline struct mount *mount_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

static inline struct node *node_of_id(struct mount *mount, fuse_ino_t id)
{
    return id == FUSE_ROOT_ID ? &mount->nodes.root : (struct node *)(uintptr_t)id;
}

static inline fuse_ino_t id_of_node(const struct node *node)
{
    return node->is_root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
}

/* attributes.c: what stat shows of a node (doc/filesystem.md, Attributes). */

/* False: the kernel must not keep them. Takes the state's lock. */
bool attributes_of_node(struct mount *mount, struct node *node, struct stat *attributes);

/* The same for an entry that was just found at `path`, with the state's lock held. */
bool attributes_of_entry(struct mount *mount, struct node *node, const struct state *state,
                         const char *path, struct stat *attributes);

/* lookup.c */
/* What a look-up answers for an entry, which the kernel refers to once more. The caller holds the
 * state's lock. */
void fill_entry(struct mount *mount, const struct state *state, const struct entry *entry,
                const char *path, struct fuse_entry_param *param);

/* Makes the mount the one that answers requests for attributes that waited. */
void own_turns(struct mount *mount);

/* The path of a node; NULL: it is gone; "": the root or a made-up name. g_free() it. */
char *path_of_node(struct mount *mount, const struct node *node);

/* The path of `name` in a directory; NULL: the directory is gone. g_free() it. */
char *path_of_child(struct mount *mount, fuse_ino_t parent, const char *name);

#endif
