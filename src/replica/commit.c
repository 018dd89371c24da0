/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Commit: changes are applied to a draft, which is stored, published, and answered for. */
#include "replica/commit.h"
#include "core/publish.h"

#include <assert.h>
#include <errno.h>

#include "base/log.h"
#include "core/apply.h"
#include "core/limits.h"
#include "store/store.h"

#define WARNING_DISTANCE (1ull << 48) /* versions from one warning of their end to the next */

static uint64_t now_milliseconds(const struct committer *committer)
{
    return committer->parts.clock->milliseconds(committer->parts.clock);
}

/* Once at the start, and long after that again. */
static void warn_of_version(struct committer *committer)
{
    uint64_t version = committer->state->tree->root.version;

    if (version < committer->warn_at)
        return;
    committer->warn_at = version + WARNING_DISTANCE;
    log_warning("the global version is %" G_GUINT64_FORMAT
                ", and its range ends at %" G_GUINT64_FORMAT
                ": all changes are refused then. No use of a cluster leads there; a program has "
                "written it into the database. 'pmxcfsctl db export' and 'db import' make a "
                "database that counts from the beginning; all nodes have to start with it",
                version, VERSION_MAX);
}

void committer_init(struct committer *committer, const struct commit_parts *parts,
                    struct tree *tree)
{
    *committer = (struct committer){
        .parts = *parts,
        .state = state_new(tree, parts->clock->milliseconds(parts->clock)),
        .outcomes = g_array_new(FALSE, FALSE, sizeof(struct outcome)),
        .warn_at = VERSION_WARNED,
    };
    shared_lock_init(&committer->state_lock, LOCK_RANK_STATE);
    committer->draft = draft_new(committer->state);
    warn_of_version(committer);
}

void committer_destroy(struct committer *committer)
{
    assert(committer->outcomes->len == 0);
    g_array_unref(committer->outcomes);
    draft_free(committer->draft);
    state_free(committer->state);
    shared_lock_destroy(&committer->state_lock);
}

void commit_drop_draft(struct committer *committer)
{
    g_ptr_array_unref(draft_take_effects(committer->draft));
    draft_restart(committer->draft);
}

/* --- Applying --- */

static int apply_outcome(struct committer *committer, const struct outcome *outcome)
{
    GPtrArray *effects = committer->draft->effects;
    guint before = effects->len;
    uint32_t asker = 0;
    const void *origin =
        outcome->own ? waiters_origin(committer->parts.waiters, outcome->count, &asker) : NULL;
    int error = apply(committer->draft, &outcome->change, origin);

    for (guint i = before; i < effects->len; i++) {
        struct effect *effect = effects->pdata[i];
        effect->asker = asker;
        effect->count = outcome->count;
    }
    return error;
}

/* Tells whose id it is that a change of this node's was refused for. */
static void note_taken_guest(struct committer *committer, const struct change *change)
{
    const char *path = change->operation == CHANGE_RENAME ? change->to : change->path;
    struct guest_path wanted;

    if (!path || !path_parse_guest(path, &wanted))
        return;
    const struct guest *guest = draft_guest(committer->draft, wanted.id);
    if (!guest || guest_is_at(guest, &wanted))
        return;
    g_autofree char *detail = g_strdup_printf("guest id %u is taken by the %s guest of node %s",
                                              guest->id, guest_type_name(guest->type), guest->node);
    refusals_note(committer->parts.refusals, REFUSAL_GUEST, path, detail,
                  now_milliseconds(committer));
}

static void count_change(struct replica_metrics *metrics, const struct outcome *outcome)
{
    counter_add(&metrics->changes[outcome->change.operation], 1);
    counter_add(&metrics->change_bytes, message_size(outcome->message));
    if (outcome->own)
        counter_add(&metrics->own_changes, 1);
}

void commit_apply(struct committer *committer, const struct outcome *delivered)
{
    struct outcome outcome = *delivered;

    outcome.result = apply_outcome(committer, &outcome);
    if (!outcome.result)
        count_change(committer->parts.metrics, &outcome);
    if (outcome.own && outcome.result == -EEXIST)
        note_taken_guest(committer, &outcome.change);
    buffer_ref(outcome.message);
    g_array_append_val(committer->outcomes, outcome);
}

/* --- Storing, publishing, answering --- */

/* With acknowledge all a change that is stored here is not answered for yet. */
static void answer_outcome(struct committer *committer, const struct outcome *outcome)
{
    struct waiters *waiters = committer->parts.waiters;

    if (!outcome->own)
        return;
    if (committer->parts.acknowledge_all && !outcome->result)
        waiters_begin_round(waiters, outcome->count);
    else
        waiters_answer(waiters, outcome->count, outcome->result);
}

static void drop_outcomes(struct committer *committer)
{
    for (guint i = 0; i < committer->outcomes->len; i++)
        buffer_unref(g_array_index(committer->outcomes, struct outcome, i).message);
    g_array_set_size(committer->outcomes, 0);
}

/* Answers the callers of all outcomes; `error` replaces success. What others have is made, and
 * comes back to this node with their state: its caller must not take it for refused. */
