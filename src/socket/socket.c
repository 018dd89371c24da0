/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The local socket: a libqb service that answers what the status and the tree hold. */
#include "socket/socket.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <qb/qbdefs.h>
#include <qb/qbipcs.h>
#include <qb/qbloop.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/poll.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rate.h"
#include "base/thread.h"
#include "base/util.h"
#include "socket/crowd.h"
#include "socket/leftovers.h"
#include "socket/properties.h"
#include "socket/requests.h"
#include "socket/subscription.h"

#define SERVICE_ID 1
#define BUFFER_SIZE (1024u * 1024)         /* of a request, and of a reply, with its header */
#define BUFFER_SIZE_MAX (4u * BUFFER_SIZE) /* that a client may ask for: its memory is ours too */
#define RETRY_FIRST_NS (1 * QB_TIME_NS_IN_MSEC)
#define RETRY_LAST_NS (64 * QB_TIME_NS_IN_MSEC)

/* libqb puts these two words before a message in its ring. */
#define CHUNK_MAGIC 0xA1A1A1A1u
#define CHUNK_HEADER_SIZE 8u

/* One client. */
struct connection {
    struct socket_service *service;
    qb_ipcs_connection_t *handle;
    bool may_write;
    bool established; /* libqb could make its buffers */
    pid_t client;
    size_t maximum; /* bytes of a request with its header */

    /* How libqb wants to hear of requests. */
    int fd;
    int32_t events;
    void *data;
    qb_ipcs_dispatch_fn_t dispatch;

    /* A reply that did not fit behind those that the client has not read yet. No request is taken
     * from it meanwhile. */
    bool blocked;
    struct qb_ipc_response_header header;
    struct reply reply;

    struct subscription subscription;
};

/* How whoever adds to the change feed wakes the thread. */
struct feed_wakeup {
    struct feed_listener listener;
    int fd;                  /* eventfd: readable when there is something new */
    atomic_bool pending;     /* it was written to and not read yet */
    atomic_uint subscribers; /* none: nobody writes to it */
};

/* A client that reads does not tell, so it has to be tried again, after longer and longer pauses.
 */
struct retry {
    enum qb_loop_priority priority;
    qb_loop_timer_dispatch_fn function;
    bool waits; /* the timer runs */
    uint64_t pause_ns;
};

struct socket_service {
    char *name;
    struct request_sources sources;
    pthread_t thread;
    int wake; /* eventfd: readable when the thread shall end */

    struct feed_wakeup feed;

    /* The thread's own, once it runs. */
    qb_loop_t *loop;
    qb_ipcs_service_t *ipc;
    struct crowd crowd;
    struct connection *accepting; /* between accept and the first dispatch_add of its descriptor */
    GPtrArray *blocked;           /* struct connection, borrowed */
    GPtrArray *subscribers;       /* struct connection, borrowed */
    struct retry replies;         /* to the blocked ones */
    struct retry changes;         /* to subscribers */
    uint8_t *request;             /* BUFFER_SIZE_MAX bytes: a private copy of the request */
    struct rate_limit refusals;
};

/* libqb's poll functions carry no context, but run in the thread that starts their service, and
 * then in its own. */
static _Thread_local struct socket_service *own_service;

/* Replies */

static int32_t pause_connection(struct connection *connection, bool pause)
{
    int32_t events = pause ? connection->events & ~POLLIN : connection->events;

    return qb_loop_poll_mod(connection->service->loop, QB_LOOP_HIGH, connection->fd, events,
                            connection->data, connection->dispatch);
}

/* Hands a reply to libqb, which copies it. 0, -EAGAIN if there is no room, or another negative
 * errno: the client is gone. */
static int send_reply(struct connection *connection)
{
    struct iovec parts[2] = {
        {.iov_base = &connection->header, .iov_len = sizeof(connection->header)}};
    size_t count = 1;

    if (connection->reply.size > 0) {
        parts[1].iov_base = connection->reply.buffer->data;
        parts[1].iov_len = connection->reply.size;
        count = 2;
    }
    ssize_t sent = qb_ipcs_response_sendv(connection->handle, parts, count);
    if (sent == -EAGAIN || sent == -ETIMEDOUT)
        return -EAGAIN;
    buffer_unref(connection->reply.buffer);
    connection->reply = (struct reply){0};
    return sent < 0 ? (int)sent : 0;
}

