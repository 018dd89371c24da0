/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The writer's work: events go to the machine, its actions are carried out, a batch is stored,
 * published, answered. */
#include <errno.h>
#include <sys/statvfs.h>
#include <syslog.h>

#include "base/log.h"
#include "cluster/wire.h"
#include "core/apply.h"
#include "core/digest.h"
#include "core/index.h"
#include "core/publish.h"
#include "replica/internal.h"
#include "store/store.h"

/* A file of 1 MiB and what SQLite writes around it. */
#define PROBE_ROOM (2u << 20)

/* --- Storing, publishing, answering --- */

static void answer_outcome(struct replica *replica, const struct outcome *outcome)
{
    if (!outcome->own)
        return;
    if (replica->options.acknowledge_all && replica_end_round(replica, outcome->count, 0))
        return;
    struct caller *caller = replica_take_caller(replica, outcome->count);
    if (!caller)
        return;
    if (outcome->result || !replica->options.acknowledge_all) {
        caller->answer(caller, outcome->result);
        return;
    }
    replica_begin_round(replica, caller);
}

/* Answers the callers of all outcomes; `error` replaces success. */
static void answer_outcomes(struct replica *replica, int error)
{
    for (guint i = 0; i < replica->outcomes->len; i++) {
        struct outcome *outcome = &g_array_index(replica->outcomes, struct outcome, i);
        if (!outcome->result)
            outcome->result = error;
        answer_outcome(replica, outcome);
        buffer_unref(outcome->message);
    }
    g_array_set_size(replica->outcomes, 0);
}

void replica_publish(struct replica *replica, bool rebuilt)
{
    struct replica_listener *listener = replica->options.listener;
    struct draft *draft = replica->draft;
    GPtrArray *effects = draft_take_effects(draft);
    uint64_t now = now_milliseconds(replica);

    pthread_rwlock_wrlock(&replica->state_lock);
    listener->publishing(listener, effects, rebuilt);
    state_publish(replica->state, draft, now);
    pthread_rwlock_unlock(&replica->state_lock);
    tree_keep_order(replica->state->tree); /* of the writer alone: readers need not wait for it */
    listener->published(listener, effects, rebuilt);
}

static void drop_draft(struct replica *replica)
{
    g_ptr_array_unref(draft_take_effects(replica->draft));
    draft_restart(replica->draft);
}

static int apply_outcome(struct replica *replica, const struct outcome *outcome);

/* Stores the draft, and counts what that takes. */
static int commit(struct replica *replica, uint64_t changes)
{
    struct replica_metrics *metrics = &replica->metrics;
    uint64_t begun = metrics_now();
    int error = store_commit(replica->store, replica->draft);

    histogram_note_since(&metrics->commits, begun);
    histogram_note(&metrics->batches, &histogram_sizes, changes);
    if (error)
        counter_add(&metrics->commit_failures, 1);
    return error;
}

/* A batch that the disk did not take is tried again change by change, so that one large change does
 * not take the small ones down with it. Local mode only: in a cluster the others have them all. */
static void store_one_by_one(struct replica *replica)
{
    for (guint i = 0; i < replica->outcomes->len; i++) {
        struct outcome *outcome = &g_array_index(replica->outcomes, struct outcome, i);
        outcome->result = apply_outcome(replica, outcome);
        if (draft_is_empty(replica->draft))
            continue;
        int error = commit(replica, 1);
        if (error) {
            outcome->result = error;
            drop_draft(replica);
        } else {
            replica_publish(replica, false);
        }
    }
    answer_outcomes(replica, 0);
}

/* Local mode: a change, or a batch that begins with it, was not stored. */
static void note_undone(struct replica *replica, int error)
{
    g_autofree char *detail =
        g_strdup_printf("the database did not take it (%s)", g_strerror(-error));
    const char *path = replica->outcomes->len > 0
                           ? g_array_index(replica->outcomes, struct outcome, 0).change.path
                           : NULL;

    refusals_note(&replica->refusals, REFUSAL_DATABASE, path, detail, now_milliseconds(replica));
}

void replica_set_broken(struct replica *replica)
{
    atomic_store(&replica->writable, false);
    atomic_store(&replica->broken, true);
}