static void answer_outcomes(struct committer *committer, int error)
{
    for (guint i = 0; i < committer->outcomes->len; i++) {
        struct outcome *outcome = &g_array_index(committer->outcomes, struct outcome, i);
        if (!outcome->result)
            outcome->result = error && outcome->shared ? -EBUSY : error;
        answer_outcome(committer, outcome);
    }
    drop_outcomes(committer);
}

/* Whoever was given up since his change was applied has had the kernel forget what it knew, and
 * that may know the old state again by now: so it is told of the change as of another's. From here
 * on nobody is given up until he is answered. */
static void claim_callers(struct committer *committer, const GPtrArray *effects)
{
    for (guint i = 0; i < effects->len; i++) {
        struct effect *effect = effects->pdata[i];
        if (effect->origin && !waiters_claim(committer->parts.waiters, effect->count))
            effect->origin = NULL;
    }
}

/* The callers of what is published must be answered at once. */
static void publish(struct committer *committer, bool rebuilt)
{
    struct replica_listener *listener = committer->parts.listener;
    GPtrArray *effects = draft_take_effects(committer->draft);
    uint64_t now = now_milliseconds(committer);

    claim_callers(committer, effects);
    shared_lock_write(&committer->state_lock);
    listener->publishing(listener, effects, rebuilt);
    state_publish(committer->state, committer->draft, now);
    shared_lock_give(&committer->state_lock);
    /* Of the writer alone: readers need not wait for it. */
    tree_keep_order(committer->state->tree);
    warn_of_version(committer);
    listener->published(listener, effects, rebuilt);
}

/* Stores the draft, and counts what that takes; one that is not stored is dropped. */
static int store_draft(struct committer *committer, uint64_t changes)
{
    struct replica_metrics *metrics = committer->parts.metrics;
    uint64_t begun = metrics_now();
    int error = store_commit(committer->parts.store, committer->draft);

    histogram_note_since(&metrics->commits, begun);
    histogram_note(&metrics->batches, &histogram_sizes, changes);
    if (error) {
        counter_add(&metrics->commit_failures, 1);
        commit_drop_draft(committer);
    }
    return error;
}

/* A batch that the disk did not take is tried again change by change, so that one large change does
 * not take the small ones down with it. Local mode only: in a cluster the others have them all. */
static void store_one_by_one(struct committer *committer)
{
    for (guint i = 0; i < committer->outcomes->len; i++) {
        struct outcome *outcome = &g_array_index(committer->outcomes, struct outcome, i);
        outcome->result = apply_outcome(committer, outcome);
        int error = draft_is_empty(committer->draft) ? 0 : store_draft(committer, 1);
        if (error)
            outcome->result = error;
        else if (!draft_is_empty(committer->draft))
            publish(committer, false);
        answer_outcome(committer, outcome);
    }
    drop_outcomes(committer);
}

/* Local mode: a change, or a batch that begins with it, was not stored. */
static void note_undone(struct committer *committer, int error)
{
    g_autofree char *detail =
        g_strdup_printf("the database did not take it (%s)", g_strerror(-error));
    const char *path = committer->outcomes->len > 0
                           ? g_array_index(committer->outcomes, struct outcome, 0).change.path
                           : NULL;

    refusals_note(committer->parts.refusals, REFUSAL_DATABASE, path, detail,
                  now_milliseconds(committer));
}

static void set_broken(struct committer *committer)
{
    atomic_store(&committer->writable, false);
    atomic_store(&committer->broken, true);
}

int commit_flush(struct committer *committer)
{
    if (draft_is_empty(committer->draft)) {
        answer_outcomes(committer, 0);
        return 0;
    }
    int error = store_draft(committer, committer->outcomes->len);
    if (!error) {
        publish(committer, false);
        answer_outcomes(committer, 0);
        return 0;
    }
    if (committer->parts.local) {
        note_undone(committer, error);
        if (committer->outcomes->len > 1)
            store_one_by_one(committer);
        else
            answer_outcomes(committer, error);
        return 0;
    }
    log_error("the database did not take a change (%s): this node refuses changes, reads go on, "
              "and it comes "
              "back by a full synchronisation when the database takes writes again",
              g_strerror(-error));
    set_broken(committer);
    answer_outcomes(committer, error);
    return error;
}

int commit_store_rebuilt(struct committer *committer)
{
    assert(committer->outcomes->len == 0 && committer->draft->rebuild);
    int error = store_commit(committer->parts.store, committer->draft);
    if (error) {
        set_broken(committer);
        commit_drop_draft(committer);
    }
    return error;
}

void commit_publish_rebuilt(struct committer *committer)
{
    publish(committer, true);
    waiters_fail_rounds(committer->parts.waiters, -EBUSY);
}

void commit_probe(struct committer *committer, bool worth_it)
{
    if (atomic_load(&committer->broken) && draft_is_empty(committer->draft))
        atomic_store(&committer->writable,
                     worth_it && store_commit(committer->parts.store, committer->draft) == 0);
}
