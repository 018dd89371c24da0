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

#include "core/draft.h"
#include "core/state.h"
#include "mount/mount.h"
#include "mount/operations.h"
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
    VIRTUAL_METRICS,
    VIRTUAL_COUNT,
    VIRTUAL_NONE = -1,
};

static inline bool virtual_is_link(enum virtual_name name)
{
    return name >= VIRTUAL_LOCAL && name <= VIRTUAL_OPENVZ;
}

/* A truncation by an open with O_TRUNC waits for the write that follows, to be one change with it.
 */
enum truncation {
    TRUNCATION_NONE,
    TRUNCATION_WAITS,
    TRUNCATION_SENT,
    TRUNCATION_MADE, /* but the kernel may not have brought the write to its end */
};

/* What the kernel knows under one node id (which is its address; the root's is FUSE_ROOT_ID): an
 * identity, with pages and attributes of its own in the kernel. An entry can have several: the one
 * that its name leads to, and older ones that somebody still has open. Under the table's lock but
 * for what never changes. */
struct node {
    enum virtual_name virtual_name; /* VIRTUAL_NONE: a tree entry, or the root */
    bool is_root;
    uint64_t inode;      /* tree entry */
    struct buffer *text; /* status file: its content, never another */
    struct node *next;   /* the next node of the same inode */
    struct entry *kept;  /* what it serves instead of the tree's entry: gone, frozen or truncated */
    bool gone;           /* its entry is deleted, or its number is another's: changes are ENOENT */
    bool named;          /* the entry's name leads here */
    bool visited; /* a thread that was told to look again was led here, and must not be told so
                     again */
    enum truncation truncation; /* of an open with O_TRUNC */
    pid_t rewriter;         /* truncation: the thread that opened it, then the one that writes */
    unsigned int truncates; /* truncations of it that are being made as nobody wrote */
    uint64_t deadline;      /* milliseconds: truncation: it is sent; frozen: it thaws; 0: none */
    bool listed;            /* among the mount's deadlines, which pin it */
    uint64_t foreign;       /* milliseconds: when another node last changed the entry; 0: never */
    uint64_t lookups;       /* the kernel's references */
    uint32_t pins;          /* our own for a while */
};

/* A look-up of a file whose opener has closed it: it must not find what the truncation, which is
 * under way, takes away, if that does not take too long. */
struct late_lookup {
    struct node *node; /* with the truncation; pinned */
    uint64_t due;      /* milliseconds: then it is answered in any case */
    fuse_req_t req;
    fuse_ino_t parent;
    char *name;
};

struct node_table {
    pthread_mutex_t lock;
    GHashTable *by_inode;      /* inode → the first of its nodes that are not gone */
    GHashTable *lost;          /* set: nodes found in no other way, until the kernel forgets them */
    GHashTable *looking_again; /* thread → milliseconds: when it was told so (truncate.c) */
    struct node root;
    struct node *virtuals[VIRTUAL_COUNT]; /* the newest node of each */
};

/* Something that the kernel must be told. */
struct notice {
    struct notice *next;
    GPtrArray *foreign; /* effects that this mount did not ask for; counters rise when the kernel
                           knows. NULL: none */
    GPtrArray *own;     /* effects that it asked for, whose counters have risen. NULL: none */
    struct node
        *node; /* a node (pinned) whose pages and attributes are to be dropped. NULL: none */
    struct name_drop *drop; /* a name to be dropped, and its request. NULL: none */
    bool rebuilt;           /* `foreign` is a synchronisation */
    bool modes;             /* quorum changed, and all modes with it */
};

/* A thread that tells the kernel things, in order. There are two: dropping pages waits for pages
 * that a write under way has locked, so that no request may wait for it; dropping a name waits only
 * for changes of names. */
struct notifier {
    struct mount *mount;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t there;
    struct notice *first;
    struct notice **last;
    bool end;
};

enum request_kind {
    REQUEST_OTHER,
    REQUEST_MKNOD,
    REQUEST_MKDIR,
    REQUEST_SETATTR,
    REQUEST_WRITE,
    REQUEST_OPEN,     /* SETATTR of an open with O_TRUNC */
    REQUEST_TRUNCATE, /* nobody's: a truncation whose time has come */
};

/* A request that waits for its change. */
struct request {
    struct caller caller;
    struct mount *mount;
    fuse_req_t req;
    enum request_kind kind;
    struct operation operation; /* none: nobody asked */
    pid_t thread;               /* of the caller */
    bool interrupted;           /* it got a signal and is in the list; under interrupted_lock */
    struct node *node;          /* SETATTR, OPEN, WRITE, TRUNCATE (pinned) */
    bool truncates;             /* it makes the truncation of `node` that waited */
    size_t size;                /* WRITE */
    char *path;                 /* owned */
};