bool replica_flush(struct replica *replica)
{
    if (draft_is_empty(replica->draft)) {
        answer_outcomes(replica, 0);
        return true;
    }
    int error = commit(replica, replica->outcomes->len);
    if (!error) {
        replica_publish(replica, false);
        answer_outcomes(replica, 0);
        return true;
    }
    drop_draft(replica);
    if (replica->options.local) {
        note_undone(replica, error);
        if (replica->outcomes->len > 1)
            store_one_by_one(replica);
        else
            answer_outcomes(replica, error);
        return true;
    }
    log_error("the database did not take a change (%s): this node refuses changes, reads go on, "
              "and it comes "
              "back by a full synchronisation when the database takes writes again",
              g_strerror(-error));
    replica_set_broken(replica);
    answer_outcomes(replica, error);
    machine_fail(replica->machine, "database error");
    return false;
}

/* --- Actions --- */

/* Fills in what the outcome's message says. -EBADMSG: malformed. */
static int parse_outcome(struct outcome *outcome)
{
    struct header header;
    int error = wire_parse_header(outcome->message->data, outcome->message->capacity, &header);

    if (!error)
        error = wire_parse_change(header.subtype, header.body, header.body_size, &outcome->change);
    outcome->count = header.count;
    outcome->change.writer = outcome->sender.node;
    outcome->change.time = header.time;
    return error;
}

static int apply_outcome(struct replica *replica, const struct outcome *outcome)
{
    const void *origin = outcome->own ? replica_caller_origin(replica, outcome->count) : NULL;

    return apply(replica->draft, &outcome->change, origin);
}

/* The member with the lowest node id decides by its own clock whether a lock has expired. */
static void judge_unlock(struct replica *replica, struct change change)
{
    if (!machine_is_lowest(replica->machine) || !change.path)
        return;
    int64_t age =
        state_lock_age(replica->state, change.path, change.digest, now_milliseconds(replica));
    if (age <= (int64_t)replica->options.lock_lifetime)
        return;
    change.operation = CHANGE_UNLOCK;
    replica_send(replica, &change, NULL);
}

/* Tells whose id it is that a change of this node's was refused for. */
static void note_taken_guest(struct replica *replica, const struct change *change)
{
    const char *path = change->operation == CHANGE_RENAME ? change->to : change->path;
    struct guest_path wanted;

    if (!path || !path_parse_guest(path, &wanted))
        return;
    const struct guest *guest = draft_guest(replica->draft, wanted.id);
    if (!guest || guest_is_at(guest, &wanted))
        return;
    g_autofree char *detail = g_strdup_printf("guest id %u is taken by the %s guest of node %s",
                                              guest->id, guest_type_name(guest->type), guest->node);
    refusals_note(&replica->refusals, REFUSAL_GUEST, path, detail, now_milliseconds(replica));
}

static void count_change(struct replica_metrics *metrics, const struct outcome *outcome)
{
    counter_add(&metrics->changes[outcome->change.operation], 1);
    counter_add(&metrics->change_bytes, message_size(outcome->message));
    if (outcome->own)
        counter_add(&metrics->own_changes, 1);
}

static void execute_apply(struct replica *replica, const struct action *action)
{
    struct outcome outcome = {
        .message = action->message, .sender = action->sender, .own = action->own};
    g_autofree char *problem = NULL;

    if (parse_outcome(&outcome))
        problem =
            g_strdup_printf("malformed message (subtype %u) from node %u, pid %u",
                            outcome.change.operation, outcome.sender.node, outcome.sender.pid);
    else if (!atomic_load(&replica->quorate))
        problem = g_strdup_printf("a change of node %u was delivered without quorum",
                                  outcome.sender.node);
    if (problem) {
        replica_flush(replica);
        machine_fail(replica->machine, problem);
        return;
    }
    if (outcome.change.operation == CHANGE_UNLOCK_REQUEST) {
        if (replica_flush(replica))
            judge_unlock(replica, outcome.change);
        return;
    }
    outcome.result = apply_outcome(replica, &outcome);
    if (!outcome.result)
        count_change(&replica->metrics, &outcome);
    if (outcome.own && outcome.result == -EEXIST)
        note_taken_guest(replica, &outcome.change);
    buffer_ref(outcome.message);
    g_array_append_val(replica->outcomes, outcome);
}

