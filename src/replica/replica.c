/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The replica's outside: callers, events, and the writer role. What the writer does is in
 * execute.c. */
#include "replica/replica.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "cluster/wire.h"
#include "core/digest.h"
#include "replica/internal.h"

static void event_free(struct event *event)
{
    buffer_unref(event->message);
    g_free(event);
}

static void round_destroy(gpointer round)
{
    g_ptr_array_unref(round);
}

static gpointer count_key(uint64_t count)
{
    return (gpointer)(uintptr_t)count;
}

static void init_locks(struct replica *replica)
{
    pthread_rwlockattr_t attributes;

    /* Readers come and go all the time; the writer must not starve. */
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&replica->state_lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    pthread_mutex_init(&replica->send_lock, NULL);
    pthread_mutex_init(&replica->waiting_lock, NULL);
    pthread_mutex_init(&replica->queue_lock, NULL);
    pthread_mutex_init(&replica->view_lock, NULL);
    pthread_cond_init(&replica->idle, NULL);
    refusals_init(&replica->refusals);
}

struct replica *replica_new(const struct replica_options *options, struct store *store,
                            struct tree *tree)
{
    struct replica *replica = g_new0(struct replica, 1);

    replica->options = *options;
    replica->store = store;
    replica->state = state_new(tree, options->clock->milliseconds(options->clock));
    replica->machine = machine_new(GROUP_CONFIGURATION, options->self);
    replica->draft = draft_new(replica->state);
    replica->outcomes = g_array_new(FALSE, FALSE, sizeof(struct outcome));
    g_queue_init(&replica->waiting);
    replica->rounds = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, round_destroy);
    replica->members = g_array_new(FALSE, FALSE, sizeof(struct replica_member));
    replica->mode_since = replica->quorum_since = options->clock->seconds(options->clock);
    replica->last = &replica->first;
    g_queue_init(&replica->held);
    atomic_init(&replica->mode, MODE_START);
    init_locks(replica);
    return replica;
}

void replica_set_transport(struct replica *replica, struct transport *transport)
{
    replica->transport = transport;
}

void replica_free(struct replica *replica)
{
    if (!replica)
        return;
    replica_drop_held(replica);
    replica_fail_callers(replica, -EBUSY);
    replica_stop_updates(replica);
    for (struct event *event = replica->first; event;) {
        struct event *next = event->next;
        event_free(event);
        event = next;
    }
    g_hash_table_unref(replica->rounds);
    g_array_unref(replica->outcomes);
    g_array_unref(replica->members);
    draft_free(replica->draft);
    machine_free(replica->machine);
    state_free(replica->state);
    refusals_destroy(&replica->refusals);
    pthread_cond_destroy(&replica->idle);
    pthread_mutex_destroy(&replica->queue_lock);
    pthread_mutex_destroy(&replica->view_lock);
    pthread_mutex_destroy(&replica->waiting_lock);
    pthread_mutex_destroy(&replica->send_lock);
    pthread_rwlock_destroy(&replica->state_lock);
    g_free(replica);
}

const struct state *replica_read_lock(struct replica *replica)
{
    pthread_rwlock_rdlock(&replica->state_lock);
    return replica->state;
}

void replica_read_unlock(struct replica *replica)
{
    pthread_rwlock_unlock(&replica->state_lock);
}

bool replica_is_quorate(const struct replica *replica)
{
    return atomic_load(&replica->quorate);
}

