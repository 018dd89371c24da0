/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the writer does: events go to the configuration group's machine, and its actions are carried
 * out. */
#include <errno.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "base/util.h"
#include "cluster/wire.h"
#include "core/index.h"
#include "core/limits.h"
#include "replica/internal.h"

/* A file of 1 MiB and what SQLite writes around it. */
#define PROBE_ROOM (2u << 20)

static struct replica *replica_of(struct executor *executor)
{
    return container_of(executor, struct replica, executor);
}

/* False: the database failed, and the group is being left. */
static bool flush(struct replica *replica)
{
    if (commit_flush(&replica->committer) == 0)
        return true;
    machine_fail(replica->executor.machine, "database error");
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

/* The member with the lowest node id decides by its own clock whether a lock has expired. */
static void judge_unlock(struct replica *replica, struct change change)
{
    struct clock_source *clock = replica->options.clock;

    if (!machine_is_lowest(replica->executor.machine) || !change.path)
        return;
    int64_t age = state_lock_age(replica->committer.state, change.path, change.digest,
                                 clock->milliseconds(clock));
    if (age <= (int64_t)replica->options.lock_lifetime)
        return;
    if (replica->committer.state->tree->root.version >= VERSION_MAX_ADMITTED)
        return;
    change.operation = CHANGE_UNLOCK;
    change.time = 0; /* of its own, not the request's */
    outbox_send(&replica->outbox, NULL, &change, NULL);
}

/* doc/cluster.md, "Application in the configuration group" */
static void apply_message(struct executor *executor, const struct action *action)
{
    struct replica *replica = replica_of(executor);
    struct outcome outcome = {
        .message = action->message, .sender = action->sender, .own = action->own};
    g_autofree char *problem = NULL;
    size_t members;

    machine_members(executor->machine, &members);
    outcome.shared = members > 1;

    if (parse_outcome(&outcome))
        problem =
            g_strdup_printf("malformed message (subtype %u) from node %u, pid %u",
                            outcome.change.operation, outcome.sender.node, outcome.sender.pid);
    else if (!atomic_load(&replica->view.quorate))
        problem = g_strdup_printf("a change of node %u was delivered without quorum",
                                  outcome.sender.node);
    if (problem) {
        flush(replica);
        machine_fail(executor->machine, problem);
    } else if (outcome.change.operation == CHANGE_UNLOCK_REQUEST) {
        if (flush(replica))
            judge_unlock(replica, outcome.change);
    } else {
        commit_apply(&replica->committer, &outcome);
    }
}

/* doc/cluster.md, "Configuration change" */
static void give_up(struct executor *executor, const struct action *action)
{
    struct header header;

    if (wire_parse_header(action->message->data, message_size(action->message), &header) == 0)
        waiters_answer(&replica_of(executor)->waiters, header.count, -EBUSY);
}

/* doc/cluster.md, "Confirmations": comes before the STATE everywhere. 0, or a negative errno: the
 * group is being left. */
static int announce_confirming(struct executor *executor)
{
    struct buffer *nothing = wire_build_confirmation(NULL, 0, executor_seconds(executor));
    int error = executor_multicast(executor, nothing, SEND_SYNC, "");

    buffer_unref(nothing);
    return error;
}

/* Actions that look at the state as a whole need what was applied so far to be in it. */

/* doc/cluster.md, "STATE" */
static struct buffer *send_state(struct executor *executor)
{
    struct replica *replica = replica_of(executor);

    if (!flush(replica) || announce_confirming(executor))
        return NULL;
    return index_build(replica->committer.draft);
}

/* doc/cluster.md, "Choose (configuration group)" */
static void send_updates(struct executor *executor, const struct action *action)
{
    struct replica *replica = replica_of(executor);

    if (flush(replica))
        synchronise_send_updates(&replica->synchronisation, action);
}

/* doc/cluster.md, "Commit" */
static void take_over(struct executor *executor, const struct action *action)
{
    struct replica *replica = replica_of(executor);

    if (flush(replica))
        machine_committed(executor->machine, synchronise_commit(&replica->synchronisation, action,
                                                                replica->self.node));
}

/* doc/cluster.md, "Verification (configuration group)" */
static void compute_checksum(struct executor *executor, const struct action *action)
{
    struct replica *replica = replica_of(executor);

    (void)action;
    if (!flush(replica))
        return;
    const struct tree *tree = replica->committer.state->tree;
    struct replica_checksum checksum = {.version = tree->root.version,
                                        .time = executor_seconds(executor)};
    tree_checksum(tree, checksum.digest);
    view_show_checksum(&replica->view, &checksum);
    machine_checksum(executor->machine, checksum.digest, checksum.time);
}

static void become_synced(struct executor *executor, const struct action *action)
{
    struct replica *replica = replica_of(executor);
    uint64_t *begun = &replica->synchronisation.begun;

    if (action->became)
        log_info("the configuration is in sync%s",
                 action->alone ? " (no other node is there)" : "");
    if (*begun && !action->alone)
        histogram_note_since(&replica->metrics.synchronisations, *begun);
    *begun = 0;
    /* What is in memory is what is in the database, and what the others have. */
    atomic_store(&replica->committer.broken, false);
    atomic_store(&replica->put_off, false);
    synchronise_succeeded(&replica->synchronisation);
    outbox_release(&replica->outbox);
}

/* Nothing comes back to those who wait. */
static void give_up_callers(struct replica *replica)
{
    synchronise_stop(&replica->synchronisation);
    atomic_store(&replica->view.joined, false);
    outbox_drop(&replica->outbox);
    waiters_fail(&replica->waiters, UINT64_MAX, -EBUSY);
}

/* doc/cluster.md, "Leaving" */
static void prepare_to_leave(struct executor *executor)
{
    struct replica *replica = replica_of(executor);

    flush(replica);
    counter_add(&replica->metrics.departures, 1);
    synchronise_left(&replica->synchronisation);
    atomic_store(&replica->put_off, replica->synchronisation.failures > 0);
    atomic_store(&replica->view.outdated, machine_mode(executor->machine) == MODE_VERSION_ERROR);
    give_up_callers(replica);
    /* It may be that the memory is not what it was when the digests were made (a verification
     * failed): then the next index has to tell, or the others would take this node for synced. */
    tree_forget_digests(replica->committer.state->tree);
}

static const struct group_actions actions = {
    .state = send_state,
    .leaving = prepare_to_leave,
    .of = {[ACTION_APPLY] = apply_message,
           [ACTION_GIVE_UP] = give_up,
           [ACTION_SEND_UPDATES] = send_updates,
           [ACTION_COMMIT] = take_over,
           [ACTION_SYNCED] = become_synced,
           [ACTION_CHECKSUM] = compute_checksum},
};

/* --- Events --- */

static void before_configuration(struct replica *replica, const struct event *event)
{
    synchronise_stop(&replica->synchronisation);
    replica->synchronisation.begun = metrics_now();
    outbox_hold(&replica->outbox);
    confirm_configuration(&replica->confirm, replica->self, event->members, event->member_count);
    waiters_restart_rounds(&replica->waiters);
}

static void before_message(struct replica *replica, const struct event *event)
{
    struct header header;

    if (wire_parse_header(event->message->data, event->message->capacity, &header))
        return;
    if (header.type == MESSAGE_UPDATE && replica->synchronisation.updates &&
        same_member(&event->member, &replica->self))
        synchronise_delivered(&replica->synchronisation, event->message->capacity);
    else if (header.type == MESSAGE_VERIFY_REQUEST || header.type == MESSAGE_VERIFY)
        confirm_take(&replica->confirm, event->member, &header,
                     machine_mode(replica->executor.machine) == MODE_SYNCED);
}

static void set_quorum(struct replica *replica, bool quorate)
{
    struct replica_listener *listener = replica->options.listener;

    /* What was delivered before is judged by the quorum of before. */
    if (!flush(replica))
        executor_run(&replica->executor);
    if (view_set_quorate(&replica->view, quorate))
        listener->quorum_changed(listener, quorate);
}

static void note_not_sent(struct replica *replica, const struct event *event)
{
    switch (event->kind) {
    case SEND_NORMAL:
        waiters_answer(&replica->waiters, event->count, -EBUSY);
        break;
    case SEND_SYNC: /* the machine has to know */
        break;
    case SEND_UPDATE: /* the count of an entry is its size; a VERIFY_REQUEST has none */
        log_warning("%s could not be sent", event->count ? "an entry of the synchronisation"
                                                         : "a request for a verification");
        if (event->count)
            synchronise_delivered(&replica->synchronisation, event->count);
        else
            machine_verify_failed(replica->executor.machine);
        break;
    case SEND_CONFIRMATION:
        confirm_again(&replica->confirm);
        break;
    }
}

static void before_connected(struct replica *replica, const struct event *event)
{
    replica->self = event->member;
    atomic_store(&replica->view.connected, true);
    atomic_store(&replica->view.joined, false);
    outbox_drop(&replica->outbox);
    /* All members wait for the slowest index: the digests are made before the group is joined. */
    buffer_unref(index_build(replica->committer.draft));
}

/* doc/cluster.md, "Connection lost" */
static void disconnected(struct replica *replica)
{
    if (!flush(replica))
        executor_run(&replica->executor);
    give_up_callers(replica);
    atomic_store(&replica->view.connected, false);
    set_quorum(replica, false);
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

/* Whether joining makes sense now. */
static void probe(struct replica *replica)
{
    struct clock_source *clock = replica->options.clock;
    bool due = synchronise_is_due(&replica->synchronisation, clock->milliseconds(clock));

    atomic_store(&replica->put_off, !due);
    commit_probe(&replica->committer, due && has_room(replica));
}

/* What the machine need not know, or is to find done. */
static void prepare(struct replica *replica, const struct event *event)
{
    switch (event->type) {
    case EVENT_CONFIGURATION:
        before_configuration(replica, event);
        break;
    case EVENT_MESSAGE:
        before_message(replica, event);
        break;
    case EVENT_QUORUM:
        set_quorum(replica, event->quorate);
        break;
    case EVENT_SEND_FAILED:
        note_not_sent(replica, event);
        break;
    case EVENT_CONNECTED:
        before_connected(replica, event);
        break;
    case EVENT_DISCONNECTED:
        disconnected(replica);
        break;
    case EVENT_PROBE:
        probe(replica);
        break;
    case EVENT_VERIFY:
        break;
    }
}

void replica_handle(struct replica *replica, const struct event *event)
{
    prepare(replica, event);
    executor_handle(&replica->executor, event);
    if (event->type == EVENT_CONFIGURATION)
        atomic_store(&replica->view.joined,
                     event_has_member(event, replica->self) &&
                         machine_mode(replica->executor.machine) < MODE_LEAVE);
}

/* Tells others that what they asked about is stored here, one message for all of a batch. */
static void confirm_to_others(struct replica *replica)
{
    if (machine_mode(replica->executor.machine) != MODE_SYNCED)
        return;
    struct buffer *message =
        confirm_answer(&replica->confirm, executor_seconds(&replica->executor));
    if (!message)
        return;
    if (executor_multicast(&replica->executor, message, SEND_CONFIRMATION, "a confirmation"))
        confirm_again(&replica->confirm);
    buffer_unref(message);
}

/* A member that is not in sync keeps messages that a new configuration makes it forget: before it
 * is, nothing is safe with all. Nor is what only members without quorum have: whether it stays is
 * known when they have met the others again. */
static void settle_rounds(struct replica *replica)
{
    if (!replica->committer.parts.acknowledge_all ||
        !machine_is_complete(replica->executor.machine) || !atomic_load(&replica->view.quorate))
        return;
    confirm_tell(&replica->confirm);
    waiters_end_rounds(&replica->waiters, confirm_reached(&replica->confirm));
    outbox_send_marker(&replica->outbox);
}

void replica_end_batch(struct replica *replica)
{
    if (!flush(replica))
        executor_run(&replica->executor);
    executor_end_batch(&replica->executor);
    confirm_to_others(replica);
    settle_rounds(replica);
    view_show_machine(&replica->view, replica->executor.machine, &replica->confirm);
}

/* --- Making --- */

void replica_init_writer(struct replica *replica, struct store *store, struct tree *tree)
{
    const struct replica_options *options = &replica->options;

    replica->self = options->self;
    executor_init(&replica->executor, GROUP_CONFIGURATION, options->self, &actions, options->clock);
    replica->executor.names = options->names;
    committer_init(&replica->committer,
                   &(struct commit_parts){
                       .store = store,
                       .waiters = &replica->waiters,
                       .refusals = &replica->refusals,
                       .metrics = &replica->metrics,
                       .listener = options->listener,
                       .clock = options->clock,
                       .local = options->local,
                       .acknowledge_all = options->acknowledge_all,
                   },
                   tree);
    confirm_init(&replica->confirm, options->self);
    replica->synchronisation = (struct synchronisation){
        .executor = &replica->executor,
        .committer = &replica->committer,
        .safety_directory = options->safety_directory,
        .rejoin_delay = options->rejoin_delay,
    };
}

void replica_destroy_writer(struct replica *replica)
{
    synchronise_destroy(&replica->synchronisation);
    confirm_destroy(&replica->confirm);
    committer_destroy(&replica->committer);
    executor_destroy(&replica->executor);
}
