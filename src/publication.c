/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The order in which a change becomes known on this node. */
#include "publication.h"

#include <string.h>

#include "base/util.h"
#include "cluster/conf.h"
#include "mount/mount.h"
#include "status/status.h"

static void on_publishing(struct replica_listener *listener, const GPtrArray *effects, bool rebuilt)
{
    struct publication *publication = container_of(listener, struct publication, listener);

    if (publication->mount)
        mount_publishing(publication->mount, effects, rebuilt);
}

void publication_submit_conf(struct publication *publication, bool reload)
{
    const struct state *state = replica_read_lock(publication->replica);
    const struct entry *entry = tree_child(state->tree, 0, CONF_PATH);
    struct buffer *content = entry && entry->content ? buffer_ref(entry->content) : NULL;
    uint32_t size = entry ? entry->size : 0;

    replica_read_unlock(publication->replica);
    if (content)
        conf_submit(publication->conf, content, size, reload);
    buffer_unref(content);
}

static bool writes_conf(const struct effect *effect)
{
    switch (effect->operation) {
    case CHANGE_WRITE:
    case CHANGE_CREATE:
        return strcmp(effect->path, CONF_PATH) == 0;
    case CHANGE_RENAME:
        return strcmp(effect->to, CONF_PATH) == 0;
    default:
        return false;
    }
}

static void submit_changed_conf(struct publication *publication, const GPtrArray *effects,
                                bool rebuilt)
{
    bool changed = rebuilt;
    bool reload = false;

    for (guint i = 0; i < effects->len && !rebuilt; i++) {
        const struct effect *effect = effects->pdata[i];
        if (writes_conf(effect)) {
            changed = true;
            reload = reload || effect->origin; /* this node asked for it */
        }
    }
    if (changed)
        publication_submit_conf(publication, reload);
}

/* Counters and feed. */
static void tell_status(struct publication *publication, GPtrArray *effects, bool rebuilt)
{
    if (rebuilt)
        status_rebuilt(publication->status, effects);
    else
        status_published(publication->status, effects);
    g_ptr_array_unref(effects);
}

/* Takes the effects that the kernel has to be told of out of `effects`; NULL: there are none. An
 * expired lock is deleted by a utimens(), which the kernel does not take for a deletion. */
static GPtrArray *take_foreign(GPtrArray *effects)
{
    GPtrArray *foreign = NULL;
    guint kept = 0;

    g_ptr_array_set_free_func(effects, NULL);
    for (guint i = 0; i < effects->len; i++) {
        struct effect *effect = effects->pdata[i];
        if (effect->origin && effect->operation != CHANGE_UNLOCK) {
            effects->pdata[kept++] = effect;
            continue;
        }
        if (!foreign)
            foreign = draft_effects_new();
        g_ptr_array_add(foreign, effect);
    }
    g_ptr_array_set_size(effects, (gint)kept);
    draft_effects_own(effects);
    return foreign;
}

static void on_published(struct replica_listener *listener, GPtrArray *effects, bool rebuilt)
{
    struct publication *publication = container_of(listener, struct publication, listener);

    if (publication->conf)
        submit_changed_conf(publication, effects, rebuilt);
    if (!publication->mount) {
        tell_status(publication, effects, rebuilt);
        return;
    }
    GPtrArray *foreign = rebuilt ? g_steal_pointer(&effects) : take_foreign(effects);
    if (effects && effects->len > 0) {
        mount_tell_own(publication->mount, effects);
        tell_status(publication, g_steal_pointer(&effects), false);
    }
    if (effects)
        g_ptr_array_unref(effects);
    if (foreign)
        mount_tell(publication->mount, foreign, rebuilt);
}

void publication_told(struct publication *publication, GPtrArray *effects, bool rebuilt)
{
    tell_status(publication, effects, rebuilt);
}

static void on_quorum_changed(struct replica_listener *listener, bool quorate)
{
    struct publication *publication = container_of(listener, struct publication, listener);

    status_set_quorate(publication->status, quorate);
    if (publication->mount)
        mount_quorum_changed(publication->mount, quorate);
}

void publication_init(struct publication *publication)
{
    publication->listener = (struct replica_listener){.publishing = on_publishing,
                                                      .published = on_published,
                                                      .quorum_changed = on_quorum_changed};
}