void replica_get_status(struct replica *replica, struct replica_status *status)
{
    pthread_mutex_lock(&replica->waiting_lock);
    status->waiting = replica->waiting.length;
    pthread_mutex_unlock(&replica->waiting_lock);
    status->mode = (enum machine_mode)atomic_load(&replica->mode);
    status->joined = atomic_load(&replica->joined);
    status->quorate = atomic_load(&replica->quorate);
    status->broken = atomic_load(&replica->broken);
    status->queued = atomic_load(&replica->queued);
    pthread_mutex_lock(&replica->send_lock);
    status->held = replica->held.length;
    pthread_mutex_unlock(&replica->send_lock);
    pthread_mutex_lock(&replica->view_lock);
    status->lowest = replica->lowest;
    status->mode_since = replica->mode_since;
    status->quorum_since = replica->quorum_since;
    status->verifications = replica->verifications;
    pthread_mutex_unlock(&replica->view_lock);
}

GArray *replica_members(struct replica *replica)
{
    pthread_mutex_lock(&replica->view_lock);
    GArray *members = g_array_copy(replica->members);
    pthread_mutex_unlock(&replica->view_lock);
    return members;
}

void replica_get_checksum(struct replica *replica, struct replica_checksum *checksum)
{
    pthread_mutex_lock(&replica->view_lock);
    *checksum = replica->checksum;
    pthread_mutex_unlock(&replica->view_lock);
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

/* --- Callers --- */

/* With the send lock held: so the counts ascend. */
static void add_caller(struct replica *replica, struct caller *caller, uint64_t count)
{
    uint64_t now = now_milliseconds(replica);

    pthread_mutex_lock(&replica->waiting_lock);
    caller->count = count;
    caller->since = now;
    caller->link = (GList){.data = caller};
    g_queue_push_tail_link(&replica->waiting, &caller->link);
    replica->under_way.bytes += caller->reserve.bytes;
    replica->under_way.entries += caller->reserve.entries;
    pthread_mutex_unlock(&replica->waiting_lock);
}

/* Answers come in the order of counts, so it is the first as a rule. With the waiting lock held. */
static struct caller *find_caller(const struct replica *replica, uint64_t count)
{
    for (const GList *at = replica->waiting.head; at; at = at->next) {
        struct caller *caller = at->data;
        if (caller->count >= count)
            return caller->count == count ? caller : NULL;
    }
    return NULL;
}

/* With the waiting lock held. */
static void forget_caller(struct replica *replica, struct caller *caller)
{
    g_queue_unlink(&replica->waiting, &caller->link);
    replica->under_way.bytes -= caller->reserve.bytes;
    replica->under_way.entries -= caller->reserve.entries;
}

struct caller *replica_take_caller(struct replica *replica, uint64_t count)
{
    pthread_mutex_lock(&replica->waiting_lock);
    struct caller *caller = find_caller(replica, count);
    if (caller)
        forget_caller(replica, caller);
    pthread_mutex_unlock(&replica->waiting_lock);
    return caller;
}

const void *replica_caller_origin(struct replica *replica, uint64_t count)
{
    pthread_mutex_lock(&replica->waiting_lock);
    const struct caller *caller = find_caller(replica, count);
    const void *origin = caller ? caller->origin : NULL;
    pthread_mutex_unlock(&replica->waiting_lock);
    return origin;
}

bool replica_cancel(struct replica *replica, struct caller *caller)
{
    GHashTableIter iter;
    gpointer round;

    pthread_mutex_lock(&replica->waiting_lock);
    bool found = find_caller(replica, caller->count) == caller;
    if (found)
        forget_caller(replica, caller);
    g_hash_table_iter_init(&iter, replica->rounds);
    while (!found && g_hash_table_iter_next(&iter, NULL, &round))
        found = g_ptr_array_remove(round, caller);
    pthread_mutex_unlock(&replica->waiting_lock);
    return found;
}

/* Takes all callers out that have waited since before `limit`, those of second rounds too. */
static GPtrArray *take_callers(struct replica *replica, uint64_t limit)
{
    GPtrArray *taken = g_ptr_array_new();
    GHashTableIter iter;
    gpointer pointer;

    pthread_mutex_lock(&replica->waiting_lock);
    for (const GList *at = replica->waiting.head; at; at = at->next) {
        const struct caller *caller = at->data;
        if (caller->since <= limit)
            g_ptr_array_add(taken, at->data);
    }
    for (guint i = 0; i < taken->len; i++)
        forget_caller(replica, taken->pdata[i]);
    g_hash_table_iter_init(&iter, replica->rounds);
    while (g_hash_table_iter_next(&iter, NULL, &pointer)) {
        GPtrArray *round = pointer;
        for (guint i = round->len; i-- > 0;) {
            if (((struct caller *)round->pdata[i])->since <= limit)
                g_ptr_array_add(taken, g_ptr_array_remove_index(round, i));
        }
        if (round->len == 0) /* its marker may never come back */
            g_hash_table_iter_remove(&iter);
    }
    pthread_mutex_unlock(&replica->waiting_lock);
    return taken;
}

static void answer_all(GPtrArray *callers, int result)
{
    for (guint i = 0; i < callers->len; i++) {
        struct caller *caller = callers->pdata[i];
        caller->answer(caller, result);
    }
}

void replica_fail_callers(struct replica *replica, int error)
{
    g_autoptr(GPtrArray) callers = take_callers(replica, UINT64_MAX);

    answer_all(callers, error);
}

void replica_expire(struct replica *replica, uint64_t milliseconds)
{
    uint64_t now = now_milliseconds(replica);

    if (now < milliseconds)
        return;
    g_autoptr(GPtrArray) callers = take_callers(replica, now - milliseconds);
    if (callers->len > 0)
        log_warning("%u changes had no answer from the cluster for %" G_GUINT64_FORMAT
                    " ms: their callers get EBUSY; look at 'corosync-quorumtool' and the log of "
                    "corosync",
                    callers->len, milliseconds);
    answer_all(callers, -EBUSY);
}

/* --- Changes --- */

/* With the send lock held. */
static int send_or_hold(struct replica *replica, struct buffer *message, uint64_t count)
{
    if (replica->sending)
        return replica->transport->multicast(replica->transport, message, SEND_NORMAL, count);
    struct held *held = g_new(struct held, 1);
    *held = (struct held){buffer_ref(message), count};
    g_queue_push_tail(&replica->held, held);
    return 0;
}

static void held_free(struct held *held)
{
    buffer_unref(held->message);
    g_free(held);
}

void replica_hold(struct replica *replica)
{
    pthread_mutex_lock(&replica->send_lock);
    replica->sending = false;
    pthread_mutex_unlock(&replica->send_lock);
}

void replica_release(struct replica *replica)
{
    struct held *held;

    pthread_mutex_lock(&replica->send_lock);
    while ((held = g_queue_pop_head(&replica->held))) {
        if (replica->transport->multicast(replica->transport, held->message, SEND_NORMAL,
                                          held->count))
            replica_post_send_failed(replica, SEND_NORMAL, held->count);
        held_free(held);
    }
    replica->sending = true;
    pthread_mutex_unlock(&replica->send_lock);
}

void replica_drop_held(struct replica *replica)
{
    GQueue dropped;
    struct held *held;

    pthread_mutex_lock(&replica->send_lock);
    dropped = replica->held;
    g_queue_init(&replica->held);
    replica->sending = false;
    pthread_mutex_unlock(&replica->send_lock);
    while ((held = g_queue_pop_head(&dropped))) {
        struct caller *caller = replica_take_caller(replica, held->count);
        if (caller)
            caller->answer(caller, -EBUSY);
        else
            replica_end_round(replica, held->count, -EBUSY);
        held_free(held);
    }
}

void replica_send(struct replica *replica, const struct change *change, struct caller *caller)
{
    struct buffer *message;
    int error = wire_build_change(change, &message);

    if (!error) {
        pthread_mutex_lock(&replica->send_lock);
        uint64_t count = machine_number(replica->machine, message, now_seconds(replica));
        if (caller)
            add_caller(replica, caller, count);
        error = send_or_hold(replica, message, count);
        pthread_mutex_unlock(&replica->send_lock);
        buffer_unref(message);
        if (error && caller)
            caller = replica_take_caller(replica, count);
    }
    if (error && caller)
        caller->answer(caller, error);
}

void replica_begin_round(struct replica *replica, struct caller *caller)
{
    pthread_mutex_lock(&replica->waiting_lock);
    GPtrArray *callers = g_hash_table_lookup(replica->rounds, count_key(0));
    if (!callers) {
        callers = g_ptr_array_new();
        g_hash_table_insert(replica->rounds, count_key(0), callers);
    }
    g_ptr_array_add(callers, caller);
    pthread_mutex_unlock(&replica->waiting_lock);
}

void replica_send_marker(struct replica *replica)
{
    struct change nothing = {.operation = CHANGE_MTIME};
    struct buffer *message;
    gpointer callers = NULL;

    pthread_mutex_lock(&replica->waiting_lock);
    g_hash_table_steal_extended(replica->rounds, count_key(0), NULL, &callers);
    pthread_mutex_unlock(&replica->waiting_lock);
    if (!callers)
        return;
    /* A change without a path is an error on every node, and harms none: it only comes back. */
    wire_build_change(&nothing, &message);
    pthread_mutex_lock(&replica->send_lock);
    uint64_t count = machine_number(replica->machine, message, now_seconds(replica));
    pthread_mutex_lock(&replica->waiting_lock);
    g_hash_table_insert(replica->rounds, count_key(count), callers);
    pthread_mutex_unlock(&replica->waiting_lock);
    int error = send_or_hold(replica, message, count);
    pthread_mutex_unlock(&replica->send_lock);
    buffer_unref(message);
    if (error)
        replica_end_round(replica, count, error);
}

bool replica_end_round(struct replica *replica, uint64_t count, int result)
{
    gpointer round = NULL;

    pthread_mutex_lock(&replica->waiting_lock);
    g_hash_table_steal_extended(replica->rounds, count_key(count), NULL, &round);
    pthread_mutex_unlock(&replica->waiting_lock);
    if (!round)
        return false;
    answer_all(round, result);
    g_ptr_array_unref(round);
    return true;
}

void replica_fail_rounds(struct replica *replica, int error)
{
    g_autoptr(GPtrArray) callers = g_ptr_array_new();
    GHashTableIter iter;
    gpointer round;

    pthread_mutex_lock(&replica->waiting_lock);
    g_hash_table_iter_init(&iter, replica->rounds);
    while (g_hash_table_iter_next(&iter, NULL, &round)) {
        g_ptr_array_extend(callers, round, NULL, NULL);
        g_ptr_array_set_size(round, 0);
    }
    pthread_mutex_unlock(&replica->waiting_lock);
    answer_all(callers, error);
}

int replica_refusal(struct replica *replica, const char *path)
{
    enum refusal cause;
    int error;

    if (!atomic_load(&replica->quorate)) {
        cause = REFUSAL_QUORUM;
        error = -EACCES;
    } else if (atomic_load(&replica->broken)) {
        cause = REFUSAL_DATABASE;
        error = -EIO;
    } else if (!atomic_load(&replica->joined)) {
        cause = atomic_load(&replica->outdated) ? REFUSAL_PROTOCOL : REFUSAL_NOT_JOINED;
        error = -EBUSY;
    } else {
        return 0;
    }
    refusals_note(&replica->refusals, cause, path, NULL, now_milliseconds(replica));
    return error;
}

void replica_note_too_large(struct replica *replica, const char *path)
{
    refusals_note(&replica->refusals, REFUSAL_LIMIT, path, "a file can have 1 MiB at most",
                  now_milliseconds(replica));
}

/* What may be said against the change by this node alone. */
static int admission(struct replica *replica, const struct change *change,
                     struct admit_reserve *reserve)
{
    const char *reason = NULL;

    pthread_mutex_lock(&replica->waiting_lock);
    struct admit_reserve under_way = replica->under_way;
    pthread_mutex_unlock(&replica->waiting_lock);
    int error = admit(replica_read_lock(replica), change, &under_way, reserve, &reason);
    replica_read_unlock(replica);
    if (error && reason)
        refusals_note(&replica->refusals,
                      error == -ENOSPC || error == -EFBIG ? REFUSAL_LIMIT : REFUSAL_FORM,
                      change->path, reason, now_milliseconds(replica));
    return error;
}

void replica_change(struct replica *replica, const struct change *change, struct caller *caller)
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
    replica_send(replica, change, caller);
    replica_run(replica);
}

