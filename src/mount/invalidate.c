/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Telling the kernel to drop what others have changed, from a thread of its own: a notification can
 * wait for a lock that a request holds, so no request may wait for a notification. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mount/internal.h"
#include "status/status.h"

#define TELL_PAUSE_MICROSECONDS 50u
#define TELL_PAUSE_MICROSECONDS_MAX 3200u

static bool is_looked_up(struct mount *mount, const struct node *node)
{
    pthread_mutex_lock(&mount->nodes.lock);
    bool looked_up = node->lookups > 0;
    pthread_mutex_unlock(&mount->nodes.lock);
    return looked_up;
}

static bool is_ending(struct mount *mount)
{
    return atomic_load(&mount->stopping) || atomic_load(&mount->unmounting);
}

/* The kernel does not know a node whose first look-up is still being answered, perhaps with what is
 * old by now, and would keep that for ever. So it is told again until it knows the node, or has
 * forgotten it. */
static void tell_inode(struct mount *mount, const struct node *node, off_t offset)
{
    unsigned int pause = TELL_PAUSE_MICROSECONDS;

    while (fuse_lowlevel_notify_inval_inode(mount->session, node_id(node), offset, 0) == -ENOENT &&
           is_looked_up(mount, node) && !is_ending(mount)) {
        usleep(pause);
        pause = MIN(2 * pause, TELL_PAUSE_MICROSECONDS_MAX);
    }
}

static void drop_node(struct mount *mount, struct node *node)
{
    counter_add(&mount->options.metrics->pages_dropped, 1);
    tell_inode(mount, node, 0);
}

/* What the kernel holds of an entry, under all nodes but one (NULL: under all). */
static void drop_content(struct mount *mount, uint64_t inode, const struct node *except)
{
    g_autoptr(GPtrArray) nodes = node_pin_inode(mount, inode);

    for (guint i = 0; nodes && i < nodes->len; i++) {
        if (nodes->pdata[i] != except)
            drop_node(mount, nodes->pdata[i]);
        node_unpin(mount, nodes->pdata[i]);
    }
}

/* What a name leads to; with `listing` it appeared or went, and the directory's listing goes with
 * it. */
static void drop_name(struct mount *mount, uint64_t directory, const char *name, bool listing)
{
    g_autoptr(GPtrArray) nodes = node_pin_inode(mount, directory);

    for (guint i = 0; nodes && i < nodes->len; i++) {
        struct node *parent = nodes->pdata[i];
        counter_add(&mount->options.metrics->names_dropped, 1);
        fuse_lowlevel_notify_inval_entry(mount->session, node_id(parent), name, strlen(name));
        if (listing)
            drop_node(mount, parent);
        node_unpin(mount, parent);
    }
}

static bool same_name(const struct entry *first, const struct entry *second)
{
    return first->parent == second->parent && strcmp(first->name, second->name) == 0;
}

static void announce(struct mount *mount, const struct effect *effect, bool rebuilt)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;
    bool stays = before && after && same_name(before, after) && before->type == after->type;

    if (stays) {
        /* Its name may lead to a node that goes on showing the old content (nodes.c, freeze). */
        if (rebuilt || effect->truncated)
            drop_name(mount, after->parent, after->name, false);
        drop_content(mount, after->inode, NULL);
        return;
    }
    if (before)
        drop_name(mount, before->parent, before->name, true);
    if (after)
        drop_name(mount, after->parent, after->name, true);
    if (before && after)
        drop_content(mount, after->inode, NULL);
}

static bool is_own(const struct effect *effect)
{
    return effect->origin != NULL;
}

/* The kernel does by itself what this mount was asked for, under the node that asked; but not,
 * rightly, what others changed at the same time. */
static bool needs_own_notice(struct mount *mount, const struct effect *effect)
{
    return effect->after && effect->operation != CHANGE_RENAME &&
           node_is_contested(mount, effect->after->inode, effect->origin);
}

/* Takes over the array and its pins. */
static void tell_attributes(struct mount *mount, GPtrArray *nodes)
{
    for (guint i = 0; i < nodes->len; i++) {
        tell_inode(mount, nodes->pdata[i], -1);
        node_unpin(mount, nodes->pdata[i]);
    }
    g_ptr_array_unref(nodes);
}

/* What was renamed has a new mtime, which the kernel does not know. Dropping attributes waits for
 * nobody, so it is done before the rename is answered. */
