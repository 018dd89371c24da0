/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One process group on libcpg: joining and leaving, what is delivered, what is sent. */
#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "cluster/corosync_client.h"

/* A message that could not be sent for so long, while none could, is given up. */
#define SEND_PATIENCE 10000u
#define PAUSE_MIN 1u
#define PAUSE_MAX 100u
#define RETRY_PAUSE 50u          /* between tries to join or leave */
#define CONFIRM_PATIENCE 30000u  /* for a leave to be confirmed */
#define LEAVE_PATIENCE 500u      /* the same, at the end */
#define FLUSH_MESSAGES 64u       /* at a time, then deliveries have their turn */
#define BATCH_BYTES (4u << 20)   /* of deliveries */
#define OUTBOX_BYTES (64u << 20) /* a large tree's STATE is 10 MiB */
#define OUTBOX_MESSAGES 16384u

/* Which membership may follow which. Besides, each may be followed by OUT when the connection is
 * lost (group_close()). */
static const struct transition transitions[] = {
    {MEMBERSHIP_OUT, MEMBERSHIP_JOINED},    /* corosync took the join */
    {MEMBERSHIP_JOINED, MEMBERSHIP_MEMBER}, /* a configuration with this node */
    {MEMBERSHIP_JOINED, MEMBERSHIP_LEAVE},  /* the consumer leaves before that */
    {MEMBERSHIP_MEMBER, MEMBERSHIP_LEAVE},  /* the consumer leaves */
    {MEMBERSHIP_LEAVE, MEMBERSHIP_LEAVING}, /* corosync took the leave */
    {MEMBERSHIP_LEAVE, MEMBERSHIP_OUT},     /* corosync knows of no membership to leave */
    {MEMBERSHIP_LEAVING, MEMBERSHIP_OUT},   /* a configuration without this node */
};

/* With the lock held. */
static void set_membership(struct group *group, enum membership membership)
{
    assert(transition_is_in(transitions, G_N_ELEMENTS(transitions), (int)group->membership,
                            (int)membership));
    group->membership = membership;
}

/* --- Sending --- */

static void outgoing_free(struct outgoing *outgoing)
{
    if (!outgoing)
        return;
    buffer_unref(outgoing->message);
    g_free(outgoing);
}

static struct outgoing *pop_outgoing(struct group *group)
{
    struct outgoing *outgoing = g_queue_pop_head(&group->outbox.queue);

    if (outgoing)
        group->outbox.bytes -= message_size(outgoing->message);
    return outgoing;
}

static void drop_outbox(struct group *group)
{
    struct outgoing *outgoing;

    while ((outgoing = pop_outgoing(group)))
        outgoing_free(outgoing);
}

/* Gives one message to corosync, without waiting if it is not longer than size_atomic_max. libqb
 * announces each message by a byte on a socket, and spins while that socket is full: a corosync
 * that is stopped must not get so many. */
static cs_error_t send_message(struct group *group, struct buffer *message)
{
    struct iovec iov = {.iov_base = message->data, .iov_len = message_size(message)};
    int used = 0;
    cs_error_t result = CS_ERR_TRY_AGAIN;

    if (ioctl(group->cpg.fd, SIOCOUTQ, &used) != 0 || used <= group->cpg.socket_room)
        result = cpg_mcast_joined(group->cpg.handle, CPG_TYPE_AGREED, &iov, 1);
    if (result == CS_OK) {
        counter_add(&group->metrics.sent, 1);
        counter_add(&group->metrics.sent_bytes, iov.iov_len);
    } else {
        counter_add(&group->metrics.retries, result == CS_ERR_TRY_AGAIN);
    }
    return result;
}

