/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The order in which a change becomes known on this node. */
#include "daemon/publication.h"

#include "base/log.h"
#include "base/util.h"
#include "cluster/conf.h"
#include "daemon/parts.h"
#include "host/corosync_conf.h"
#include "host/process.h"
#include "mount/mount.h"

static void on_publishing(struct replica_listener *listener, const GPtrArray *effects, bool rebuilt)
{
    struct parts *parts = container_of(listener, struct parts, replica_listener);

    if (parts->mount)
        mount_publishing(parts->mount, effects, rebuilt);
}

void publication_submit_conf(struct parts *parts, bool reload)
{
    const struct state *state = replica_read_lock(parts->replica);

    corosync_conf_submit(parts->conf, tree_child(state->tree, 0, CONF_PATH), reload);
    replica_read_unlock(parts->replica);
}

/* Counters and feed. Takes over the effects. */
static void tell_status(struct parts *parts, GPtrArray *effects, bool rebuilt)
{
    if (rebuilt)
        status_rebuilt(parts->status, effects);
    else
        status_published(parts->status, effects);
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

/* Only the writer alters the tree, and this is the writer: others' look-ups go on. */
static void record(struct parts *parts, const GPtrArray *effects, bool rebuilt)
{
    if (!rebuilt && !recorder_wants_tree(parts->history.recorder)) {
        recorder_take(parts->history.recorder, effects);
        return;
    }
    const struct state *state = replica_read_lock(parts->replica);
    recorder_take_tree(parts->history.recorder, state->tree, effects, rebuilt);
    replica_read_unlock(parts->replica);
}

static void on_published(struct replica_listener *listener, GPtrArray *effects, bool rebuilt)
{
    struct parts *parts = container_of(listener, struct parts, replica_listener);
    bool reload;

    if (parts->history.recorder)
        record(parts, effects, rebuilt);
    if (parts->conf && corosync_conf_is_written(effects, rebuilt, &reload))
        publication_submit_conf(parts, reload);
    if (!parts->mount) {
        tell_status(parts, effects, rebuilt);
        return;
    }
    GPtrArray *foreign = rebuilt ? g_steal_pointer(&effects) : take_foreign(effects);
    if (effects && effects->len > 0) {
        mount_tell_own(parts->mount, effects);
        tell_status(parts, g_steal_pointer(&effects), false);
    }
    if (effects)
        g_ptr_array_unref(effects);
    if (foreign)
        mount_tell(parts->mount, foreign, rebuilt);
}

static void on_told(struct mount_listener *listener, GPtrArray *effects, bool rebuilt)
{
    tell_status(container_of(listener, struct parts, mount_listener), effects, rebuilt);
}

static void on_unmounted(struct mount_listener *listener)
{
    struct parts *parts = container_of(listener, struct parts, mount_listener);

    if (atomic_load(&parts->stopping))
        return;
    log_info("the file system was unmounted");
    process_request_stop();
}

static void log_quorum(struct parts *parts, bool quorate)
{
    g_autofree char *missing = status_names(parts->status, false);
    struct replica_status status;

    replica_get_status(parts->replica, &status);
    if (quorate)
        log_info("the cluster has quorum: this node takes changes");
    else if (!status.connected)
        log_warning("corosync does not run, or does not answer: this node only reads; see "
                    "'systemctl status corosync'");
    else
        log_warning("quorum is lost: this node only reads until enough nodes are back; missing: "
                    "%s; see 'corosync-quorumtool -s'",
                    missing ? missing : "none that is known");
}

static void on_quorum_changed(struct replica_listener *listener, bool quorate)
{
    struct parts *parts = container_of(listener, struct parts, replica_listener);

    status_set_quorate(parts->status, quorate);
    if (parts->conf && !atomic_load(&parts->stopping))
        log_quorum(parts, quorate);
    if (parts->mount)
        mount_quorum_changed(parts->mount, quorate);
}

void publication_init(struct parts *parts)
{
    parts->mount_listener = (struct mount_listener){.told = on_told, .unmounted = on_unmounted};
    parts->replica_listener = (struct replica_listener){.publishing = on_publishing,
                                                        .published = on_published,
                                                        .quorum_changed = on_quorum_changed};
}
