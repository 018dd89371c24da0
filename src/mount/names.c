/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Telling the kernel to drop names, past directories whose lock somebody holds. */
#define FUSE_USE_VERSION 312

#include "mount/names.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/thread.h"
#include "mount/caller.h"
#include "replica/replica.h"

/* How long a name may hold up the publication that drops it. Requests that change names in a
 * directory hold its lock too, until the group has answered. */
#define STUCK_MILLISECONDS 1000u
#define STOP_MILLISECONDS 1000u

/* More directories than this do not get a thread each: they are given up, with a message. */
#define STUCK_MAX 64u

/* A notification of newer kernels (protocol 7.44) that outdates all names at once, and takes no
 * lock. Headers of older ones lack its number. */
#define NOTIFY_INCREASE_EPOCH 8

struct name_item {
    struct node *directory; /* pinned */
    char *name;
    struct names_batch *batch; /* NULL: nobody waits, or no more */
    struct name_waiter *waiter;
};

/* A thread that drops names. */
struct names_dropper {
    struct names *names;
    struct name_item *item; /* what it is at; NULL: nothing */
    uint64_t since;         /* milliseconds: since when */
    struct node *stuck_at;  /* the directory that it waits for alone; NULL: it is the current one */
    GQueue queue;           /* stuck: struct name_item of that directory, in order */
};

static uint64_t now(void)
{
    return (uint64_t)g_get_monotonic_time() / 1000;
}

static void item_free(struct names *names, struct name_item *item)
{
    node_unpin(names->table, item->directory);
    g_free(item->name);
    g_free(item);
}

/* With the lock held. */
static void leave_batch(struct name_item *item)
{
    if (item->batch)
        item->batch->pending--;
    item->batch = NULL;
}

static fuse_ino_t node_id(const struct node *node)
{
    return node->is_root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
}

/* The name, and the listing that it may stand in: whose pages a listing has locked while it copies
 * them. */
static void drop(struct names *names, const struct name_item *item)
{
    const fuse_ino_t directory = node_id(item->directory);

    counter_add(names->dropped, 1);
    fuse_lowlevel_notify_inval_entry(names->session, directory, item->name, strlen(item->name));
    fuse_lowlevel_notify_inval_inode(names->session, directory, 0, 0);
    if (item->waiter)
        item->waiter->dropped(item->waiter);
}

/* The next item of a dropper, or NULL at its end. With the lock held. */
static struct name_item *take_item(struct names *names, struct names_dropper *dropper)
{
    while (!dropper->stuck_at && !names->end && g_queue_is_empty(&names->queue))
        lock_wait(&names->lock, &names->changed);
    if (dropper->stuck_at)
        return g_queue_pop_head(&dropper->queue);
    return g_queue_pop_head(&names->queue);
}

static void *run_dropper(void *context)
{
    struct names_dropper *dropper = context;
    struct names *names = dropper->names;

    lock_take(&names->lock);
    while ((dropper->item = take_item(names, dropper))) {
        dropper->since = now();
        lock_give(&names->lock);
        drop(names, dropper->item);
        lock_take(&names->lock);
        leave_batch(dropper->item);
        pthread_cond_broadcast(&names->changed);
        struct name_item *item = dropper->item;
        dropper->item = NULL;
        lock_give(&names->lock);
        item_free(names, item);
        lock_take(&names->lock);
    }
    if (dropper->stuck_at) {
        g_ptr_array_remove_fast(names->stuck, dropper);
        log_info("names in a directory that was held are dropped again");
    }
    names->threads--;
    pthread_cond_broadcast(&names->changed);
    lock_give(&names->lock);
    g_free(dropper);
    return NULL;
}

/* A dropper for the queue. With the lock held. */
static int start_dropper(struct names *names)
{
    struct names_dropper *dropper = g_new0(struct names_dropper, 1);
    pthread_t thread;

    dropper->names = names;
    int error = thread_start(&thread, run_dropper, dropper);
    if (error) {
        g_free(dropper);
        return error;
    }
    pthread_detach(thread);
    names->current = dropper;
    names->threads++;
    return 0;
}

void names_init(struct names *names, struct fuse_session *session, struct node_table *table,
                struct replica *replica, const char *mountpoint, struct counter *dropped)
{
    *names = (struct names){.session = session,
                            .table = table,
                            .replica = replica,
                            .mountpoint = mountpoint,
                            .dropped = dropped,
                            .queue = G_QUEUE_INIT,
                            .stuck = g_ptr_array_new()};
    lock_init(&names->lock, LOCK_RANK_MOUNT_NAMES);
    thread_condition_init(&names->changed);
}

int names_start(struct names *names)
{
    lock_take(&names->lock);
    int error = start_dropper(names);
    lock_give(&names->lock);
    return error;
}

/* The dropper that waits for that directory alone; NULL: none. With the lock held. */
static struct names_dropper *find_stuck(const struct names *names, const struct node *directory)
{
    for (guint i = 0; i < names->stuck->len; i++) {
        struct names_dropper *dropper = names->stuck->pdata[i];
        if (dropper->stuck_at == directory)
            return dropper;
    }
    return NULL;
}

