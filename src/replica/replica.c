/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The replica's outside: reading, asking for changes, events, and the writer role. */
#include "replica/replica.h"

#include <errno.h>

#include "base/log.h"
#include "base/util.h"
#include "core/digest.h"
#include "replica/internal.h"
#include "store/store.h"

/* What may wait for a writer that is held up by its disk, before the group has to wait too; and
 * about what an event costs beyond its message. */
#define EVENT_BYTES_MAX (16u << 20)
#define EVENT_OVERHEAD 128u

static uint64_t now_milliseconds(const struct replica *replica)
{
    return replica->options.clock->milliseconds(replica->options.clock);
}

/* --- Making --- */

static bool is_ready(struct group_consumer *consumer);
static void take_events(struct group_consumer *consumer, GQueue *events);

struct replica *replica_new(const struct replica_options *options, struct store *store,
                            struct tree *tree)
{
    struct replica *replica = g_new0(struct replica, 1);

    replica->options = *options;
    replica->consumer = (struct group_consumer){.ready = is_ready, .take = take_events};
    refusals_init(&replica->refusals);
    waiters_init(&replica->waiters);
    outbox_init(&replica->outbox, &replica->waiters, options->clock);
    view_init(&replica->view, options->clock);
    replica_init_writer(replica, store, tree);
    g_queue_init(&replica->events);
    lock_init(&replica->events_lock, LOCK_RANK_EVENTS);
    pthread_cond_init(&replica->idle, NULL);
    pthread_cond_init(&replica->taken, NULL);
    return replica;
}

void replica_set_transport(struct replica *replica, struct transport *transport)
{
    replica->outbox.transport = transport;
    replica->executor.transport = transport;
}

struct group_consumer *replica_consumer(struct replica *replica)
{
    return &replica->consumer;
}

void replica_free(struct replica *replica)
{
    if (!replica)
        return;
    outbox_drop(&replica->outbox);
    waiters_fail(&replica->waiters, UINT64_MAX, -EBUSY);
    event_clear(&replica->events);
    replica_destroy_writer(replica);
    view_destroy(&replica->view);
    outbox_destroy(&replica->outbox);
    waiters_destroy(&replica->waiters);
    refusals_destroy(&replica->refusals);
    pthread_cond_destroy(&replica->taken);
    pthread_cond_destroy(&replica->idle);
    lock_destroy(&replica->events_lock);
    g_free(replica);
}

/* --- Reading --- */

const struct state *replica_read_lock(struct replica *replica)
{
    shared_lock_read(&replica->committer.state_lock);
    return replica->committer.state;
}

void replica_read_unlock(struct replica *replica)
{
    shared_lock_give(&replica->committer.state_lock);
}

bool replica_is_quorate(const struct replica *replica)
{
    return atomic_load(&replica->view.quorate);
}

void replica_get_status(struct replica *replica, struct replica_status *status)
{
    view_get_status(&replica->view, status);
    status->acknowledge_all = replica->options.acknowledge_all;
    status->broken =
        atomic_load(&replica->committer.broken) || store_is_failing(replica->committer.parts.store);
    status->waiting = waiters_count(&replica->waiters);
    status->held = outbox_held(&replica->outbox);
}

char *replica_old_name(struct replica *replica, const char *name)
{
    const struct state *state = replica_read_lock(replica);
    char *only = guest_list_only_node(&state->guests);

    replica_read_unlock(replica);
    if (only && strcmp(only, name) == 0)
        g_clear_pointer(&only, g_free);
    return only;
}

GArray *replica_members(struct replica *replica)
{
    return view_members(&replica->view);
}

void replica_get_checksum(struct replica *replica, struct replica_checksum *checksum)
{
    view_get_checksum(&replica->view, checksum);
}

const struct replica_metrics *replica_metrics(const struct replica *replica)
{
    return &replica->metrics;
}

const struct refusals *replica_refusals(const struct replica *replica)
{
    return &replica->refusals;
}

static void lock_free(gpointer data)
{
    struct replica_lock *lock = data;

    g_free(lock->path);
    g_free(lock);
}