void replica_request_unlock(struct replica *replica, const char *path, struct caller *caller)
{
    struct change change = {.operation = CHANGE_MTIME, .path = path};
    bool expired = false;
    bool found = false;

    const struct state *state = replica_read_lock(replica);
    int error;
    const struct entry *entry = tree_lookup(state->tree, path, &error);
    if (entry && entry_is_directory(entry)) {
        const struct lock_age *lock = state_lock(state, entry->inode);
        found = lock != NULL;
        if (found) {
            /* The clock is read under the lock: what is published meanwhile is not older. */
            uint64_t now = now_milliseconds(replica);
            lock_digest(lock->directory, change.digest);
            expired = now > lock->since && now - lock->since > replica->options.lock_lifetime;
        }
    }
    replica_read_unlock(replica);
    error = replica_refusal(replica, path);
    if (error) {
        caller->answer(caller, error);
        return;
    }
    if (found && replica->options.local && expired) {
        change.operation = CHANGE_UNLOCK;
    } else if (found && !replica->options.local) {
        struct change request = change;
        request.operation = CHANGE_UNLOCK_REQUEST;
        replica_send(replica, &request, NULL);
    }
    replica_change(replica, &change, caller);
}

/* --- Events and the writer role --- */

static void post(struct replica *replica, struct event *event)
{
    event->next = NULL;
    pthread_mutex_lock(&replica->queue_lock);
    *replica->last = event;
    replica->last = &event->next;
    pthread_mutex_unlock(&replica->queue_lock);
}