static void drop_times(struct mount *mount, const struct effect *effect)
{
    GPtrArray *nodes = node_pin_inode(mount, effect->after->inode);

    if (nodes)
        tell_attributes(mount, nodes);
}

static void announce_own(struct mount *mount, const struct effect *effect)
{
    if (needs_own_notice(mount, effect))
        drop_content(mount, effect->after->inode, NULL);
}

static void tell_status(struct mount *mount, const GPtrArray *effects, bool rebuilt)
{
    if (rebuilt)
        status_rebuilt(mount->options.status, effects);
    else
        status_published(mount->options.status, effects);
}

static void announce_all(struct mount *mount, const struct notice *notice)
{
    for (guint i = 0; notice->own && i < notice->own->len; i++)
        announce_own(mount, notice->own->pdata[i]);
    for (guint i = 0; notice->foreign && i < notice->foreign->len; i++)
        announce(mount, notice->foreign->pdata[i], notice->rebuilt);
    if (notice->foreign)
        tell_status(mount, notice->foreign, notice->rebuilt);
}

/* All modes changed. Clients test for quorum with the link `local`: links show it only when the
 * kernel has dropped all others. Those that were looked up until then are found after that. */
static void drop_attributes(struct mount *mount)
{
    bool quorate = replica_is_quorate(mount->options.replica);

    tell_attributes(mount, node_pin_all(mount));
    atomic_store(&mount->links_quorate, quorate);
    tell_attributes(mount, node_pin_links(mount));
}

/* Drops the name that leads to the entry of a node, or that led there until it was deleted. */
static void drop_name_of(struct mount *mount, const struct node *node)
{
    struct entry *dropped = NULL;

    for (;;) {
        const struct state *state = replica_read_lock(mount->options.replica);
        bool gone = node_is_gone(mount, node);
        struct entry *entry = gone ? NULL : entry_ref(tree_entry(state->tree, node->inode));
        replica_read_unlock(mount->options.replica);
        if (gone)
            entry = node_entry(mount, node, NULL);
        if (entry && (!dropped || !same_name(entry, dropped))) {
            /* A rename may have had the directory's lock, and taken the kernel's node with it. */
            drop_name(mount, entry->parent, entry->name, gone);
            entry_unref(dropped);
            dropped = entry;
            continue;
        }
        entry_unref(entry);
        break;
    }
    entry_unref(dropped);
}

static void carry_out(struct mount *mount, const struct notice *notice)
{
    announce_all(mount, notice);
    if (notice->modes)
        drop_attributes(mount);
    if (notice->node) {
        drop_node(mount, notice->node);
        node_unpin(mount, notice->node);
    }
    if (notice->drop) {
        drop_name_of(mount, notice->drop->node);
        unwatch_drop(mount, notice->drop);
    }
}

static void notice_free(struct notice *notice)
{
    if (notice->own)
        g_ptr_array_unref(notice->own);
    if (notice->foreign)
        g_ptr_array_unref(notice->foreign);
    g_free(notice);
}

/* The next notice, or NULL at the end. With the lock held. */
static struct notice *take_notice(struct notifier *notifier)
{
    while (!notifier->first && !notifier->end)
        pthread_cond_wait(&notifier->there, &notifier->lock);
    struct notice *notice = notifier->end ? NULL : notifier->first;
    if (notice) {
        notifier->first = notice->next;
        if (!notifier->first)
            notifier->last = &notifier->first;
    }
    return notice;
}

static void *notify(void *context)
{
    struct notifier *notifier = context;
    struct notice *notice;

    pthread_mutex_lock(&notifier->lock);
    while ((notice = take_notice(notifier))) {
        pthread_mutex_unlock(&notifier->lock);
        carry_out(notifier->mount, notice);
        notice_free(notice);
        pthread_mutex_lock(&notifier->lock);
    }
    pthread_mutex_unlock(&notifier->lock);
    return NULL;
}

static void queue_notice(struct notifier *notifier, struct notice *notice)
{
    pthread_mutex_lock(&notifier->lock);
    *notifier->last = notice;
    notifier->last = &notice->next;
    pthread_cond_signal(&notifier->there);
    pthread_mutex_unlock(&notifier->lock);
}