static void retry_later(struct socket_service *service, struct retry *retry)
{
    qb_loop_timer_handle timer;

    if (retry->waits)
        return;
    retry->waits = qb_loop_timer_add(service->loop, retry->priority, retry->pause_ns, service,
                                     retry->function, &timer) == 0;
    if (!retry->waits)
        log_error("socket: no timer");
    retry->pause_ns = MIN(retry->pause_ns * 2, RETRY_LAST_NS);
}

static void retry_blocked(void *data)
{
    struct socket_service *service = data;

    service->replies.waits = false;
    for (guint i = service->blocked->len; i-- > 0;) {
        struct connection *connection = service->blocked->pdata[i];
        if (send_reply(connection) == -EAGAIN)
            continue;
        connection->blocked = false;
        g_ptr_array_remove_index_fast(service->blocked, i);
        pause_connection(connection, false);
        service->replies.pause_ns = RETRY_FIRST_NS;
    }
    if (service->blocked->len > 0)
        retry_later(service, &service->replies);
}

static void block_connection(struct connection *connection)
{
    struct socket_service *service = connection->service;

    connection->blocked = true;
    pause_connection(connection, true);
    g_ptr_array_add(service->blocked, connection);
    if (!service->replies.waits)
        service->replies.pause_ns = RETRY_FIRST_NS;
    retry_later(service, &service->replies);
}

static int answer(struct connection *connection, int32_t id, struct reply reply)
{
    size_t size = sizeof(connection->header) + reply.size;

    if (reply.error || size > BUFFER_SIZE) {
        int error = reply.error ? reply.error : -EMSGSIZE;
        buffer_unref(reply.buffer);
        reply = (struct reply){.error = error};
        size = sizeof(connection->header);
    }
    memset(&connection->header, 0, sizeof(connection->header));
    connection->header.id = id;
    connection->header.size = (int32_t)size;
    connection->header.error = reply.error;
    connection->reply = reply;
    return send_reply(connection);
}

/* Requests */

/* How many bytes of a message arrived, which libqb knows and does not tell: it says so in the two
 * words before it. A ring is mapped twice, back to back, so that its end is before its beginning.
 * Should another libqb lay its rings out in another way, the answer is `maximum`. */
static size_t arrived_size(const void *data, size_t maximum)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const uint8_t *end = data;
    uint32_t words[2];

    if ((uintptr_t)end % page < CHUNK_HEADER_SIZE) {
        size_t margin = CHUNK_HEADER_SIZE + sizeof(uint32_t) + 1;
        end += (maximum + margin + page - 1) / page * page;
    }
    memcpy(words, end - CHUNK_HEADER_SIZE, sizeof(words));
    return words[1] == CHUNK_MAGIC && words[0] <= maximum ? words[0] : maximum;
}

/* Takes a request out of the memory that the client shares, before anything is judged by it: the
 * size with its header, or 0 if it is malformed. *id is set as far as it arrived. */
static size_t take_request(struct connection *connection, const void *data, int32_t *id)
{
    uint8_t *copy = connection->service->request;
    struct qb_ipc_request_header header = {0};
    size_t arrived = arrived_size(data, connection->maximum);

    memcpy(&header, data, MIN(arrived, sizeof(header)));
    *id = header.id;
    if (arrived < sizeof(header) || header.size < (int32_t)sizeof(header) ||
        (size_t)header.size > arrived)
        return 0;
    memcpy(copy, data, (size_t)header.size);
    return (size_t)header.size;
}

static struct reply subscribe(struct connection *connection, const struct socket_request *request);

static void tell_activity(const struct socket_service *service,
                          const struct socket_request *request)
{
    const char *name = request_name(request->id);
    struct activity *activity = service->sources.activity;
    bool has_path = request->id == REQUEST_CONFIG && request->size > 0 &&
                    memchr(request->data, 0, request->size);

    if (name && activity_is_watched(activity))
        activity_note(activity, name, has_path ? (const char *)request->data : "", request->client);
}

/* What a request that arrived whole is answered. */
static struct reply answer_of(struct connection *connection, const struct socket_request *request)
{
    const struct socket_service *service = connection->service;
    struct socket_metrics *metrics = service->sources.metrics;
    uint64_t begun = metrics_now();
    struct reply reply =
        request->id == REQUEST_SUBSCRIBE ? subscribe(connection, request) : request_answer(request);

    histogram_note_since(&metrics->answers, begun);
    counter_add(&metrics->requests[request_name(request->id) ? request->id : 0], 1);
    if (reply.error)
        counter_add(&metrics->refused, 1);
    tell_activity(service, request);
    return reply;
}

