/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Telling the kernel to drop names and listings, past directories that somebody holds. */
#define FUSE_USE_VERSION 312

#include "kernel/names.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/process.h"
#include "base/thread.h"
#include "replica/replica.h"

/* How long a name may hold up the publication that drops it. Requests that change names in a
 * directory hold its lock too, until the group has answered. */
#define STUCK_MICROSECONDS 1000000

/* A notification of newer kernels (protocol 7.44) that outdates all names at once, and takes no
 * lock. Headers of older ones lack its number. */
#define NOTIFY_INCREASE_EPOCH 8

struct name {
    char *name;
    struct names_batch *batch; /* NULL: nobody waits, or no more */
};

/* A directory where names are to be dropped, by one thread of the pool. */
struct directory {
    struct node *node; /* pinned */
    GQueue names;      /* struct name, in order; the first is being dropped */
    int64_t since;     /* microseconds: since when the first is */
    bool stuck;        /* nobody waits for it any more */
};

/* With the lock held. True if the batch is done with it. */
static bool leave_batch(struct name *name)
{
    bool last = name->batch && --name->batch->pending == 0;

    name->batch = NULL;
    return last;
}

static void name_free(gpointer pointer)
{
    struct name *name = pointer;

    g_free(name->name);
    g_free(name);
}

/* The name, and the listing that it may stand in: whose pages a listing has locked while it copies
 * them. */
static void drop(struct names *names, const struct node *node, const char *name)
{
    fuse_ino_t id = node->is_root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;

    counter_add(&names->table->metrics->names_dropped, 1);
    fuse_lowlevel_notify_inval_entry(names->session, id, name, strlen(name));
    fuse_lowlevel_notify_inval_inode(names->session, id, 0, 0);
}

/* All names of a directory. With the lock held, which is given back meanwhile. */
static void drop_all(struct names *names, struct directory *directory)
{
    struct name *name;

    while ((name = g_queue_peek_head(&directory->names))) {
        directory->since = g_get_monotonic_time();
        lock_give(&names->lock);
        drop(names, directory->node, name->name);
        lock_take(&names->lock);
        bool last = leave_batch(name);
        name_free(g_queue_pop_head(&directory->names));
        if (last) {
            lock_give(&names->lock);
            names->listener->dropped(names->listener);
            lock_take(&names->lock);
        }
    }
    g_hash_table_remove(names->directories, directory->node);
    node_unpin(names->table, directory->node);
    g_free(directory);
}

/* A thread has one directory after the other; of those that wait for one, one stays. */
static void *run(void *context)
{
    struct names *names = context;
    struct directory *directory;

    LOCKED(&names->lock);
    for (;;) {
        while ((directory = g_queue_pop_head(&names->ready)))
            drop_all(names, directory);
        if (names->idle > 0 || names->end)
            break;
        names->idle++;
        while (!names->end && g_queue_is_empty(&names->ready))
            lock_wait(&names->lock, &names->changed);
        names->idle--;
    }
    names->threads--;
    pthread_cond_broadcast(&names->changed);
    return NULL;
}

/* With the lock held: a thread takes the directory. If none can be started, one that is there will.
 */
static void hand_over(struct names *names, struct directory *directory)
{
    pthread_t thread;

    g_queue_push_tail(&names->ready, directory);
    if (g_queue_get_length(&names->ready) <= names->idle) {
        pthread_cond_broadcast(&names->changed);
    } else if (thread_start(&thread, run, names) == 0) {
        pthread_detach(thread);
        names->threads++;
    }
}

void names_init(struct names *names, struct names_listener *listener, struct replica *replica,
                const char *mountpoint, struct fuse_session *session, struct node_table *table)
{
    *names = (struct names){.listener = listener,
                            .replica = replica,
                            .mountpoint = mountpoint,
                            .session = session,
                            .table = table,
                            .directories = g_hash_table_new(g_direct_hash, g_direct_equal),
                            .ready = G_QUEUE_INIT};
    lock_init(&names->lock, LOCK_RANK_NAMES);
    thread_condition_init(&names->changed);
}

