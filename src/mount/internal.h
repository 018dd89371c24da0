/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the mount's files share among themselves. */
#ifndef PMXCFS_MOUNT_INTERNAL_H
#define PMXCFS_MOUNT_INTERNAL_H

#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/state.h"
#include "mount/mount.h"
#include "replica/replica.h"

/* The names in the root that are made up here. The order is that of their listing. */
enum virtual_name {
    VIRTUAL_LOCAL,
    VIRTUAL_QEMU_SERVER,
    VIRTUAL_LXC,
    VIRTUAL_OPENVZ,
    VIRTUAL_VERSION,
    VIRTUAL_MEMBERS,
    VIRTUAL_VMLIST,
    VIRTUAL_CLUSTERLOG,
    VIRTUAL_RRD,
    VIRTUAL_DEBUG,
    VIRTUAL_COUNT,
    VIRTUAL_NONE = -1,
};

static inline bool virtual_is_link(enum virtual_name name)
{
    return name >= VIRTUAL_LOCAL && name <= VIRTUAL_OPENVZ;
}

/* What the kernel knows under one node id (which is its address; the root's is FUSE_ROOT_ID). A
 * node is an identity: it lives with one entry, serves that entry's last state when it is gone, and
 * ends when the kernel has forgotten it. */
struct node {
    enum virtual_name virtual_name; /* VIRTUAL_NONE: a tree entry, or the root */
    bool is_root;
    uint64_t inode;     /* tree entry */
    struct block *text; /* status file: its content, never another */
    struct entry *last; /* gone: what it was. Written under the state's exclusive lock */
    _Atomic uint64_t
        foreign;      /* milliseconds: when another than this mount last changed it; 0: never */
    uint64_t lookups; /* the kernel's references; under the table's lock */
    uint32_t pins;    /* the invalidator's references; under the table's lock */
};

struct node_table {
    pthread_mutex_t lock;
    GHashTable *by_inode; /* inode → the living node */
    struct node root;
    struct node *virtuals[VIRTUAL_COUNT]; /* the newest node of each */
};

/* Something that the kernel must be told. */
struct notice {
    struct notice *next;
    GPtrArray *foreign; /* effects that this mount did not ask for; counters rise when the kernel
                           knows. NULL: none */
    GPtrArray *own;     /* effects that it asked for, whose counters have risen. NULL: none */
    bool rebuilt;       /* `foreign` is a synchronisation */
    bool modes;         /* quorum changed, and all modes with it */
};

enum request_kind { REQUEST_OTHER, REQUEST_MKNOD, REQUEST_MKDIR, REQUEST_SETATTR, REQUEST_WRITE };

/* A request that waits for its change. */
struct request {
    struct caller caller;
    struct mount *mount;
    fuse_req_t req;
    enum request_kind kind;
    pid_t thread;      /* of the caller */
    bool interrupted;  /* it got a signal and is in the list; under interrupted_lock */
    struct node *node; /* SETATTR */
    size_t size;       /* WRITE */
    char *path;        /* owned */
};

#define WORKERS 4

struct mount {
    struct mount_options options;
    struct fuse_session *session;
    struct node_table nodes;
    char *link_targets[VIRTUAL_OPENVZ + 1];

    pthread_t workers[WORKERS];
    atomic_bool running[WORKERS];
    atomic_bool stopping;
    bool serving;

    pthread_t invalidator;
    pthread_mutex_t notice_lock;
    pthread_cond_t notice_there;
    struct notice *first_notice;
    struct notice **last_notice;
    bool end_invalidator;

    pthread_t watch;
    pthread_mutex_t interrupted_lock;
    pthread_cond_t interrupted_there;
    GPtrArray *interrupted; /* struct request whose caller got a signal */
    bool end_watch;
};

/* nodes.c */
void node_table_init(struct node_table *table);
void node_table_destroy(struct node_table *table);
struct node *node_of(struct mount *mount, fuse_ino_t ino);
fuse_ino_t node_id(const struct node *node);
/* The living node of an entry, one look-up more. The caller holds the state's lock. */
struct node *node_look_up(struct mount *mount, uint64_t inode);
struct node *node_look_up_virtual(struct mount *mount, enum virtual_name name);
void node_forget(struct mount *mount, struct node *node, uint64_t lookups);
/* The living node of an inode if the kernel knows it, pinned; else NULL. 0 is the root. */
struct node *node_pin(struct mount *mount, uint64_t inode);
void node_unpin(struct mount *mount, struct node *node);
/* All nodes that the kernel knows, pinned, links and root first. */
GPtrArray *node_pin_all(struct mount *mount);

/* Another than this mount changed the entry of this inode lately: what the kernel did by itself may
 * not be right. */
bool node_is_contested(struct mount *mount, uint64_t inode);

/* The entry of a tree node, one reference more: the living one, or the last that it had. `*path`
 * (g_free() it; NULL allowed) is its path, NULL if it is gone. The root gives NULL and the path "".
 */
struct entry *node_entry(struct mount *mount, const struct node *node, char **path);

/* virtual.c */
enum virtual_name virtual_find(const char *name);
const char *virtual_text_name(enum virtual_name name);
struct block *virtual_text(struct mount *mount, enum virtual_name name);
int virtual_write(enum virtual_name name, const char *data, size_t size, off_t offset);

/* attributes.c */
void attributes_of_entry(const struct mount *mount, const struct entry *entry, const char *path,
                         struct stat *attributes);
void attributes_of_root(const struct mount *mount, struct stat *attributes);
void attributes_of_virtual(const struct mount *mount, const struct node *node,
                           struct stat *attributes);
/* Whatever it is. */
void attributes_of_node(struct mount *mount, const struct node *node, struct stat *attributes);

/* read.c */
void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups);
void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file);
void op_readlink(fuse_req_t req, fuse_ino_t ino);
void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
             struct fuse_file_info *file);
void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                struct fuse_file_info *file);
void op_statfs(fuse_req_t req, fuse_ino_t ino);
/* Fills in what a look-up answers for an entry, and counts the look-up. The caller holds the
 * state's lock. */
void fill_entry(struct mount *mount, const struct entry *entry, const char *path,
                struct fuse_entry_param *param);

/* change.c */
void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attributes, int to_set,
                struct fuse_file_info *file);
void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device);
void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
               const char *new_name, unsigned int flags);
void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
              struct fuse_file_info *file);
void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name);
/* Answers and frees; exactly once. */
void request_finish(struct request *request, int result);

/* interrupt.c */
int interrupt_watch_start(struct mount *mount);
void interrupt_watch_stop(struct mount *mount);
void request_watch_interrupt(struct request *request);
void request_forget_interrupt(struct request *request);

/* invalidate.c */
int invalidator_start(struct mount *mount);
void invalidator_stop(struct mount *mount);

#define CACHE_FOR_EVER 1e9 /* seconds: all that changes is invalidated */

#endif