static struct event *event_new(enum event_type type)
{
    struct event *event = g_new(struct event, 1);

    *event = (struct event){.type = type};
    return event;
}

void replica_post_configuration(struct replica *replica, const struct member *members,
                                size_t member_count, const struct member *joined,
                                size_t joined_count)
{
    struct event *event =
        g_malloc0(sizeof(*event) + (member_count + joined_count) * sizeof(struct member));

    event->type = EVENT_CONFIGURATION;
    event->member_count = member_count;
    event->joined_count = joined_count;
    if (member_count > 0)
        memcpy(event->members, members, member_count * sizeof(*members));
    if (joined_count > 0)
        memcpy(event->members + member_count, joined, joined_count * sizeof(*joined));
    post(replica, event);
}

void replica_post_message(struct replica *replica, struct member sender, struct buffer *message)
{
    struct event *event = event_new(EVENT_MESSAGE);

    event->member = sender;
    event->message = buffer_ref(message);
    post(replica, event);
}

void replica_post_quorum(struct replica *replica, bool quorate)
{
    struct event *event = event_new(EVENT_QUORUM);

    event->quorate = quorate;
    post(replica, event);
}

void replica_post_send_failed(struct replica *replica, enum send_kind kind, uint64_t count)
{
    struct event *event = event_new(EVENT_SEND_FAILED);

    event->kind = kind;
    event->count = count;
    post(replica, event);
}