GPtrArray *replica_locks(struct replica *replica)
{
    GPtrArray *locks = g_ptr_array_new_with_free_func(lock_free);
    const struct state *state = replica_read_lock(replica);
    uint64_t now = now_milliseconds(replica);
    GHashTableIter iter;
    gpointer inode, data;

    g_hash_table_iter_init(&iter, state->locks);
    while (g_hash_table_iter_next(&iter, &inode, &data)) {
        const struct lock_age *known = data;
        const struct entry *entry = tree_entry(state->tree, (uint64_t)(uintptr_t)inode);
        struct replica_lock *lock = g_new0(struct replica_lock, 1);
        lock->path = tree_path(state->tree, (uint64_t)(uintptr_t)inode);
        lock->writer = entry ? entry->writer : 0;
        lock->age = now > known->since ? now - known->since : 0;
        lock->expired = lock->age > replica->options.lock_lifetime;
        g_ptr_array_add(locks, lock);
    }
    replica_read_unlock(replica);
    return locks;
}

/* --- Changes --- */

/* As replica_refusal(), and the cause. */
static int find_refusal(struct replica *replica, enum refusal *cause)
{
    if (!atomic_load(&replica->view.quorate)) {
        *cause = atomic_load(&replica->view.connected) ? REFUSAL_QUORUM : REFUSAL_COROSYNC;
        return -EACCES;
    }
    if (atomic_load(&replica->committer.broken)) {
        *cause = REFUSAL_DATABASE;
        return -EIO;
    }
    if (!atomic_load(&replica->view.joined)) {
        *cause = atomic_load(&replica->view.outdated) ? REFUSAL_PROTOCOL : REFUSAL_NOT_JOINED;
        return -EBUSY;
    }
    if (outbox_is_full(&replica->outbox)) {
        *cause = REFUSAL_WAITING;
        return -EBUSY;
    }
    return 0;
}

bool replica_takes_changes(struct replica *replica)
{
    enum refusal cause;

    return find_refusal(replica, &cause) == 0;
}

int replica_refusal(struct replica *replica, const char *path)
{
    enum refusal cause;
    int error = find_refusal(replica, &cause);

    if (error)
        refusals_note(&replica->refusals, cause, path, NULL, now_milliseconds(replica));
    return error;
}

void replica_note_too_large(struct replica *replica, const char *path)
{
    refusals_note(&replica->refusals, REFUSAL_LIMIT, path, "a file can have 1 MiB at most",
                  now_milliseconds(replica));
}

static enum refusal admission_cause(int error)
{
    if (error == -EOVERFLOW)
        return REFUSAL_VERSION;
    return error == -ENOSPC || error == -EFBIG ? REFUSAL_LIMIT : REFUSAL_FORM;
}

/* What may be said against the change by this node alone. */
static int admission(struct replica *replica, const struct change *change,
                     struct admit_reserve *reserve)
{
    const char *reason = NULL;
    struct admit_reserve under_way = waiters_reserve(&replica->waiters);

    int error = admit(replica_read_lock(replica), change, &under_way, reserve, &reason);
    replica_read_unlock(replica);
    if (error && reason)
        refusals_note(&replica->refusals, admission_cause(error), change->path, reason,
                      now_milliseconds(replica));
    return error;
}

/* `request`: for an unlock, before the change; NULL: none. */
static void send_change(struct replica *replica, const struct change *request,
                        const struct change *change, struct caller *caller)
{
    int error = replica_refusal(replica, change->path);
    /* A rename onto itself is done, and must not be sent: it brings other implementations down. */
    bool done =
        !error && change->operation == CHANGE_RENAME && g_strcmp0(change->path, change->to) == 0;

    if (!error && !done)
        error = admission(replica, change, &caller->reserve);
    if (error || done) {
        caller->answer(caller, error);
        return;
    }
    outbox_send(&replica->outbox, request, change, caller);
    replica_run(replica);
}

void replica_change(struct replica *replica, const struct change *change, struct caller *caller)
{
    send_change(replica, NULL, change, caller);
}

