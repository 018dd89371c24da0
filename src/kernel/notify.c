/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Telling the kernel what changed, in order, from a thread of its own. */
#define FUSE_USE_VERSION 312

#include "kernel/notify.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "replica/replica.h"

#define TELL_PAUSE_MICROSECONDS 50u
#define TELL_PAUSE_MICROSECONDS_MAX 3200u

/* Longer than the kernel needs to take an answer that it has got. */
#define TAKE_MILLISECONDS 20u

/* How long an answer is on its way, and how long a reader can be between asking for the size and
 * asking for the pages, if it has to wait for a processor. */
#define ANSWER_MILLISECONDS 5u
#define READER_MILLISECONDS 20u

enum notice_kind { NOTICE_EFFECTS, NOTICE_QUORUM, NOTICE_NODE, NOTICE_CALL };

struct notice {
    struct notice *next;
    enum notice_kind kind;
    GPtrArray *effects;        /* EFFECTS */
    bool rebuilt;              /* EFFECTS: of a synchronisation */
    bool quorate;              /* QUORUM */
    struct node *node;         /* NODE: pinned */
    struct notified *notified; /* CALL */
};

static uint64_t now(void)
{
    return (uint64_t)g_get_monotonic_time() / 1000;
}

static fuse_ino_t node_id(const struct node *node)
{
    return node->is_root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
}

/* --- One node --- */

/* Attributes, and from `offset` on (-1: none) pages. The kernel does not know a node whose first
 * look-up is still being answered, perhaps with what is old by now, and would keep that for ever:
 * so it is told again until it knows the node, or has forgotten it. */
static void tell_node(struct notifier *notifier, const struct node *node, off_t offset)
{
    unsigned int pause = TELL_PAUSE_MICROSECONDS;

    while (fuse_lowlevel_notify_inval_inode(notifier->session, node_id(node), offset, 0) ==
               -ENOENT &&
           node_is_known(notifier->table, node) && !atomic_load(&notifier->ending)) {
        usleep(pause);
        pause = MIN(2 * pause, TELL_PAUSE_MICROSECONDS_MAX);
    }
}

/* True if the kernel may have taken older attributes after it was told: it has to be told again. */
static bool tell_attributes_of(struct notifier *notifier, const struct node *node)
{
    uint64_t since = now() - TAKE_MILLISECONDS;

    tell_node(notifier, node, -1);
    return node_was_sized_since(notifier->table, node, since);
}

static void drop_pages(struct notifier *notifier, struct node *node)
{
    node_note_drop(notifier->table, node);
    counter_add(&notifier->table->metrics->pages_dropped, 1);
    tell_node(notifier, node, 0);
}

static bool was_asked_lately(struct notifier *notifier, const struct node *node)
{
    uint64_t asks;

    return now() - node_asked(notifier->table, node, &asks) < READER_MILLISECONDS;
}

/* Somebody reads, or is about to: what was asked for before the notification is answered (and not
 * taken by the kernel); then whoever asks for attributes takes those of the newer version, for all
 * readers; or nobody has asked for so long that nobody is on the way to read. */
static void wait_for_readers(struct notifier *notifier, struct node *node)
{
    uint64_t end = now() + 2 * READER_MILLISECONDS;
    uint64_t before;
    uint64_t after;

    usleep(ANSWER_MILLISECONDS * 1000);
    node_may_turn(notifier->table, node);
    while (node_shows_older(notifier->table, node) && was_asked_lately(notifier, node) &&
           now() < end)
        usleep(1000);
    if (node_shows_older(notifier->table, node))
        return;
    /* Who was told goes on to read: then the answer has been taken. */
    node_asked(notifier->table, node, &before);
    end = now() + ANSWER_MILLISECONDS; /* drops after own writes wait behind this */
    do {
        usleep(1000);
        node_asked(notifier->table, node, &after);
    } while (before == after && now() < end);
}