static void execute_leave(struct replica *replica, bool stay_out)
{
    replica_flush(replica);
    replica_stop_updates(replica);
    counter_add(&replica->metrics.departures, 1);
    replica->sync_begun = 0;
    atomic_store(&replica->joined, false);
    atomic_store(&replica->outdated, machine_mode(replica->machine) == MODE_VERSION_ERROR);
    replica_drop_held(replica);
    replica_fail_callers(replica, -EBUSY);
    /* It may be that the memory is not what it was when the digests were made (a verification
     * failed): then the next index has to tell, or the others would take this node for synced. */
    tree_forget_digests(replica->state->tree);
    replica->transport->leave(replica->transport, stay_out);
}

static void execute_log(const struct action *action)
{
    if (action->priority <= LOG_ERR)
        log_error("%s", action->text);
    else if (action->priority <= LOG_WARNING)
        log_warning("%s", action->text);
    else if (action->priority <= LOG_INFO)
        log_info("%s", action->text);
    else
        log_debug("%s", action->text);
}

static void execute_synced(struct replica *replica, const struct action *action)
{
    if (action->became)
        log_info("the configuration is in sync%s",
                 action->alone ? " (no other node is there)" : "");
    if (replica->sync_begun && !action->alone)
        histogram_note_since(&replica->metrics.synchronisations, replica->sync_begun);
    replica->sync_begun = 0;
    /* What is in memory is what is in the database, and what the others have. */
    atomic_store(&replica->broken, false);
    replica_release(replica);
}

static void execute_checksum(struct replica *replica)
{
    const struct tree *tree = replica->state->tree;
    struct replica_checksum checksum = {.version = tree->root.version,
                                        .time = now_seconds(replica)};

    tree_checksum(tree, checksum.digest);
    pthread_mutex_lock(&replica->view_lock);
    replica->checksum = checksum;
    pthread_mutex_unlock(&replica->view_lock);
    machine_checksum(replica->machine, checksum.digest, checksum.time);
}

static void execute_send(struct replica *replica, const struct action *action)
{
    if (replica->transport->multicast(replica->transport, action->message, action->kind, 0) == 0)
        return;
    if (action->kind == SEND_SYNC)
        machine_fail(replica->machine, "a message to the group could not be sent");
    else
        log_warning("a request for a verification could not be sent");
}

/* Actions that look at the state as a whole need what was applied so far to be in it. */
static bool needs_flush(enum action_type type)
{
    return type == ACTION_SEND_STATE || type == ACTION_SEND_UPDATES || type == ACTION_COMMIT ||
           type == ACTION_CHECKSUM;
}

static void execute(struct replica *replica, const struct action *action)
{
    if (needs_flush(action->type) && !replica_flush(replica))
        return;
    switch (action->type) {
    case ACTION_SEND:
        execute_send(replica, action);
        break;
    case ACTION_SEND_STATE:
        replica_send_state(replica, &action->epoch);
        break;
    case ACTION_APPLY:
        execute_apply(replica, action);
        break;
    case ACTION_SEND_UPDATES:
        replica_start_updates(replica, action);
        break;
    case ACTION_COMMIT:
        machine_committed(replica->machine, replica_commit(replica, action));
        break;
    case ACTION_SYNCED:
        execute_synced(replica, action);
        break;
    case ACTION_CHECKSUM:
        execute_checksum(replica);
        break;
    case ACTION_LEAVE:
    case ACTION_STAY_OUT:
        execute_leave(replica, action->type == ACTION_STAY_OUT);
        break;
    case ACTION_LOG:
        execute_log(action);
        break;
    case ACTION_MERGE: /* the status group's alone */
        break;
    }
}

void replica_carry_out(struct replica *replica)
{
    struct action action;

    while (machine_next(replica->machine, &action))
        execute(replica, &action);
}

/* --- Events --- */

static bool is_self(const struct replica *replica, struct member member)
{
    return member.node == replica->options.self.node && member.pid == replica->options.self.pid;
}

static void handle_configuration(struct replica *replica, const struct event *event)
{
    bool joined = false;

    for (size_t i = 0; i < event->member_count; i++)
        joined = joined || is_self(replica, event->members[i]);
    replica_stop_updates(replica);
    replica->sync_begun = metrics_now();
    replica_hold(replica);
    machine_configuration(replica->machine, event->members, event->member_count,
                          event->members + event->member_count, event->joined_count,
                          now_seconds(replica));
    atomic_store(&replica->joined, joined && machine_mode(replica->machine) < MODE_LEAVE);
}