/* The size is the client's claim, unchecked. */
static int32_t process_request(qb_ipcs_connection_t *handle, void *data, size_t claimed_size)
{
    struct connection *connection = qb_ipcs_context_get(handle);
    const struct socket_service *service = connection->service;
    struct reply reply = {.error = -EINVAL};
    int32_t id;
    size_t size = take_request(connection, data, &id);

    (void)claimed_size;
    if (size > 0) {
        struct socket_request request = {
            .sources = &service->sources,
            .id = id,
            .may_write = connection->may_write,
            .client = connection->client,
            .data = service->request + sizeof(struct qb_ipc_request_header),
            .size = size - sizeof(struct qb_ipc_request_header),
        };
        reply = answer_of(connection, &request);
    }
    if (answer(connection, id, reply) == -EAGAIN)
        block_connection(connection);
    return 0;
}

/* Subscribers */

static void send_changes(struct socket_service *service)
{
    bool again = false;

    for (guint i = 0; i < service->subscribers->len; i++) {
        struct connection *connection = service->subscribers->pdata[i];
        int error = subscription_send(&connection->subscription, connection->handle,
                                      service->sources.status, connection->may_write);
        again = again || error == -EAGAIN;
        if (connection->subscription.sent)
            service->changes.pause_ns = RETRY_FIRST_NS;
    }
    if (again)
        retry_later(service, &service->changes);
}

static void retry_changes(void *data)
{
    struct socket_service *service = data;

    service->changes.waits = false;
    send_changes(service);
}

static int32_t feed_has_news(int32_t fd, int32_t events, void *data)
{
    struct socket_service *service = data;
    uint64_t count;

    (void)events;
    if (read(fd, &count, sizeof(count)) == sizeof(count))
        atomic_store(&service->feed.pending, false);
    send_changes(service);
    return 0;
}

/* Called by whoever adds to the feed, with a lock held. */
static void tell_feed(struct feed_listener *listener)
{
    struct socket_service *service = container_of(listener, struct socket_service, feed.listener);
    uint64_t one = 1;

    if (atomic_load(&service->feed.subscribers) == 0 ||
        atomic_exchange(&service->feed.pending, true))
        return;
    if (write(service->feed.fd, &one, sizeof(one)) != sizeof(one))
        atomic_store(&service->feed.pending, false);
}

static void add_subscriber(struct socket_service *service, struct connection *connection)
{
    g_ptr_array_add(service->subscribers, connection);
    counter_add(&service->sources.metrics->subscribers, 1);
}

static struct reply subscribe(struct connection *connection, const struct socket_request *request)
{
    struct socket_service *service = connection->service;
    bool first = !connection->subscription.active;

    if (first)
        atomic_fetch_add(&service->feed.subscribers, 1);
    int error = subscription_start(&connection->subscription, service->sources.status,
                                   request->data, request->size);
    if (first && error)
        atomic_fetch_sub(&service->feed.subscribers, 1);
    else if (first)
        add_subscriber(service, connection);
    if (!error) {
        service->changes.pause_ns = RETRY_FIRST_NS;
        retry_later(service, &service->changes);
    }
    return (struct reply){.error = error};
}

static void unsubscribe(struct connection *connection)
{
    if (!connection->subscription.active)
        return;
    counter_take(&connection->service->sources.metrics->subscribers, 1);
    subscription_clear(&connection->subscription);
    g_ptr_array_remove_fast(connection->service->subscribers, connection);
    atomic_fetch_sub(&connection->service->feed.subscribers, 1);
}

/* Connections */

static void log_refusal(struct socket_service *service, uid_t uid, gid_t gid, const char *why)
{
    uint32_t held_back;

    if (rate_limit_pass(&service->refusals, &held_back))
        log_warning("socket: connection of uid %u, gid %u refused: %s%s", uid, gid, why,
                    held_back > 0 ? " (and others, not logged)" : "");
}