/* A name that the kernel has to drop before a request is answered, if that does not take too long:
 * whoever holds the directory's lock may wait for the file's, which the kernel holds for the
 * request.
 */
struct name_drop {
    struct node *node;       /* whose entry has the name; pinned */
    struct request *request; /* NULL: it has been answered. Under watch_lock */
    int result;              /* the answer */
    uint64_t due;            /* milliseconds: then it is answered in any case */
};

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
    struct node_table nodes;
    char *link_targets[VIRTUAL_OPENVZ + 1];

    struct worker workers[WORKERS];
    atomic_bool stopping;
    atomic_bool unmounting; /* by mount_free() */
    bool serving;

    struct notifier pages; /* drops pages, attributes, and what comes with them */
    struct notifier names; /* drops names, and finishes requests that waited for that */

    pthread_t watch;
    pthread_mutex_t watch_lock;
    pthread_cond_t watch_there;
    GPtrArray *interrupted; /* struct request whose caller got a signal */
    GPtrArray *deadlines;   /* struct node, pinned, whose time comes */
    GPtrArray *drops;       /* struct name_drop under way */
    GPtrArray *lookups;     /* struct late_lookup */
    bool watching;          /* the thread looks again soon by itself */
    bool end_watch;

    atomic_uint truncations; /* nodes whose truncation waits, or is made as nobody wrote */

    /* What the links say of quorum: changes once the kernel has dropped all other modes, as
     * programs take them for true of everything. */
    atomic_bool links_quorate;
};

/* nodes.c */
void node_table_init(struct node_table *table);
void node_table_destroy(struct node_table *table);
struct node *node_of(struct mount *mount, fuse_ino_t ino);
fuse_ino_t node_id(const struct node *node);
/* The node that an entry's name leads to, one look-up more, for a thread that asks. The caller
 * holds the state's lock. */
struct node *node_look_up(struct mount *mount, uint64_t inode, pid_t thread);
/* The thread gets ESTALE. The kernel looks the name up again after one, and passes a second one on
 * to the program. */
void node_note_looking_again(struct mount *mount, pid_t thread);
struct node *node_look_up_virtual(struct mount *mount, enum virtual_name name);
void node_forget(struct mount *mount, struct node *node, uint64_t lookups);
void node_pin(struct mount *mount, struct node *node);
void node_unpin(struct mount *mount, struct node *node);
/* A node of the inode whose truncation waits, also one that the kernel has forgotten, pinned, and
 * who opened it; NULL: none. */
struct node *node_pin_waiting(struct mount *mount, uint64_t inode, pid_t *opener);
/* A node of the inode whose truncation is being made as nobody wrote; NULL: none. With the table's
 * lock held. */
struct node *node_truncating(struct mount *mount, uint64_t inode);
/* All nodes of the tree that the kernel knows, and the links, pinned. */
GPtrArray *node_pin_all(struct mount *mount);
GPtrArray *node_pin_links(struct mount *mount);

/* The nodes of an inode that the kernel knows (0: the root), pinned; NULL: none. */
GPtrArray *node_pin_inode(struct mount *mount, uint64_t inode);

/* True if pages or attributes of an inode may be wrong in the kernel although `origin`, a node of
 * it, asked for the change: there are other nodes of it, or another than this mount changed it
 * lately. */
bool node_is_contested(struct mount *mount, uint64_t inode, const struct node *origin);

bool node_is_gone(struct mount *mount, const struct node *node);

/* After a change through `node` the name of its entry must not lead to any other node, whose pages
 * are old: true if it may, and has to be dropped. */
bool node_takes_names(struct mount *mount, const struct node *node);

/* What a tree node shows: its living entry, or what it keeps; one reference. `*path` (g_free() it;
 * NULL allowed) is the living entry's path, NULL if it is gone. The root gives NULL and the path
 * "". */
struct entry *node_entry(struct mount *mount, const struct node *node, char **path);

/* All with the table's lock held; clearing gives a pin back. */
void node_set_truncation(struct mount *mount, struct node *node, enum truncation truncation);
void node_set_deadline(struct mount *mount, struct node *node, uint64_t deadline);
void node_clear_deadline(struct mount *mount, struct node *node);

/* callers.c: what /proc tells of a thread that asks. */
enum thread_call {
    THREAD_ELSEWHERE, /* in any other system call or none, or the thread has ended */
    THREAD_RUNS,      /* nobody can tell where; it will soon be seen */
    THREAD_OPENS,     /* in open() or exec(): the descriptor may not be there yet */
    THREAD_LOOKS,     /* in stat() or access() of a path */
};
enum thread_call thread_call(pid_t thread);
/* True if a file descriptor of the thread leads to the entry of that name and inode number. */
bool thread_has_descriptor(pid_t thread, const char *name, uint64_t inode);