/* The node shows the older version until the kernel has dropped its pages of it; nobody reads one
 * version up to the size of the other. What was read in between is dropped once more, and with that
 * every answer has been taken that the kernel asked for before. */
static void turn_over(struct notifier *notifier, struct node *node)
{
    uint64_t turn;

    if (!node_has_older(notifier->table, node, &turn))
        return; /* it was turned over with an earlier change */
    drop_pages(notifier, node);
    if (was_asked_lately(notifier, node))
        wait_for_readers(notifier, node);
    node_show_newer(notifier->table, node, turn);
    drop_pages(notifier, node);
    node_settle(notifier->table, node);
}

/* --- Effects --- */

static void drop_entry(struct notifier *notifier, const struct entry *entry,
                       struct names_batch *batch)
{
    struct node *directory = node_find(notifier->table, entry->parent);

    if (!directory)
        return;
    names_drop(&notifier->names, directory, entry->name, batch);
    node_unpin(notifier->table, directory);
}

static bool same_name(const struct entry *first, const struct entry *second)
{
    return first->parent == second->parent && first->type == second->type &&
           strcmp(first->name, second->name) == 0;
}

/* True as tell_attributes_of(). */
static bool tell_content(struct notifier *notifier, const struct effect *effect)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;
    struct node *node = before && after ? node_find(notifier->table, after->inode) : NULL;

    if (!node)
        return false;
    if (before->content != after->content || before->size != after->size)
        turn_over(notifier, node);
    bool again = tell_attributes_of(notifier, node);
    node_unpin(notifier->table, node);
    return again;
}

static bool tell_contents(struct notifier *notifier, const GPtrArray *effects)
{
    bool again = false;

    for (guint i = 0; i < effects->len; i++)
        again = tell_content(notifier, effects->pdata[i]) || again;
    return again;
}

static void drop_entries(struct notifier *notifier, const struct effect *effect,
                         struct names_batch *batch)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;

    if (before && after && same_name(before, after))
        return;
    if (before)
        drop_entry(notifier, before, batch);
    if (after)
        drop_entry(notifier, after, batch);
}

static void tell_effects(struct notifier *notifier, const struct notice *notice)
{
    struct names_batch batch = {0};

    for (guint i = 0; i < notice->effects->len; i++)
        drop_entries(notifier, notice->effects->pdata[i], &batch);
    if (tell_contents(notifier, notice->effects)) {
        usleep(TAKE_MILLISECONDS * 1000);
        tell_contents(notifier, notice->effects);
    }
    names_wait(&notifier->names, &batch);
    notifier->listener->told(notifier->listener, notice->effects, notice->rebuilt);
}

/* --- Modes --- */

/* Takes over the array. */
static void tell_attributes(struct notifier *notifier, GPtrArray *nodes)
{
    bool again = false;

    for (guint i = 0; i < nodes->len; i++)
        again = tell_attributes_of(notifier, nodes->pdata[i]) || again;
    if (again)
        usleep(TAKE_MILLISECONDS * 1000);
    for (guint i = 0; i < nodes->len; i++) {
        if (again)
            tell_node(notifier, nodes->pdata[i], -1);
        node_unpin(notifier->table, nodes->pdata[i]);
    }
    g_ptr_array_unref(nodes);
}

/* Clients test for quorum with the link `local`: links show it only when the kernel has dropped all
 * other modes. Those that were looked up until then are found after that. */
static void tell_modes(struct notifier *notifier, bool quorate)
{
    tell_attributes(notifier, node_all(notifier->table));
    atomic_store(&notifier->links_quorate, quorate);
    tell_attributes(notifier, node_all_links(notifier->table));
}

/* --- The thread --- */

static void carry_out(struct notifier *notifier, const struct notice *notice)
{
    switch (notice->kind) {
    case NOTICE_EFFECTS:
        tell_effects(notifier, notice);
        break;
    case NOTICE_QUORUM:
        tell_modes(notifier, notice->quorate);
        break;
    case NOTICE_NODE:
        drop_pages(notifier, notice->node);
        node_unpin(notifier->table, notice->node);
        break;
    case NOTICE_CALL:
        notice->notified->call(notice->notified);
        break;
    }
}

