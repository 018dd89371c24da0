/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The order in which a change becomes known on this node. */
#include "daemon/publication.h"

#include "base/log.h"
#include "base/util.h"
#include "cluster/conf.h"
#include "history/recorder.h"
#include "host/corosync_conf.h"
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

    corosync_conf_submit(publication->conf, tree_child(state->tree, 0, CONF_PATH), reload);
    replica_read_unlock(publication->replica);
}

/* Counters and feed. */
void publication_told(struct publication *publication, GPtrArray *effects, bool rebuilt)
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

/* Only the writer alters the tree, and this is the writer: others' look-ups go on. */
static void record(struct publication *publication, const GPtrArray *effects, bool rebuilt)
{
    if (!rebuilt && !recorder_wants_tree(publication->recorder)) {
        recorder_take(publication->recorder, effects);
        return;
    }
    const struct state *state = replica_read_lock(publication->replica);
    recorder_take_tree(publication->recorder, state->tree, effects, rebuilt);
    replica_read_unlock(publication->replica);
}

static void on_published(struct replica_listener *listener, GPtrArray *effects, bool rebuilt)
{
    struct publication *publication = container_of(listener, struct publication, listener);
    bool reload;

    if (publication->recorder)
        record(publication, effects, rebuilt);
    if (publication->conf && corosync_conf_is_written(effects, rebuilt, &reload))
        publication_submit_conf(publication, reload);
    if (!publication->mount) {
        publication_told(publication, effects, rebuilt);
        return;
    }
    GPtrArray *foreign = rebuilt ? g_steal_pointer(&effects) : take_foreign(effects);
    if (effects && effects->len > 0) {
        mount_tell_own(publication->mount, effects);
        publication_told(publication, g_steal_pointer(&effects), false);
    }
    if (effects)
        g_ptr_array_unref(effects);
    if (foreign)
        mount_tell(publication->mount, foreign, rebuilt);
}

static void log_quorum(struct publication *publication, bool quorate)
{
    g_autofree char *missing = status_names(publication->status, false);
    struct replica_status status;

    replica_get_status(publication->replica, &status);
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
    struct publication *publication = container_of(listener, struct publication, listener);

    status_set_quorate(publication->status, quorate);
    if (publication->conf && !atomic_load(&publication->stopping))
        log_quorum(publication, quorate);
    if (publication->mount)
        mount_quorum_changed(publication->mount, quorate);
}

void publication_init(struct publication *publication)
{
    publication->listener = (struct replica_listener){.publishing = on_publishing,
                                                      .published = on_published,
                                                      .quorum_changed = on_quorum_changed};
}