void replica_post_connected(struct replica *replica, struct member self)
{
    struct event *event = event_new(EVENT_CONNECTED);

    event->member = self;
    post(replica, event);
}

void replica_post_disconnected(struct replica *replica)
{
    post(replica, event_new(EVENT_DISCONNECTED));
}

void replica_post_verify(struct replica *replica)
{
    post(replica, event_new(EVENT_VERIFY));
}

bool replica_is_ready(struct replica *replica)
{
    if (!atomic_load(&replica->broken))
        return true;
    post(replica, event_new(EVENT_PROBE));
    replica_run(replica);
    return atomic_load(&replica->writable);
}

/* A member as it is shown; one that was there before is so since then. With the view's lock held.
 */
static struct replica_member view_member(const struct replica *replica, const struct member *member,
                                         bool synced)
{
    struct replica_member view = {*member, synced, now_seconds(replica)};

    for (guint i = 0; i < replica->members->len; i++) {
        const struct replica_member *known =
            &g_array_index(replica->members, struct replica_member, i);
        if (known->member.node == member->node && known->member.pid == member->pid)
            view.since = known->since;
    }
    return view;
}

/* With the view's lock held. */
static void view_members(struct replica *replica)
{
    GArray *view = g_array_new(FALSE, FALSE, sizeof(struct replica_member));
    size_t count;
    const struct member *members = machine_members(replica->machine, &count);

    for (size_t i = 0; i < count; i++) {
        struct replica_member member =
            view_member(replica, &members[i], machine_member_is_synced(replica->machine, i));
        g_array_append_val(view, member);
    }
    g_array_unref(replica->members);
    replica->members = view;
}