/* All names are looked up again: true if the kernel can do that. */
static bool outdate_all_names(struct names *names)
{
    const struct fuse_out_header header = {.len = sizeof(header), .error = NOTIFY_INCREASE_EPOCH};

    return write(fuse_session_fd(names->session), &header, sizeof(header)) == sizeof(header);
}

void names_drop(struct names *names, struct node *directory, const char *name,
                struct names_batch *batch, struct name_waiter *waiter)
{
    struct name_item *item = g_new(struct name_item, 1);

    *item = (struct name_item){
        .directory = directory, .name = g_strdup(name), .batch = batch, .waiter = waiter};
    node_pin(names->table, directory);
    lock_take(&names->lock);
    struct names_dropper *stuck = find_stuck(names, directory);
    if (stuck) {
        item->batch = NULL;
        g_queue_push_tail(&stuck->queue, item);
    } else {
        if (batch)
            batch->pending++;
        g_queue_push_tail(&names->queue, item);
        pthread_cond_broadcast(&names->changed);
    }
    lock_give(&names->lock);
    if (stuck)
        outdate_all_names(names);
}

/* The current dropper keeps the directory that it waits for, and all that is queued for it; another
 * goes on with the rest. With the lock held. False: there are too many already. */
static bool isolate(struct names *names)
{
    struct names_dropper *dropper = names->current;

    if (names->stuck->len >= STUCK_MAX || start_dropper(names) != 0)
        return false;
    dropper->stuck_at = dropper->item->directory;
    leave_batch(dropper->item);
    for (GList *link = names->queue.head; link;) {
        GList *next = link->next;
        struct name_item *item = link->data;
        if (item->directory == dropper->stuck_at) {
            leave_batch(item);
            g_queue_unlink(&names->queue, link);
            g_queue_push_tail_link(&dropper->queue, link);
        }
        link = next;
    }
    g_ptr_array_add(names->stuck, dropper);
    return true;
}

static void tell_stuck(struct names *names, const struct node *directory)
{
    g_autofree char *holder = caller_who_holds(names->mountpoint, directory->inode);
    const struct state *state = replica_read_lock(names->replica);
    g_autofree char *path = node_path(names->table, directory, state->tree);

    replica_read_unlock(names->replica);
    log_warning("directory /%s is held by a process that has it open and does not go on: %s; %s",
                path ? path : "(deleted)", holder,
                outdate_all_names(names) ? "names are looked up anew meanwhile"
                                         : "names in it may be old until it goes on");
}

/* Nobody waits for the batch any more. With the lock held. */
static void give_up(struct names *names, struct names_batch *batch)
{
    if (names->current->item && names->current->item->batch == batch)
        leave_batch(names->current->item);
    for (GList *link = names->queue.head; link; link = link->next) {
        struct name_item *item = link->data;
        if (item->batch == batch)
            leave_batch(item);
    }
}

/* With the lock held, which is given back meanwhile. */
static void leave_to_itself(struct names *names, struct names_batch *batch)
{
    struct node *directory = names->current->item->directory;

    if (!isolate(names)) {
        give_up(names, batch);
        return;
    }
    node_pin(names->table, directory);
    lock_give(&names->lock);
    tell_stuck(names, directory);
    node_unpin(names->table, directory);
    lock_take(&names->lock);
}

void names_wait(struct names *names, struct names_batch *batch)
{
    lock_take(&names->lock);
    while (batch->pending > 0 && !names->end) {
        const struct names_dropper *dropper = names->current;
        uint64_t due = (dropper->item ? dropper->since : now()) + STUCK_MILLISECONDS;
        const struct timespec until = {.tv_sec = (time_t)(due / 1000),
                                       .tv_nsec = (long)(due % 1000) * 1000000};
        if (lock_wait_until(&names->lock, &names->changed, &until) == -ETIMEDOUT &&
            batch->pending > 0 && names->current->item &&
            names->current->since + STUCK_MILLISECONDS <= now())
            leave_to_itself(names, batch);
    }
    if (batch->pending > 0)
        give_up(names, batch);
    lock_give(&names->lock);
}

bool names_stop(struct names *names)
{
    uint64_t due = now() + STOP_MILLISECONDS;
    const struct timespec until = {.tv_sec = (time_t)(due / 1000),
                                   .tv_nsec = (long)(due % 1000) * 1000000};

    lock_take(&names->lock);
    names->end = true;
    pthread_cond_broadcast(&names->changed);
    while (names->threads > 0 &&
           lock_wait_until(&names->lock, &names->changed, &until) != -ETIMEDOUT) {
    }
    bool ended = names->threads == 0;
    lock_give(&names->lock);
    return ended;
}

void names_destroy(struct names *names)
{
    struct name_item *item;

    while ((item = g_queue_pop_head(&names->queue)))
        item_free(names, item);
    g_ptr_array_unref(names->stuck);
    pthread_cond_destroy(&names->changed);
    lock_destroy(&names->lock);
}
