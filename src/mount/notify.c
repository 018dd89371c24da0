/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Telling the kernel what changed, in order, from a thread of its own. */
#define FUSE_USE_VERSION 312

#include "mount/notify.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <string.h>
#include <unistd.h>

#include "base/thread.h"
#include "mount/operations.h"
#include "replica/replica.h"

#define TELL_PAUSE_MICROSECONDS 50u
#define TELL_PAUSE_MICROSECONDS_MAX 3200u

/* Longer than the kernel needs to take an answer that it has got. */
#define TAKE_MILLISECONDS (2 * SIZED_MILLISECONDS)

enum notice_kind { NOTICE_EFFECTS, NOTICE_QUORUM, NOTICE_NODE };

struct notice {
    struct notice *next;
    enum notice_kind kind;
    GPtrArray *effects; /* EFFECTS */
    bool rebuilt;       /* EFFECTS: of a synchronisation */
    bool quorate;       /* QUORUM */
    struct node *node;  /* NODE: pinned */
};

/* Nodes (pinned) whose attributes the kernel may have taken from an older answer after it was told.
 */
struct unsettled {
    GPtrArray *nodes;
    uint64_t until; /* milliseconds */
};

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

static void drop_pages(struct notifier *notifier, const struct node *node)
{
    counter_add(&notifier->options->metrics->pages_dropped, 1);
    tell_node(notifier, node, 0);
}

/* The node shows the old version until the kernel has dropped all pages of it, and the new one from
 * then on. What was read in between is dropped once more, and with that every answer has been taken
 * that the kernel asked for before: no size of one version ever meets a page of another. */
static void turn_over(struct notifier *notifier, struct node *node)
{
    drop_pages(notifier, node);
    node_show_new(notifier->table, node);
    tell_node(notifier, node, 0);
    node_settle(notifier->table, node);
}

/* Gives the pin back, or keeps the node among those that are told again. */
static void settle_later(struct notifier *notifier, struct node *node, struct unsettled *unsettled)
{
    uint64_t until = node_unsettled_until(notifier->table, node, TAKE_MILLISECONDS);

    if (until <= (uint64_t)g_get_monotonic_time() / 1000) {
        node_unpin(notifier->table, node);
        return;
    }
    if (!unsettled->nodes)
        unsettled->nodes = g_ptr_array_new();
    g_ptr_array_add(unsettled->nodes, node);
    unsettled->until = MAX(unsettled->until, until);
}

static void settle(struct notifier *notifier, struct unsettled *unsettled)
{
    uint64_t now = (uint64_t)g_get_monotonic_time() / 1000;

    if (!unsettled->nodes)
        return;
    if (unsettled->until > now)
        usleep((useconds_t)(unsettled->until - now) * 1000);
    for (guint i = 0; i < unsettled->nodes->len; i++) {
        struct node *node = unsettled->nodes->pdata[i];
        tell_node(notifier, node, -1);
        node_unpin(notifier->table, node);
    }
    g_ptr_array_unref(unsettled->nodes);
}

/* --- Effects --- */

static void drop_entry(struct notifier *notifier, const struct entry *entry,
                       struct names_batch *batch)
{
    struct node *directory = node_find(notifier->table, entry->parent);

    if (!directory)
        return;
    names_drop(&notifier->names, directory, entry->name, batch, NULL);
    node_unpin(notifier->table, directory);
}

static bool same_name(const struct entry *first, const struct entry *second)
{
    return first->parent == second->parent && first->type == second->type &&
           strcmp(first->name, second->name) == 0;
}

static void drop_content(struct notifier *notifier, const struct effect *effect,
                         struct unsettled *unsettled)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;
    struct node *node = node_find(notifier->table, after->inode);

    if (!node)
        return;
    if (before->content != after->content || before->size != after->size)
        turn_over(notifier, node);
    else
        tell_node(notifier, node, -1);
    settle_later(notifier, node, unsettled);
}

static void tell_effect(struct notifier *notifier, const struct effect *effect,
                        struct names_batch *batch, struct unsettled *unsettled)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;
    bool renamed = !before || !after || !same_name(before, after);

    if (before && renamed)
        drop_entry(notifier, before, batch);
    if (after && renamed)
        drop_entry(notifier, after, batch);
    if (before && after)
        drop_content(notifier, effect, unsettled);
}

static void tell_effects(struct notifier *notifier, const struct notice *notice)
{
    struct names_batch batch = {0};
    struct unsettled unsettled = {0};

    for (guint i = 0; i < notice->effects->len; i++)
        tell_effect(notifier, notice->effects->pdata[i], &batch, &unsettled);
    names_wait(&notifier->names, &batch);
    settle(notifier, &unsettled);
    notifier->options->told(notifier->options->context, notice->effects, notice->rebuilt);
}

/* --- Modes --- */

/* Takes over the array. */
static void tell_attributes(struct notifier *notifier, GPtrArray *nodes)
{
    struct unsettled unsettled = {0};

    for (guint i = 0; i < nodes->len; i++) {
        tell_node(notifier, nodes->pdata[i], -1);
        settle_later(notifier, nodes->pdata[i], &unsettled);
    }
    settle(notifier, &unsettled);
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

void notifier_drop_name(struct notifier *notifier, struct node *directory, const char *name,
                        struct name_waiter *waiter)
{
    names_drop(&notifier->names, directory, name, NULL, waiter);
}

void notifier_drop_time(struct notifier *notifier, uint64_t inode)
{
    struct node *node = node_find(notifier->table, inode);

    if (!node)
        return;
    tell_node(notifier, node, -1);
    node_unpin(notifier->table, node);
}

void notifier_init(struct notifier *notifier, const struct mount_options *options,
                   struct fuse_session *session, struct node_table *table)
{
    notifier->options = options;
    notifier->session = session;
    notifier->table = table;
    notifier->last = &notifier->first;
    atomic_init(&notifier->links_quorate, replica_is_quorate(options->replica));
    lock_init(&notifier->lock, LOCK_RANK_MOUNT_NOTIFIER);
    pthread_cond_init(&notifier->there, NULL);
    names_init(&notifier->names, session, table, options->replica, options->mountpoint,
               &options->metrics->names_dropped);
}

int notifier_start(struct notifier *notifier)
{
    int error = names_start(&notifier->names);

    return error ? error : thread_start(&notifier->thread, run, notifier);
}

bool notifier_stop(struct notifier *notifier)
{
    atomic_store(&notifier->ending, true);
    lock_take(&notifier->lock);
    notifier->end = true;
    pthread_cond_signal(&notifier->there);
    lock_give(&notifier->lock);
    bool ended = names_stop(&notifier->names);
    pthread_join(notifier->thread, NULL);
    return ended;
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
        g_free(notice);
    }
    pthread_cond_destroy(&notifier->there);
    lock_destroy(&notifier->lock);
    names_destroy(&notifier->names);
}