static int32_t accept_connection(qb_ipcs_connection_t *handle, uid_t uid, gid_t gid)
{
    struct socket_service *service = own_service;
    bool may_write = uid == 0 && gid == 0;
    int32_t maximum = qb_ipcs_connection_get_buffer_size(handle);
    struct qb_ipcs_connection_stats statistics = {0};

    if (!may_write && gid != service->crowd.group) {
        log_refusal(service, uid, gid, "neither root nor of the group");
        return -EACCES;
    }
    if (maximum < (int32_t)BUFFER_SIZE || maximum > (int32_t)BUFFER_SIZE_MAX) {
        log_refusal(service, uid, gid, "it asks for too large a buffer");
        return -EMSGSIZE;
    }
    if (!crowd_let_in(&service->crowd, may_write)) {
        log_refusal(service, uid, gid, "there are too many connections");
        return -EMFILE;
    }
    qb_ipcs_connection_stats_get(handle, &statistics, 0);
    struct connection *connection = g_new0(struct connection, 1);
    *connection = (struct connection){.service = service,
                                      .handle = handle,
                                      .may_write = may_write,
                                      .client = statistics.client_pid,
                                      .maximum = (size_t)maximum,
                                      .fd = -1};
    counter_add(&service->sources.metrics->clients, 1);
    qb_ipcs_context_set(handle, connection);
    service->accepting = connection;
    return 0;
}

static void note_connection(qb_ipcs_connection_t *handle)
{
    struct connection *connection = qb_ipcs_context_get(handle);

    connection->established = true;
}

static int32_t close_connection(qb_ipcs_connection_t *handle)
{
    struct connection *connection = qb_ipcs_context_get(handle);

    if (connection)
        unsubscribe(connection);
    return 0;
}

static void destroy_connection(qb_ipcs_connection_t *handle)
{
    struct connection *connection = qb_ipcs_context_get(handle);

    if (!connection)
        return;
    struct socket_service *service = connection->service;
    if (connection->blocked)
        g_ptr_array_remove_fast(service->blocked, connection);
    if (service->accepting == connection)
        service->accepting = NULL;
    if (!connection->established && rate_limit_pass(&service->refusals, &(uint32_t){0}))
        log_warning("socket: no buffers for process %d; is /dev/shm full?", connection->client);
    unsubscribe(connection);
    crowd_let_out(&service->crowd, connection->may_write);
    counter_take(&service->sources.metrics->clients, 1);
    buffer_unref(connection->reply.buffer);
    g_free(connection);
    qb_ipcs_context_set(handle, NULL);
}

/* Poll functions for libqb. All get the same, high priority, whatever libqb asks for (see
 * start_service()). */

static int32_t add_job(enum qb_loop_priority priority, void *data, qb_loop_job_dispatch_fn function)
{
    (void)priority;
    return qb_loop_job_add(own_service->loop, QB_LOOP_HIGH, data, function);
}

static int32_t add_dispatch(enum qb_loop_priority priority, int32_t fd, int32_t events, void *data,
                            qb_ipcs_dispatch_fn_t function)
{
    struct connection *connection = own_service->accepting;

    (void)priority;
    if (connection && data == connection->handle) {
        connection->fd = fd;
        connection->events = events;
        connection->data = data;
        connection->dispatch = function;
        own_service->accepting = NULL;
    } else if (data != own_service->ipc) { /* with which it listens */
        crowd_add_stranger(&own_service->crowd, (struct stranger){fd, data, function});
    }
    return qb_loop_poll_add(own_service->loop, QB_LOOP_HIGH, fd, events, data, function);
}

/* libqb asks for it when events wait for a client that does not read. */
static int32_t modify_dispatch(enum qb_loop_priority priority, int32_t fd, int32_t events,
                               void *data, qb_ipcs_dispatch_fn_t function)
{
    struct connection *connection = qb_ipcs_context_get(data);

    (void)priority;
    if (connection) {
        connection->events = events;
        if (connection->blocked)
            events &= ~POLLIN;
    }
    return qb_loop_poll_mod(own_service->loop, QB_LOOP_HIGH, fd, events, data, function);
}

static int32_t delete_dispatch(int32_t fd)
{
    crowd_remove_stranger(&own_service->crowd, fd);
    return qb_loop_poll_del(own_service->loop, fd);
}

/* The thread */

static int32_t end_loop(int32_t fd, int32_t events, void *data)
{
    struct socket_service *service = data;

    (void)fd;
    (void)events;
    qb_loop_stop(service->loop);
    return 0;
}