static int queue_message(struct group *group, struct buffer *message, enum send_kind kind,
                         uint64_t count)
{
    if (group->outbox.queue.length >= OUTBOX_MESSAGES ||
        group->outbox.bytes + message_size(message) > OUTBOX_BYTES)
        return -ENOBUFS;
    struct outgoing *outgoing = g_new(struct outgoing, 1);
    uint64_t now = clock_milliseconds();
    *outgoing = (struct outgoing){buffer_ref(message), kind, count, now};
    if (group->outbox.queue.length == 0) {
        group->outbox.progress = now;
        group->outbox.send_at = now;
    }
    g_queue_push_tail(&group->outbox.queue, outgoing);
    group->outbox.bytes += message_size(message);
    return 0;
}

static int group_multicast(struct transport *transport, struct buffer *message, enum send_kind kind,
                           uint64_t count)
{
    struct group *group = container_of(transport, struct group, transport);
    bool wake = false;
    int error = 0;

    lock_take(&group->lock);
    if (group->membership != MEMBERSHIP_MEMBER || group->stopped) {
        error = -EBUSY;
    } else if (kind == SEND_NORMAL && message_size(message) > group->cpg.size_atomic_max) {
        error = -EMSGSIZE; /* core/limits.h, CHANGE_DATA_MAX: who joins meanwhile would lack it */
    } else if (group->outbox.queue.length > 0 ||
               message_size(message) > group->cpg.size_atomic_max ||
               send_message(group, message) != CS_OK) {
        /* Whatever the reason is, the cluster thread will deal with it. */
        wake = group->outbox.queue.length == 0;
        error = queue_message(group, message, kind, count);
    }
    lock_give(&group->lock);
    if (wake)
        corosync_wake(group->corosync);
    return error;
}

static void group_leave(struct transport *transport, int stay_out)
{
    struct group *group = container_of(transport, struct group, transport);

    lock_take(&group->lock);
    if (stay_out)
        group->stay_out = true;
    if (group->membership == MEMBERSHIP_JOINED || group->membership == MEMBERSHIP_MEMBER)
        set_membership(group, MEMBERSHIP_LEAVE);
    drop_outbox(group);
    lock_give(&group->lock);
    corosync_wake(group->corosync);
}

/* Sends the first of the outbox. A long message goes in pieces, each of which waits for corosync:
 * without the lock then. It stays the first meanwhile, so that nothing overtakes it. */
static cs_error_t send_first(struct group *group)
{
    struct outgoing *first = g_queue_peek_head(&group->outbox.queue);

    if (message_size(first->message) <= group->cpg.size_atomic_max)
        return send_message(group, first->message);
    struct buffer *message = buffer_ref(first->message);
    lock_give(&group->lock);
    cs_error_t result = send_message(group, message);
    lock_take(&group->lock);
    buffer_unref(message);
    return result;
}

/* What one try to send means. 0: go on; -EAGAIN: later; else the connection is of no more use. The
 * outbox may have been dropped, or dropped and filled anew, in the meantime. */
static int note_sent(struct group *group, const struct outgoing *first, cs_error_t result,
                     GQueue *failed)
{
    bool still_there = g_queue_peek_head(&group->outbox.queue) == first;

    switch (result) {
    case CS_OK:
        group->outbox.progress = clock_milliseconds();
        group->outbox.pause = PAUSE_MIN;
        if (still_there)
            outgoing_free(pop_outgoing(group));
        return 0;
    case CS_ERR_TRY_AGAIN:
    case CS_ERR_INTERRUPT: /* members changed between two pieces: nobody gets what was sent of it */
    case CS_ERR_NO_RESOURCES:
    case CS_ERR_NO_MEMORY:
        group->outbox.send_at = clock_milliseconds() + group->outbox.pause;
        group->outbox.pause = MIN(group->outbox.pause * 2, PAUSE_MAX);
        return -EAGAIN;
    case CS_ERR_TOO_BIG:
    case CS_ERR_NAME_TOO_LONG:
    case CS_ERR_INVALID_PARAM:
        if (still_there)
            g_queue_push_tail(failed, pop_outgoing(group));
        return 0;
    default:
        log_warning("corosync: cannot send to group %s: %s", group->name.value,
                    cs_strerror(result));
        return -ENOTCONN;
    }
}