/* truncate.c: O_TRUNC waits for the write. */
/* An open with O_TRUNC of `node`: answers the request. */
void truncate_at_open(fuse_req_t req, struct node *node);
/* From now on the node shows an empty file, and others who ask for its attributes are led elsewhere
 * (truncate_view()). `attributes`: those of the empty file. -ENOENT: it is gone. */
int truncate_begin(struct mount *mount, struct node *node, pid_t opener, const char *path,
                   struct stat *attributes);
/* True if the thread may be inside of open(). */
bool truncate_may_be_opening(pid_t thread);
/* What a thread is shown of a node: what it is, for good or only this once (the next one must ask
 * again); or it has to look the name up again (ESTALE), which leads it to another node. */
enum truncate_view { VIEW_LASTS, VIEW_PASSES, VIEW_ELSEWHERE };
enum truncate_view truncate_view(struct mount *mount, struct node *node, pid_t asker);
/* The waiting truncation of `node`, if there is one, is the caller's now to send with what
 * `writer` asked for. */
bool truncate_take(struct mount *mount, struct node *node, pid_t writer);
/* It could not be sent: the old content is there again. */
void truncate_cancel(struct mount *mount, struct node *node);
/* A look-up found an entry with a truncation that waits and whose opener has closed it, or that is
 * being made: true, and the look-up will be answered when it is done, or after a while. */
bool truncate_before_lookup(fuse_req_t req, fuse_ino_t parent, const char *name, uint64_t inode);
/* A truncation that nobody wrote to has been made, or has failed. */
void truncate_done(struct mount *mount, struct node *node);
/* Truncations whose time has come are sent, frozen nodes thaw. `now`: milliseconds. */
void deadlines_meet(struct mount *mount, uint64_t now);

/* operations.c: around each request of the kernel, in the worker that has it. */
void operation_begin(struct mount *mount, const struct fuse_buf *buffer,
                     struct operation *operation);
void operation_end(struct mount *mount, const struct operation *operation);
/* The operation that this thread has under way goes on in a request, which tells when it is
 * answered. None if there is none. */
struct operation operation_hand_on(void);
void operation_answered(struct mount *mount, const struct operation *operation, int result);

/* virtual.c */
enum virtual_name virtual_find(const char *name);
const char *virtual_text_name(enum virtual_name name);
struct buffer *virtual_text(struct mount *mount, enum virtual_name name);
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
void look_up(fuse_req_t req, fuse_ino_t parent,
             const char *name); /* without a look at truncations */
void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *file);
/* Fills in what a look-up answers for an entry, and counts the look-up. The caller holds the
 * state's lock. */
void fill_entry(struct mount *mount, const struct entry *entry, const char *path, pid_t thread,
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
struct request *request_new(fuse_req_t req, enum request_kind kind, char *path /* taken over */);
/* Sends the change off; a request without a path is answered ENOENT. */
void request_submit(struct request *request, struct change *change);
/* Answers and frees; exactly once. */
void request_finish(struct request *request, int result);

/* workers.c */
int workers_start(struct mount *mount);
void workers_stop(struct mount *mount);

/* watch.c: a thread for what has a time: dying callers, waiting truncations and those who wait for
 * them, frozen nodes. */
void watch_init(struct mount *mount);
void watch_destroy(struct mount *mount);
int watch_start(struct mount *mount);
void watch_stop(struct mount *mount);
void watch_request(struct request *request); /* before it is submitted */
void unwatch_request(struct request *request);
void watch_deadline(struct mount *mount, struct node *node); /* for node_set_deadline() */
void unwatch_deadline(struct mount *mount, struct node *node);
/* From here to unwatch_drop() the request is answered when its time comes; unwatch_drop() answers
 * it if that has not happened, and frees the drop. */
void watch_drop(struct mount *mount, struct name_drop *drop);
void unwatch_drop(struct mount *mount, struct name_drop *drop);
/* A look-up that waits for the truncation of `node`, whose pin is taken over, is answered by
 * answer_lookups_of(), or when its time comes. With the table's lock held. */
void watch_lookup(struct mount *mount, struct node *node, fuse_req_t req, fuse_ino_t parent,
                  const char *name);
void answer_lookups_of(struct mount *mount, const struct node *node);
uint64_t watch_now(void); /* milliseconds */

/* invalidate.c */
int invalidation_start(struct mount *mount);
void invalidation_stop(struct mount *mount);
/* Drops a node's pages and attributes, soon. */
void invalidate_node(struct mount *mount, struct node *node);
/* Drops the name of the request's node and finishes the request after that, or after a short while.
 * The writer must not do this itself: the kernel may hold the directory's lock for a request that
 * waits for the writer. */
void invalidate_name_and_finish(struct request *request, int result);

#define CACHE_FOR_EVER 1e9 /* seconds: all that changes is invalidated */

#endif