/* The next notice, or NULL at the end. With the lock held. */
static struct notice *take_notice(struct notifier *notifier)
{
    while (!notifier->first && !notifier->end)
        lock_wait(&notifier->lock, &notifier->there);
    struct notice *notice = notifier->end ? NULL : notifier->first;
    if (notice) {
        notifier->first = notice->next;
        if (!notifier->first)
            notifier->last = &notifier->first;
    }
    return notice;
}

static void *run(void *context)
{
    struct notifier *notifier = context;
    struct notice *notice;

    lock_take(&notifier->lock);
    while ((notice = take_notice(notifier))) {
        lock_give(&notifier->lock);
        carry_out(notifier, notice);
        g_free(notice);
        lock_take(&notifier->lock);
    }
    lock_give(&notifier->lock);
    return NULL;
}

static void queue_notice(struct notifier *notifier, const struct notice *content)
{
    struct notice *notice = g_new(struct notice, 1);

    *notice = *content;
    lock_take(&notifier->lock);
    *notifier->last = notice;
    notifier->last = &notice->next;
    pthread_cond_signal(&notifier->there);
    lock_give(&notifier->lock);
}

void notifier_tell(struct notifier *notifier, GPtrArray *effects, bool rebuilt)
{
    queue_notice(notifier,
                 &(struct notice){.kind = NOTICE_EFFECTS, .effects = effects, .rebuilt = rebuilt});
}

void notifier_tell_quorum(struct notifier *notifier, bool quorate)
{
    queue_notice(notifier, &(struct notice){.kind = NOTICE_QUORUM, .quorate = quorate});
}

void notifier_drop_node(struct notifier *notifier, struct node *node)
{
    node_pin(notifier->table, node);
    queue_notice(notifier, &(struct notice){.kind = NOTICE_NODE, .node = node});
}

void notifier_call(struct notifier *notifier, struct notified *notified)
{
    queue_notice(notifier, &(struct notice){.kind = NOTICE_CALL, .notified = notified});
}

void notifier_drop_time(struct notifier *notifier, uint64_t inode)
{
    struct node *node = node_find(notifier->table, inode);

    if (!node)
        return;
    tell_node(notifier, node, -1);
    node_unpin(notifier->table, node);
}

void notifier_init(struct notifier *notifier, struct notifier_listener *listener,
                   struct replica *replica, const char *mountpoint, struct fuse_session *session,
                   struct node_table *table)
{
    notifier->listener = listener;
    notifier->session = session;
    notifier->table = table;
    notifier->last = &notifier->first;
    atomic_init(&notifier->links_quorate, replica_is_quorate(replica));
    lock_init(&notifier->lock, LOCK_RANK_NOTIFIER);
    pthread_cond_init(&notifier->there, NULL);
    names_init(&notifier->names, replica, mountpoint, session, table);
}

int notifier_start(struct notifier *notifier)
{
    return thread_start(&notifier->thread, run, notifier);
}

bool notifier_stop(struct notifier *notifier)
{
    atomic_store(&notifier->ending, true);
    lock_take(&notifier->lock);
    notifier->end = true;
    pthread_cond_signal(&notifier->there);
    lock_give(&notifier->lock);
    pthread_join(notifier->thread, NULL);
    return names_stop(&notifier->names);
}

void notifier_destroy(struct notifier *notifier)
{
    struct notice *notice;

    while ((notice = notifier->first)) {
        notifier->first = notice->next;
        if (notice->node)
            node_unpin(notifier->table, notice->node);
        if (notice->effects)
            g_ptr_array_unref(notice->effects);
        if (notice->notified)
            notice->notified->call(notice->notified);
        g_free(notice);
    }
    pthread_cond_destroy(&notifier->there);
    lock_destroy(&notifier->lock);
    names_destroy(&notifier->names);
}