/* Without one of these the group is left, and nothing is sent behind it: a STATE tells others that
 * whatever comes before a STATE is there. */
static bool is_to_be_left(const GQueue *failed)
{
    bool is = false;

    for (const GList *at = failed->head; at; at = at->next)
        is = is || ((const struct outgoing *)at->data)->kind == SEND_SYNC;
    return is;
}

static void take_overdue(struct group *group, GQueue *failed)
{
    uint64_t now = clock_milliseconds();
    bool all = is_to_be_left(failed);
    struct outgoing *first;

    while ((first = g_queue_peek_head(&group->outbox.queue)) &&
           (all || now - MAX(first->since, group->outbox.progress) >= SEND_PATIENCE)) {
        all = all || first->kind == SEND_SYNC;
        g_queue_push_tail(failed, pop_outgoing(group));
    }
}

void group_stop_sending(struct group *group)
{
    LOCKED(&group->lock);
    group->stopped = true;
    drop_outbox(group);
}

/* --- What cpg tells --- */

static struct group *group_of(cpg_handle_t handle)
{
    void *context = NULL;

    cpg_context_get(handle, &context);
    return context;
}

static void delivered(cpg_handle_t handle, const struct cpg_name *name, uint32_t node, uint32_t pid,
                      void *data, size_t size)
{
    struct group *group = group_of(handle);

    (void)name;
    if (size > UINT32_MAX) {
        log_error("a message of %zu bytes from node %u was ignored", size, node);
        return;
    }
    counter_add(&group->metrics.received, 1);
    counter_add(&group->metrics.received_bytes, size);
    struct buffer *message = buffer_copy(data, (uint32_t)size);
    g_queue_push_tail(&group->batch, event_message((struct member){node, pid}, message));
    group->batch_bytes += size;
    buffer_unref(message);
}

static void configuration_changed(cpg_handle_t handle, const struct cpg_name *name,
                                  const struct cpg_address *members, size_t member_count,
                                  const struct cpg_address *left, size_t left_count,
                                  const struct cpg_address *joined, size_t joined_count)
{
    /* One more: without any there would be no array to point into. */
    g_autofree struct member *all = g_new(struct member, member_count + joined_count + 1);

    (void)name;
    (void)left;
    (void)left_count;
    for (size_t i = 0; i < member_count; i++)
        all[i] = (struct member){members[i].nodeid, members[i].pid};
    for (size_t i = 0; i < joined_count; i++)
        all[member_count + i] = (struct member){joined[i].nodeid, joined[i].pid};
    g_queue_push_tail(&group_of(handle)->batch,
                      event_configuration(all, member_count, all + member_count, joined_count));
}

int group_gather(struct group *group, int limit)
{
    for (int i = 0; i < limit && group->batch_bytes < BATCH_BYTES; i++) {
        cs_error_t result = cpg_dispatch(group->cpg.handle, CS_DISPATCH_ONE_NONBLOCKING);
        if (result == CS_ERR_TRY_AGAIN)
            return 0;
        if (result != CS_OK) {
            log_warning("corosync: connection of group %s lost: %s", group->name.value,
                        cs_strerror(result));
            return -ENOTCONN;
        }
    }
    return 0;
}

/* A join or a leave of this node is confirmed by a configuration with or without it. */
static void note_configuration(struct group *group, const struct event *event)
{
    bool inside = event_has_member(event, group->self);

    LOCKED(&group->lock);
    if (inside && group->membership == MEMBERSHIP_JOINED) {
        set_membership(group, MEMBERSHIP_MEMBER);
        group->outbox.pause = PAUSE_MIN;
    } else if (!inside && group->membership == MEMBERSHIP_LEAVING) {
        set_membership(group, MEMBERSHIP_OUT);
        group->announced = false;
        group->cpg.spent = true;
    }
}