/* All names are looked up again: true if the kernel can do that. */
static bool outdate_all_names(const struct names *names)
{
    const struct fuse_out_header header = {.len = sizeof(header), .error = NOTIFY_INCREASE_EPOCH};

    return write(fuse_session_fd(names->session), &header, sizeof(header)) == sizeof(header);
}

void names_drop(struct names *names, struct node *node, const char *text, struct names_batch *batch)
{
    struct name *name = g_new(struct name, 1);

    *name = (struct name){.name = g_strdup(text)};
    lock_take(&names->lock);
    if (names->end) { /* no thread is to be begun any more: the mount goes */
        lock_give(&names->lock);
        name_free(name);
        return;
    }
    struct directory *directory = g_hash_table_lookup(names->directories, node);
    bool stuck = directory && directory->stuck;
    if (batch && !stuck) {
        name->batch = batch;
        batch->pending++;
    }
    if (!directory) {
        node_pin(names->table, node);
        directory = g_new0(struct directory, 1);
        directory->node = node;
        directory->since = g_get_monotonic_time();
        g_hash_table_insert(names->directories, node, directory);
        g_queue_push_tail(&directory->names, name);
        hand_over(names, directory);
    } else {
        g_queue_push_tail(&directory->names, name);
    }
    lock_give(&names->lock);
    if (stuck)
        outdate_all_names(names);
}

/* A directory that has held up a name for too long, now left to itself; its node, pinned, or NULL.
 * With the lock held. */
static struct node *leave_stuck(struct names *names)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, names->directories);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        struct directory *directory = value;
        if (directory->stuck || g_get_monotonic_time() - directory->since < STUCK_MICROSECONDS)
            continue;
        directory->stuck = true;
        for (GList *link = directory->names.head; link; link = link->next)
            leave_batch(link->data);
        node_pin(names->table, directory->node);
        return directory->node;
    }
    return NULL;
}

static void tell_stuck(const struct names *names, const struct node *node)
{
    g_autofree char *holder = process_that_has_open(names->mountpoint, node->inode);
    const struct state *state = replica_read_lock(names->replica);
    g_autofree char *path = node_path(names->table, node, state->tree);

    replica_read_unlock(names->replica);
    log_warning("directory /%s is held, and does not take changes of others: %s has it open; %s",
                path ? path : "(deleted)", holder ? holder : "no process that can be found",
                outdate_all_names(names) ? "names are looked up anew meanwhile"
                                         : "names in it may be old until it is free");
}

bool names_are_dropped(struct names *names, const struct names_batch *batch)
{
    lock_take(&names->lock);
    struct node *stuck = batch->pending > 0 ? leave_stuck(names) : NULL;
    bool dropped = batch->pending == 0;
    lock_give(&names->lock);
    if (stuck) {
        tell_stuck(names, stuck);
        node_unpin(names->table, stuck);
    }
    return dropped;
}

bool names_stop(struct names *names)
{
    int64_t until = g_get_monotonic_time() + STUCK_MICROSECONDS;

    LOCKED(&names->lock);
    names->end = true;
    pthread_cond_broadcast(&names->changed);
    while (names->threads > 0 &&
           lock_wait_until(&names->lock, &names->changed, until) != -ETIMEDOUT) {
    }
    return names->threads == 0;
}

void names_destroy(struct names *names)
{
    struct directory *directory;

    while ((directory = g_queue_pop_head(&names->ready))) {
        g_queue_clear_full(&directory->names, name_free);
        node_unpin(names->table, directory->node);
        g_free(directory);
    }
    g_hash_table_unref(names->directories);
    pthread_cond_destroy(&names->changed);
    lock_destroy(&names->lock);
}
