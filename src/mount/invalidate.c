/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Telling the kernel to drop what others have changed, from a thread of its own: a notification can
 * wait for a lock that a request holds, so no request may wait for a notification. */
#include <errno.h>
#include <string.h>

#include "mount/internal.h"
#include "status/status.h"

static void drop_content(struct mount *mount, uint64_t inode)
{
    struct node *node = node_pin(mount, inode);

    if (!node)
        return;
    fuse_lowlevel_notify_inval_inode(mount->session, node_id(node), 0, 0);
    node_unpin(mount, node);
}

/* A name appeared, or leads somewhere else now; the directory's listing goes with it. */
static void drop_name(struct mount *mount, uint64_t directory, const char *name)
{
    struct node *parent = node_pin(mount, directory);

    if (!parent)
        return;
    fuse_lowlevel_notify_inval_entry(mount->session, node_id(parent), name, strlen(name));
    fuse_lowlevel_notify_inval_inode(mount->session, node_id(parent), 0, 0);
    node_unpin(mount, parent);
}

static void drop_entry_name(struct mount *mount, const struct entry *entry)
{
    drop_name(mount, entry->parent, entry->name);
}

static bool same_name(const struct entry *first, const struct entry *second)
{
    return first->parent == second->parent && strcmp(first->name, second->name) == 0;
}

static void announce(struct mount *mount, const struct effect *effect, bool rebuilt)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;

    if (before && (!after || !same_name(before, after) || (rebuilt && before->type != after->type)))
        drop_entry_name(mount, before);
    if (after && (!before || !same_name(before, after)))
        drop_entry_name(mount, after);
    if (before && after)
        drop_content(mount, after->inode);
}

static bool is_own(const struct mount *mount, const struct effect *effect)
{
    return effect->origin == mount;
}

/* The kernel does by itself what this mount was asked for. Not the new mtime of a renamed entry;
 * and not rightly what others changed at the same time. */
static bool needs_own_notice(struct mount *mount, const struct effect *effect)
{
    return effect->operation == CHANGE_RENAME ||
           (effect->after && node_is_contested(mount, effect->after->inode));
}

static void announce_own(struct mount *mount, const struct effect *effect)
{
    if (effect->after && needs_own_notice(mount, effect))
        drop_content(mount, effect->after->inode);
}

static void tell_status(struct mount *mount, const GPtrArray *effects, bool rebuilt)
{
    if (rebuilt)
        status_rebuilt(mount->options.status);
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

/* All modes changed. Clients test for quorum with the link `local`: links come first. */
static void drop_attributes(struct mount *mount)
{
    g_autoptr(GPtrArray) nodes = node_pin_all(mount);

    for (guint i = 0; i < nodes->len; i++) {
        struct node *node = nodes->pdata[i];
        fuse_lowlevel_notify_inval_inode(mount->session, node_id(node), -1, 0);
        node_unpin(mount, node);
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
static struct notice *take_notice(struct mount *mount)
{
    while (!mount->first_notice && !mount->end_invalidator)
        pthread_cond_wait(&mount->notice_there, &mount->notice_lock);
    struct notice *notice = mount->end_invalidator ? NULL : mount->first_notice;
    if (notice) {
        mount->first_notice = notice->next;
        if (!mount->first_notice)
            mount->last_notice = &mount->first_notice;
    }
    return notice;
}

static void *invalidate(void *context)
{
    struct mount *mount = context;
    struct notice *notice;

    pthread_mutex_lock(&mount->notice_lock);
    while ((notice = take_notice(mount))) {
        pthread_mutex_unlock(&mount->notice_lock);
        if (notice->modes)
            drop_attributes(mount);
        else
            announce_all(mount, notice);
        notice_free(notice);
        pthread_mutex_lock(&mount->notice_lock);
    }
    pthread_mutex_unlock(&mount->notice_lock);
    return NULL;
}

static void queue_notice(struct mount *mount, struct notice *notice)
{
    pthread_mutex_lock(&mount->notice_lock);
    *mount->last_notice = notice;
    mount->last_notice = &notice->next;
    pthread_cond_signal(&mount->notice_there);
    pthread_mutex_unlock(&mount->notice_lock);
}

/* Takes the effects that this mount did not ask for out of `effects`; NULL: there are none. */
static GPtrArray *split_foreign(const struct mount *mount, GPtrArray *effects)
{
    GPtrArray *foreign = NULL;
    guint kept = 0;

    for (guint i = 0; i < effects->len; i++) {
        if (is_own(mount, effects->pdata[i])) {
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

static bool any_needs_own_notice(struct mount *mount, const GPtrArray *own)
{
    for (guint i = 0; i < own->len; i++) {
        if (needs_own_notice(mount, own->pdata[i]))
            return true;
    }
    return false;
}

void mount_published(struct mount *mount, GPtrArray *effects, bool rebuilt)
{
    GPtrArray *foreign = rebuilt ? g_steal_pointer(&effects) : split_foreign(mount, effects);

    /* The callers of own changes must find the counters raised when they are answered. */
    if (effects && effects->len > 0)
        tell_status(mount, effects, false);
    if (effects && !any_needs_own_notice(mount, effects))
        g_ptr_array_unref(g_steal_pointer(&effects));
    if (!effects && !foreign)
        return;
    struct notice *notice = g_new0(struct notice, 1);
    notice->foreign = foreign;
    notice->own = effects;
    notice->rebuilt = rebuilt;
    queue_notice(mount, notice);
}

void mount_quorum_changed(struct mount *mount)
{
    struct notice *notice = g_new0(struct notice, 1);

    notice->modes = true;
    queue_notice(mount, notice);
}

int invalidator_start(struct mount *mount)
{
    mount->last_notice = &mount->first_notice;
    pthread_mutex_init(&mount->notice_lock, NULL);
    pthread_cond_init(&mount->notice_there, NULL);
    return -pthread_create(&mount->invalidator, NULL, invalidate, mount);
}

void invalidator_stop(struct mount *mount)
{
    pthread_mutex_lock(&mount->notice_lock);
    mount->end_invalidator = true;
    pthread_cond_signal(&mount->notice_there);
    pthread_mutex_unlock(&mount->notice_lock);
    pthread_join(mount->invalidator, NULL);
    while (mount->first_notice) {
        struct notice *next = mount->first_notice->next;
        notice_free(mount->first_notice);
        mount->first_notice = next;
    }
    pthread_cond_destroy(&mount->notice_there);
    pthread_mutex_destroy(&mount->notice_lock);
}