static void clear_batch(struct group *group)
{
    event_clear(&group->batch);
    group->batch_bytes = 0;
}

/* Before which of the batch a change of quorum belongs. What is delivered needs the quorum that is
 * won, so that comes first. Quorum is lost with a configuration change, and what was delivered
 * before it was agreed upon with quorum. */
static void add_quorum(struct group *group)
{
    struct corosync *corosync = group->corosync;
    GList *next = corosync->quorum.quorate ? NULL : group->batch.tail;

    while (next && ((const struct event *)next->data)->type != EVENT_CONFIGURATION)
        next = next->prev;
    if (!next)
        next = group->batch.head;
    g_queue_insert_before(&group->batch, next, event_quorum(corosync->quorum.quorate));
    corosync->quorum.changed = false;
}

/* Gives the consumer events, which are gone then, if it may still be called. */
static bool hand_over(struct group *group, GQueue *events)
{
    if (!corosync_begin_calls(group->corosync)) {
        event_clear(events);
        return false;
    }
    group->consumer->take(group->consumer, events);
    corosync_end_calls(group->corosync);
    return true;
}

static void hand_over_one(struct group *group, struct event *event)
{
    GQueue events = G_QUEUE_INIT;

    g_queue_push_tail(&events, event);
    hand_over(group, &events);
}

void group_hand_on(struct group *group)
{
    struct corosync *corosync = group->corosync;

    for (GList *at = group->batch.head; at; at = at->next) {
        struct event *event = at->data;
        if (event->type == EVENT_CONFIGURATION)
            note_configuration(group, event);
    }
    if (group == &corosync->groups[GROUP_CONFIGURATION] && corosync->quorum.changed)
        add_quorum(group);
    group->batch_bytes = 0;
    if (group->batch.length == 0 || !hand_over(group, &group->batch))
        return;
    /* Corosync is alive: what it did not take before it may take now. */
    LOCKED(&group->lock);
    group->outbox.send_at = 0;
}

void group_verify(struct group *group)
{
    hand_over_one(group, event_new(EVENT_VERIFY));
}

/* --- Sending what waits --- */

static void report_failed(struct group *group, GQueue *failed)
{
    GQueue events = G_QUEUE_INIT;
    struct outgoing *outgoing;

    if (failed->length == 0)
        return;
    counter_add(&group->metrics.given_up, failed->length);
    log_warning("corosync takes no messages of group %s: %u given up", group->name.value,
                failed->length);
    while ((outgoing = g_queue_pop_head(failed))) {
        g_queue_push_tail(&events, event_send_failed(outgoing->kind, outgoing->count));
        outgoing_free(outgoing);
    }
    hand_over(group, &events);
}

int group_flush(struct group *group)
{
    GQueue failed = G_QUEUE_INIT;
    int error = 0;

    lock_take(&group->lock);
    if (clock_milliseconds() < group->outbox.send_at)
        error = -EAGAIN;
    for (unsigned int i = 0; i < FLUSH_MESSAGES && !error && !is_to_be_left(&failed); i++) {
        struct outgoing *first = g_queue_peek_head(&group->outbox.queue);
        if (group->membership != MEMBERSHIP_MEMBER || !first)
            break;
        error = note_sent(group, first, send_first(group), &failed);
    }
    take_overdue(group, &failed);
    lock_give(&group->lock);
    report_failed(group, &failed);
    return error == -EAGAIN ? 0 : error;
}

/* --- The handle --- */

/* How much of the socket's send buffer announcements may take: well below the end. */
static int find_socket_room(int fd)
{
    int size = 0;
    socklen_t length = sizeof(size);

    if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length) < 0)
        return 0;
    return size / 2;
}

static void close_handle(struct group *group)
{
    if (group->cpg.open)
        cpg_finalize(group->cpg.handle);
    group->cpg.open = false;
    group->cpg.fd = -1;
}

