/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The daemon as pmxcfsctl sees it: requests on the local socket. */
#include "ctl/client.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <qb/qbipcc.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_SIZE (1024u * 1024)
#define EVENT_MILLISECONDS 1000
#define PAUSE_MICROSECONDS 50000u

struct client {
    qb_ipcc_connection_t *connection;
    char *buffer; /* BUFFER_SIZE bytes */
    int timeout;  /* of a reply, in milliseconds */
};

/* Milliseconds until then, rounded up, as poll() takes them. */
static int time_left(gint64 end)
{
    return (int)MAX((end - g_get_monotonic_time() + 999) / 1000, 0);
}

/* False: it cannot be read from until then. Signals do not matter. */
static bool wait_readable(int descriptor, gint64 end)
{
    struct pollfd wait = {.fd = descriptor, .events = POLLIN};
    int ready;

    do
        ready = poll(&wait, 1, time_left(end));
    while (ready < 0 && errno == EINTR);
    return ready == 1;
}

/* Begins to connect; NULL with errno. Those that wait in front of a daemon that is stopped or busy
 * are a handful, beyond which there is EAGAIN. */
static qb_ipcc_connection_t *begin_connecting(const char *name, gint64 end, int *descriptor)
{
    qb_ipcc_connection_t *connection;

    while (!(connection = qb_ipcc_connect_async(name, BUFFER_SIZE, descriptor)) &&
           errno == EAGAIN && time_left(end) > 0)
        g_usleep(PAUSE_MICROSECONDS);
    return connection;
}

/* As qb_ipcc_connect(), which waits for ever for a daemon that is stopped. */
static qb_ipcc_connection_t *connect_within(const char *name, int milliseconds)
{
    gint64 end = g_get_monotonic_time() + (gint64)milliseconds * 1000;
    int descriptor;
    qb_ipcc_connection_t *connection = begin_connecting(name, end, &descriptor);

    if (!connection)
        return NULL;
    if (!wait_readable(descriptor, end)) {
        qb_ipcc_disconnect(connection);
        close(descriptor);
        errno = ETIMEDOUT;
        return NULL;
    }
    int error = qb_ipcc_connect_continue(connection);
    if (!error)
        return connection;
    errno = -error;
    return NULL;
}

struct client *client_open(const char *name, int milliseconds)
{
    qb_ipcc_connection_t *connection = connect_within(name, milliseconds);

    if (!connection)
        return NULL;
    struct client *client = g_new0(struct client, 1);
    client->connection = connection;
    client->timeout = milliseconds;
    client->buffer = g_malloc(BUFFER_SIZE);
    return client;
}

void client_close(struct client *client)
{
    if (!client)
        return;
    qb_ipcc_disconnect(client->connection);
    g_free(client->buffer);
    g_free(client);
}

/* What follows the header of the message in the buffer. */
static int take_data(const struct client *client, ssize_t received, char **data, size_t *size)
{
    struct qb_ipc_response_header header;

    if (received < 0)
        return (int)received;
    if ((size_t)received < sizeof(header))
        return -EPROTO;
    memcpy(&header, client->buffer, sizeof(header));
    if (header.error)
        return header.error;
    *size = (size_t)received - sizeof(header);
    *data = g_malloc(*size + 1);
    memcpy(*data, client->buffer + sizeof(header), *size);
    (*data)[*size] = '\0';
    return 0;
}

int client_ask(struct client *client, int32_t id, const void *request, size_t request_size,
               char **data, size_t *size)
{
    struct qb_ipc_request_header header = {.id = id};
    struct iovec parts[2] = {
        {.iov_base = &header, .iov_len = sizeof(header)},
        {.iov_base = (void *)request, .iov_len = request_size},
    };

    header.size = (int32_t)(sizeof(header) + request_size);
    ssize_t received = qb_ipcc_sendv_recv(client->connection, parts, 2, client->buffer, BUFFER_SIZE,
                                          client->timeout);
    if (received == -EAGAIN) /* of the connection; the daemon may answer that too */
        return -ETIMEDOUT;
    return take_data(client, received, data, size);
}

int client_next_event(struct client *client, char **data, size_t *size)
{
    ssize_t received =
        qb_ipcc_event_recv(client->connection, client->buffer, BUFFER_SIZE, EVENT_MILLISECONDS);

    if (received == -ETIMEDOUT)
        return -EAGAIN;
    return take_data(client, received, data, size);
}