static int start_service(struct socket_service *service)
{
    struct qb_ipcs_service_handlers handlers = {
        .connection_accept = accept_connection,
        .connection_created = note_connection,
        .msg_process = process_request,
        .connection_closed = close_connection,
        .connection_destroyed = destroy_connection,
    };
    struct qb_ipcs_poll_handlers poll_handlers = {
        .job_add = add_job,
        .dispatch_add = add_dispatch,
        .dispatch_mod = modify_dispatch,
        .dispatch_del = delete_dispatch,
    };

    service->ipc = qb_ipcs_create(service->name, SERVICE_ID, QB_IPC_SHM, &handlers);
    if (!service->ipc)
        return -ENOMEM;
    qb_ipcs_poll_handlers_set(service->ipc, &poll_handlers);
    qb_ipcs_enforce_buffer_size(service->ipc, BUFFER_SIZE);
    /* One request of a client at a time, then the next client's; libqb then also never waits for
     * the byte that should follow a request, which a client that was stopped may not have sent. */
    qb_ipcs_request_rate_limit(service->ipc, QB_IPCS_RATE_SLOW);
    int error = qb_ipcs_run(service->ipc); /* gives the service back itself if it fails */
    if (error)
        service->ipc = NULL;
    return error;
}

static int start_loop(struct socket_service *service)
{
    service->loop = qb_loop_create();
    if (!service->loop)
        return -ENOMEM;
    int error =
        qb_loop_poll_add(service->loop, QB_LOOP_HIGH, service->wake, POLLIN, service, end_loop);
    if (!error)
        error = qb_loop_poll_add(service->loop, QB_LOOP_LOW, service->feed.fd, POLLIN, service,
                                 feed_has_news);
    if (!error)
        error = start_service(service);
    if (error) {
        qb_loop_destroy(service->loop);
        service->loop = NULL;
    }
    return error;
}

/* libqb catches it while it closes a connection whose memory the client has cut. */
static void unblock_sigbus(void)
{
    sigset_t sigbus;

    sigemptyset(&sigbus);
    sigaddset(&sigbus, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &sigbus, NULL);
}

static void end_service(struct socket_service *service)
{
    crowd_dismiss_strangers(&service->crowd);
    qb_ipcs_destroy(service->ipc);
    qb_loop_destroy(service->loop);
}

static void *run(void *argument)
{
    struct socket_service *service = argument;

    unblock_sigbus();
    own_service = service;
    qb_loop_run(service->loop);
    end_service(service);
    return NULL;
}

/* Start and stop */

static void service_free(struct socket_service *service)
{
    if (service->wake >= 0)
        close(service->wake);
    if (service->feed.fd >= 0)
        close(service->feed.fd);
    g_ptr_array_unref(service->subscribers);
    properties_free(service->sources.properties);
    g_ptr_array_unref(service->blocked);
    g_free(service->request);
    g_free(service->name);
    g_free(service);
}

/* Clients can connect before there is a thread to serve them: they wait for it. */
static int start_all(struct socket_service *service)
{
    own_service = service;
    int error = start_loop(service);
    if (!error) {
        error = thread_start(&service->thread, run, service);
        if (error)
            end_service(service);
    }
    own_service = NULL;
    return error;
}

int socket_start(const struct socket_options *options, struct socket_service **service_out)
{
    struct socket_service *service = g_new0(struct socket_service, 1);

    service->name = g_strdup(options->name);
    crowd_init(&service->crowd, options->group);
    service->sources = options->sources;
    service->sources.properties = properties_new(options->sources.replica);
    service->blocked = g_ptr_array_new();
    service->subscribers = g_ptr_array_new();
    service->replies = (struct retry){.priority = QB_LOOP_HIGH, .function = retry_blocked};
    service->changes = (struct retry){.priority = QB_LOOP_LOW, .function = retry_changes};
    service->feed.listener.added = tell_feed;
    service->request = g_malloc(BUFFER_SIZE_MAX);
    service->refusals.per_minute = 20;
    service->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    service->feed.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = service->wake < 0 || service->feed.fd < 0 ? -errno : 0;
    if (!error) {
        leftovers_remove("/dev/shm", service->name);
        error = start_all(service);
    }
    if (error) {
        service_free(service);
        return error;
    }
    status_set_feed_listener(options->sources.status, &service->feed.listener);
    *service_out = service;
    return 0;
}

void socket_stop(struct socket_service *service)
{
    uint64_t one = 1;

    if (!service)
        return;
    status_set_feed_listener(service->sources.status, NULL);
    if (write(service->wake, &one, sizeof(one)) != sizeof(one))
        log_error("socket: the thread cannot be told to stop");
    pthread_join(service->thread, NULL);
    service_free(service);
}