static cs_error_t open_handle(struct group *group)
{
    cpg_model_v1_data_t model = {
        .model = CPG_MODEL_V1,
        .cpg_deliver_fn = delivered,
        .cpg_confchg_fn = configuration_changed,
    };
    cs_error_t result =
        cpg_model_initialize(&group->cpg.handle, CPG_MODEL_V1, (cpg_model_data_t *)&model, group);

    if (result != CS_OK)
        return result;
    group->cpg.open = true;
    group->cpg.spent = false;
    group->self.pid = (uint32_t)getpid();
    result = cpg_local_get(group->cpg.handle, &group->self.node);
    if (result == CS_OK)
        result = cpg_fd_get(group->cpg.handle, &group->cpg.fd);
    if (result == CS_OK)
        result = cpg_max_atomic_msgsize_get(group->cpg.handle, &group->cpg.size_atomic_max);
    if (result == CS_OK)
        group->cpg.socket_room = find_socket_room(group->cpg.fd);
    else
        close_handle(group);
    return result;
}

/* --- Being a member --- */

/* Tells the consumer that a join is to come; false: it is not ready for one. */
static bool announce(struct group *group)
{
    struct group_consumer *consumer = group->consumer;

    if (group->announced)
        return true;
    if (!corosync_begin_calls(group->corosync))
        return false;
    bool ready = !consumer->ready || consumer->ready(consumer);
    corosync_end_calls(group->corosync);
    if (ready)
        hand_over_one(group, event_connected(group->self));
    else
        group->act_at = clock_milliseconds() + group->corosync->options.rejoin_delay;
    group->announced = ready;
    return ready;
}

static int join(struct group *group)
{
    cs_error_t result = group->cpg.open ? CS_OK : open_handle(group);

    if (result == CS_OK && !announce(group))
        return 0;
    if (result == CS_OK)
        result = cpg_join(group->cpg.handle, &group->name);
    if (result == CS_ERR_TRY_AGAIN) {
        group->act_at = clock_milliseconds() + RETRY_PAUSE;
        return 0;
    }
    if (result != CS_OK) {
        log_error("corosync: cannot join group %s: %s", group->name.value, cs_strerror(result));
        return -ENOTCONN;
    }
    counter_add(&group->metrics.joins, 1);
    group->joined_at = clock_milliseconds();
    LOCKED(&group->lock);
    set_membership(group, MEMBERSHIP_JOINED);
    return 0;
}

static int leave(struct group *group)
{
    cs_error_t result = cpg_leave(group->cpg.handle, &group->name);

    /* BUSY: the join before is not confirmed yet. */
    if (result == CS_ERR_TRY_AGAIN || result == CS_ERR_BUSY) {
        group->act_at = clock_milliseconds() + RETRY_PAUSE;
        return 0;
    }
    if (result != CS_OK && result != CS_ERR_NOT_EXIST) {
        log_error("corosync: cannot leave group %s: %s", group->name.value, cs_strerror(result));
        return -ENOTCONN;
    }
    group->left_at = clock_milliseconds();
    LOCKED(&group->lock);
    set_membership(group, result == CS_OK ? MEMBERSHIP_LEAVING : MEMBERSHIP_OUT);
    if (result != CS_OK) {
        group->announced = false;
        group->cpg.spent = true;
    }
    return 0;
}

/* When to join next; each join makes the whole cluster synchronise. */
static uint64_t join_at(const struct group *group)
{
    uint64_t at = group->joined_at ? group->joined_at + group->corosync->options.rejoin_delay : 0;

    return MAX(at, group->act_at);
}