/* Takes the effects that this mount did not ask for out of `effects`; NULL: there are none. */
static GPtrArray *split_foreign(GPtrArray *effects)
{
    GPtrArray *foreign = NULL;
    guint kept = 0;

    for (guint i = 0; i < effects->len; i++) {
        if (is_own(effects->pdata[i])) {
            gpointer own = effects->pdata[i];
            effects->pdata[i] = NULL;
            effects->pdata[kept++] = own;
            continue;
        }
        if (!foreign)
            foreign = draft_effects_new();
        g_ptr_array_add(foreign, effects->pdata[i]);
        effects->pdata[i] = NULL;
    }
    /* What is beyond `kept` has moved; the array must not free it. */
    g_ptr_array_set_free_func(effects, NULL);
    g_ptr_array_set_size(effects, (gint)kept);
    draft_effects_own(effects);
    return foreign;
}

/* True if the notifier has something to do with own changes. */
static bool drop_own(struct mount *mount, const GPtrArray *own)
{
    bool needs_notice = false;

    for (guint i = 0; i < own->len; i++) {
        const struct effect *effect = own->pdata[i];
        if (effect->operation == CHANGE_RENAME)
            drop_times(mount, effect);
        needs_notice = needs_notice || needs_own_notice(mount, effect);
    }
    return needs_notice;
}

void mount_published(struct mount *mount, GPtrArray *effects, bool rebuilt)
{
    GPtrArray *foreign = rebuilt ? g_steal_pointer(&effects) : split_foreign(effects);

    /* The callers of own changes must find the counters raised when they are answered. */
    if (effects && effects->len > 0)
        tell_status(mount, effects, false);
    if (effects && !drop_own(mount, effects))
        g_ptr_array_unref(g_steal_pointer(&effects));
    if (!effects && !foreign)
        return;
    struct notice *notice = g_new0(struct notice, 1);
    notice->foreign = foreign;
    notice->own = effects;
    notice->rebuilt = rebuilt;
    queue_notice(&mount->pages, notice);
}

void mount_quorum_changed(struct mount *mount)
{
    struct notice *notice = g_new0(struct notice, 1);

    notice->modes = true;
    queue_notice(&mount->pages, notice);
}

void invalidate_node(struct mount *mount, struct node *node)
{
    struct notice *notice = g_new0(struct notice, 1);

    node_pin(mount, node);
    notice->node = node;
    queue_notice(&mount->pages, notice);
}

/* How long a request waits for its name to be dropped. Longer only if somebody who holds the
 * directory's lock waits for a lock that the kernel holds for this very request. */
#define DROP_MILLISECONDS 20u

void invalidate_name_and_finish(struct request *request, int result)
{
    struct mount *mount = request->mount;
    struct name_drop *drop = g_new(struct name_drop, 1);
    struct notice *notice = g_new0(struct notice, 1);

    *drop = (struct name_drop){.node = request->node,
                               .request = request,
                               .result = result,
                               .due = watch_now() + DROP_MILLISECONDS};
    node_pin(mount, drop->node);
    watch_drop(mount, drop);
    notice->drop = drop;
    queue_notice(&mount->names, notice);
}

static int notifier_start(struct notifier *notifier, struct mount *mount)
{
    notifier->mount = mount;
    notifier->last = &notifier->first;
    pthread_mutex_init(&notifier->lock, NULL);
    pthread_cond_init(&notifier->there, NULL);
    return -pthread_create(&notifier->thread, NULL, notify, notifier);
}

static void notifier_stop(struct notifier *notifier)
{
    struct notice *notice;

    pthread_mutex_lock(&notifier->lock);
    notifier->end = true;
    pthread_cond_signal(&notifier->there);
    pthread_mutex_unlock(&notifier->lock);
    pthread_join(notifier->thread, NULL);
    while ((notice = notifier->first)) {
        notifier->first = notice->next;
        if (notice->node)
            node_unpin(notifier->mount, notice->node);
        if (notice->drop)
            unwatch_drop(notifier->mount, notice->drop);
        notice_free(notice);
    }
    pthread_cond_destroy(&notifier->there);
    pthread_mutex_destroy(&notifier->lock);
}

int invalidation_start(struct mount *mount)
{
    int error = notifier_start(&mount->pages, mount);

    return error ? error : notifier_start(&mount->names, mount);
}

void invalidation_stop(struct mount *mount)
{
    notifier_stop(&mount->names);
    notifier_stop(&mount->pages);
}