static void handle_message(struct replica *replica, const struct event *event)
{
    struct header header;

    if (replica->updates && is_self(replica, event->member) &&
        wire_parse_header(event->message->data, event->message->capacity, &header) == 0 &&
        header.type == MESSAGE_UPDATE)
        replica_updates_delivered(replica, event->message->capacity);
    machine_deliver(replica->machine, event->member, event->message);
}

static void handle_quorum(struct replica *replica, bool quorate)
{
    struct replica_listener *listener = replica->options.listener;

    /* What was delivered before is judged by the quorum of before. */
    if (!replica_flush(replica))
        replica_carry_out(replica);
    if (atomic_exchange(&replica->quorate, quorate) == quorate)
        return;
    pthread_mutex_lock(&replica->view_lock);
    replica->quorum_since = now_seconds(replica);
    pthread_mutex_unlock(&replica->view_lock);
    listener->quorum_changed(listener, quorate);
}

static void handle_send_failed(struct replica *replica, const struct event *event)
{
    struct caller *caller;

    switch (event->kind) {
    case SEND_NORMAL:
        if (!replica_end_round(replica, event->count, -EBUSY)) {
            caller = replica_take_caller(replica, event->count);
            if (caller)
                caller->answer(caller, -EBUSY);
        }
        break;
    case SEND_SYNC:
        machine_fail(replica->machine, "a message to the group could not be sent");
        break;
    case SEND_UPDATE: /* the count of an entry is its size; a VERIFY_REQUEST has none */
        log_warning("%s could not be sent", event->count ? "an entry of the synchronisation"
                                                         : "a request for a verification");
        if (replica->updates && event->count)
            replica_updates_delivered(replica, event->count);
        break;
    }
}

static void handle_connected(struct replica *replica, struct member self)
{
    replica->options.self = self;
    atomic_store(&replica->joined, false);
    replica_drop_held(replica);
    pthread_mutex_lock(&replica->send_lock);
    machine_restart(replica->machine, self);
    pthread_mutex_unlock(&replica->send_lock);
    /* All members wait for the slowest index: the digests are made before the group is joined. */
    buffer_unref(index_build(replica->draft));
}

static void handle_disconnected(struct replica *replica)
{
    if (!replica_flush(replica))
        replica_carry_out(replica);
    atomic_store(&replica->joined, false);
    replica_stop_updates(replica);
    replica_drop_held(replica);
    replica_fail_callers(replica, -EBUSY);
    handle_quorum(replica, false);
}

/* Room for the largest change, without which joining would only make the cluster synchronise again
 * for nothing. A disk that cannot tell counts as having it. */
static bool has_room(const struct replica *replica)
{
    const char *directory = replica->options.safety_directory;
    struct statvfs status;

    return !directory || statvfs(directory, &status) ||
           (uint64_t)status.f_bavail * status.f_frsize >= PROBE_ROOM;
}

/* Writes nothing new, to see whether the database takes it. */
static void handle_probe(struct replica *replica)
{
    if (atomic_load(&replica->broken) && draft_is_empty(replica->draft))
        atomic_store(&replica->writable,
                     has_room(replica) && store_commit(replica->store, replica->draft) == 0);
}

void replica_handle(struct replica *replica, const struct event *event)
{
    switch (event->type) {
    case EVENT_CONFIGURATION:
        handle_configuration(replica, event);
        break;
    case EVENT_MESSAGE:
        handle_message(replica, event);
        break;
    case EVENT_QUORUM:
        handle_quorum(replica, event->quorate);
        break;
    case EVENT_SEND_FAILED:
        handle_send_failed(replica, event);
        break;
    case EVENT_CONNECTED:
        handle_connected(replica, event->member);
        break;
    case EVENT_DISCONNECTED:
        handle_disconnected(replica);
        break;
    case EVENT_VERIFY:
        machine_verify(replica->machine, now_seconds(replica));
        break;
    case EVENT_PROBE:
        handle_probe(replica);
        break;
    }
    replica_carry_out(replica);
}