int group_manage(struct group *group)
{
    uint64_t now = clock_milliseconds();

    lock_take(&group->lock);
    enum membership membership = group->membership;
    bool stay_out = group->stay_out;
    lock_give(&group->lock);
    /* Corosync (3.1) has its handle leaving for ever after cpg_leave(): it refuses another join
     * with EXIST, and goes on to deliver. A new one is as good as new. */
    if (membership == MEMBERSHIP_OUT && group->cpg.spent)
        close_handle(group);
    if (membership == MEMBERSHIP_OUT && !stay_out && now >= join_at(group))
        return join(group);
    if (membership == MEMBERSHIP_LEAVE && now >= group->act_at)
        return leave(group);
    if (membership == MEMBERSHIP_LEAVING && now >= group->left_at + CONFIRM_PATIENCE) {
        log_error("corosync does not confirm that group %s was left", group->name.value);
        return -ETIMEDOUT;
    }
    return 0;
}

uint64_t group_deadline(struct group *group)
{
    LOCKED(&group->lock);
    switch (group->membership) {
    case MEMBERSHIP_OUT:
        return group->stay_out ? UINT64_MAX : join_at(group);
    case MEMBERSHIP_LEAVE:
        return group->act_at;
    case MEMBERSHIP_LEAVING:
        return group->left_at + CONFIRM_PATIENCE;
    case MEMBERSHIP_JOINED:
        return UINT64_MAX;
    case MEMBERSHIP_MEMBER:
        return group->outbox.queue.length > 0 ? group->outbox.send_at : UINT64_MAX;
    }
    return UINT64_MAX;
}

/* --- The connection --- */

int group_open(struct group *group)
{
    if (open_handle(group) != CS_OK)
        return -ENOTCONN;
    lock_take(&group->lock);
    group->stay_out = false;
    lock_give(&group->lock);
    group->announced = false;
    group->act_at = 0;
    return 0;
}

void group_close(struct group *group)
{
    lock_take(&group->lock);
    bool was_announced = group->announced;
    group->membership = MEMBERSHIP_OUT;
    drop_outbox(group);
    lock_give(&group->lock);
    clear_batch(group);
    group->announced = false;
    if (was_announced)
        hand_over_one(group, event_new(EVENT_DISCONNECTED));
    close_handle(group);
}

/* True once corosync has told of a configuration without this node. */
static bool is_out(struct group *group)
{
    bool out = false;

    for (const GList *at = group->batch.head; at && !out; at = at->next) {
        const struct event *event = at->data;
        out = event->type == EVENT_CONFIGURATION && !event_has_member(event, group->self);
    }
    clear_batch(group);
    return out;
}

void group_leave_for_good(struct group *group)
{
    uint64_t end = clock_milliseconds() + LEAVE_PATIENCE;
    struct pollfd fd = {.fd = group->cpg.fd, .events = POLLIN};
    cs_error_t result;

    if (!group->cpg.open)
        return;
    while ((result = cpg_leave(group->cpg.handle, &group->name)) == CS_ERR_TRY_AGAIN &&
           clock_milliseconds() < end)
        poll(NULL, 0, (int)PAUSE_MIN * 10);
    while (result == CS_OK && clock_milliseconds() < end && !is_out(group)) {
        poll(&fd, 1, (int)PAUSE_MAX);
        if (group_gather(group, 1))
            break;
    }
}

void group_init(struct group *group, struct corosync *corosync, enum machine_group which)
{
    const char *name = which == GROUP_CONFIGURATION ? "pve_dcdb_v1" : "pve_kvstore_v1";

    group->transport = (struct transport){.multicast = group_multicast, .leave = group_leave};
    group->corosync = corosync;
    group->name.length =
        1 + (uint32_t)g_strlcpy(group->name.value, name, sizeof(group->name.value));
    group->membership = MEMBERSHIP_OUT;
    group->cpg.fd = -1;
    g_queue_init(&group->batch);
    group->outbox.pause = PAUSE_MIN;
    g_queue_init(&group->outbox.queue);
    lock_init(&group->lock, LOCK_RANK_GROUP);
}

void group_clear(struct group *group)
{
    drop_outbox(group);
    clear_batch(group);
    lock_destroy(&group->lock);
}