void replica_request_unlock(struct replica *replica, const char *path, struct caller *caller)
{
    struct change change = {.operation = CHANGE_MTIME, .path = path};
    int error;

    const struct state *state = replica_read_lock(replica);
    /* The clock is read under the lock: what is published meanwhile is not older. */
    int64_t age = state_lock_age(state, path, NULL, now_milliseconds(replica));
    bool found = age >= 0;
    if (found)
        lock_digest(tree_lookup(state->tree, path, &error), change.digest);
    replica_read_unlock(replica);
    struct change request = change;
    request.operation = CHANGE_UNLOCK_REQUEST;
    if (found && replica->options.local && age > (int64_t)replica->options.lock_lifetime)
        change.operation = CHANGE_UNLOCK;
    send_change(replica, found && !replica->options.local ? &request : NULL, &change, caller);
}

bool replica_cancel(struct replica *replica, struct caller *caller)
{
    if (!waiters_cancel(&replica->waiters, caller))
        return false;
    outbox_drop_answered(&replica->outbox);
    return true;
}

void replica_expire(struct replica *replica, uint64_t milliseconds)
{
    uint64_t now = now_milliseconds(replica);

    if (now < milliseconds)
        return;
    unsigned expired = waiters_fail(&replica->waiters, now - milliseconds, -EBUSY);
    if (expired == 0)
        return;
    outbox_drop_answered(&replica->outbox);
    log_warning("%u changes had no answer from the cluster for %" G_GUINT64_FORMAT
                " ms: their callers get EBUSY; see 'systemctl status corosync' and "
                "'journalctl -u corosync'",
                expired, milliseconds);
}

/* --- Events and the writer role --- */

void replica_post(struct replica *replica, struct event *event)
{
    LOCKED(&replica->events_lock);
    g_queue_push_tail(&replica->events, event);
}

/* Works off a queue of events as one batch. */
static void work_off(struct replica *replica, GQueue *events)
{
    struct event *event;

    while ((event = g_queue_pop_head(events))) {
        replica_handle(replica, event);
        event_free(event);
    }
    replica_end_batch(replica);
}

void replica_run(struct replica *replica)
{
    lock_take(&replica->events_lock);
    if (replica->busy) {
        /* The writer looks at the queue again before it gives the role back. */
        lock_give(&replica->events_lock);
        return;
    }
    replica->busy = true;
    while (replica->events.length > 0) {
        GQueue batch = replica->events;
        g_queue_init(&replica->events);
        replica->event_bytes = 0;
        pthread_cond_broadcast(&replica->taken);
        lock_give(&replica->events_lock);
        work_off(replica, &batch);
        lock_take(&replica->events_lock);
    }
    replica->busy = false;
    pthread_cond_broadcast(&replica->idle);
    lock_give(&replica->events_lock);
}

void replica_settle(struct replica *replica)
{
    LOCKED(&replica->events_lock);
    while (replica->busy)
        lock_wait(&replica->events_lock, &replica->idle);
}

/* --- The group's consumer --- */

static bool is_ready(struct group_consumer *consumer)
{
    struct replica *replica = container_of(consumer, struct replica, consumer);

    if (!atomic_load(&replica->committer.broken) && !atomic_load(&replica->put_off))
        return true;
    replica_post(replica, event_new(EVENT_PROBE));
    replica_run(replica);
    return !atomic_load(&replica->put_off) &&
           (!atomic_load(&replica->committer.broken) || atomic_load(&replica->committer.writable));
}

/* Another thread that is the writer may wait for its disk: the group waits then as if this one were
 * it, and does not fill the memory. */
static void take_events(struct group_consumer *consumer, GQueue *events)
{
    struct replica *replica = container_of(consumer, struct replica, consumer);
    struct event *event;

    lock_take(&replica->events_lock);
    while ((event = g_queue_pop_head(events))) {
        replica->event_bytes +=
            EVENT_OVERHEAD + (event->message ? message_size(event->message) : 0);
        g_queue_push_tail(&replica->events, event);
    }
    lock_give(&replica->events_lock);
    replica_run(replica);
    LOCKED(&replica->events_lock);
    while (replica->event_bytes > EVENT_BYTES_MAX)
        lock_wait(&replica->events_lock, &replica->taken);
}