/* Lets others see what the machine knows, when that has changed. */
static void show_machine(struct replica *replica)
{
    enum machine_mode mode = machine_mode(replica->machine);
    struct machine_verifications verifications = machine_verifications(replica->machine);
    bool verified = verifications.equal != replica->verifications.equal ||
                    verifications.different != replica->verifications.different;
    bool changed = machine_generation(replica->machine) != replica->generation;

    atomic_store(&replica->queued, machine_queued(replica->machine));
    if (!changed && !verified && (int)mode == atomic_load(&replica->mode))
        return;
    pthread_mutex_lock(&replica->view_lock);
    if (atomic_exchange(&replica->mode, (int)mode) != (int)mode)
        replica->mode_since = now_seconds(replica);
    replica->verifications = verifications;
    replica->lowest = machine_is_lowest(replica->machine);
    view_members(replica);
    pthread_mutex_unlock(&replica->view_lock);
    replica->generation = machine_generation(replica->machine);
}

/* Works off a list of events as one batch. */
static void work_off(struct replica *replica, struct event *event)
{
    while (event) {
        struct event *next = event->next;
        replica_handle(replica, event);
        event_free(event);
        event = next;
    }
    if (!replica_flush(replica))
        replica_carry_out(replica);
    /* A member that is not in sync keeps messages that a new configuration makes it forget: before
     * it is, nothing is safe with all. */
    if (replica->options.acknowledge_all && machine_is_complete(replica->machine))
        replica_send_marker(replica);
    show_machine(replica);
}

void replica_run(struct replica *replica)
{
    pthread_mutex_lock(&replica->queue_lock);
    if (replica->busy) {
        /* The writer looks at the queue again before it gives the role back. */
        pthread_mutex_unlock(&replica->queue_lock);
        return;
    }
    replica->busy = true;
    while (replica->first) {
        struct event *batch = replica->first;
        replica->first = NULL;
        replica->last = &replica->first;
        pthread_mutex_unlock(&replica->queue_lock);
        work_off(replica, batch);
        pthread_mutex_lock(&replica->queue_lock);
    }
    replica->busy = false;
    pthread_cond_broadcast(&replica->idle);
    pthread_mutex_unlock(&replica->queue_lock);
}

void replica_settle(struct replica *replica)
{
    pthread_mutex_lock(&replica->queue_lock);
    while (replica->busy)
        pthread_cond_wait(&replica->idle, &replica->queue_lock);
    pthread_mutex_unlock(&replica->queue_lock);
}
