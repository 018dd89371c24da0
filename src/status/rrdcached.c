/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A client of rrdcached that never waits longer than it was told to. */
#include "status/rrdcached.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096u /* of a command or an answer with its newline */
#define MORE_LINES_MAX 64    /* that may follow an answer's first line; an update's has none */

void rrdcached_init(struct rrdcached *client, const char *address, int patience_ms)
{
    *client = (struct rrdcached){.fd = -1, .patience_ms = patience_ms};
    if (address && g_str_has_prefix(address, "unix:"))
        address += strlen("unix:");
    if (address && *address == '/')
        client->path = g_strdup(address);
}

static void disconnect(struct rrdcached *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

void rrdcached_clear(struct rrdcached *client)
{
    disconnect(client);
    g_free(client->path);
    client->path = NULL;
}

/* Waits until the socket is ready for `events` or `deadline` (microseconds, monotonic) has passed.
 */
static int wait_ready(const struct rrdcached *client, short events, int64_t deadline)
{
    struct pollfd ready = {.fd = client->fd, .events = events};

    for (;;) {
        int64_t left = (deadline - g_get_monotonic_time()) / 1000;
        if (left <= 0)
            return -ETIMEDOUT;
        int count = poll(&ready, 1, (int)left);
        if (count < 0 && errno != EINTR)
            return -errno;
        if (count > 0)
            return 0;
    }
}

static int connect_daemon(struct rrdcached *client)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (!client->path)
        return -ENOENT;
    if (g_strlcpy(address.sun_path, client->path, sizeof(address.sun_path)) >=
        sizeof(address.sun_path))
        return -ENAMETOOLONG;
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (client->fd < 0)
        return -errno;
    /* On a local socket this succeeds or fails at once: EAGAIN says that its queue is full. */
    if (connect(client->fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return 0;
    int error = -errno;
    disconnect(client);
    return error;
}

static int send_all(struct rrdcached *client, const char *data, size_t size, int64_t deadline)
{
    while (size > 0) {
        ssize_t sent = send(client->fd, data, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (sent > 0) {
            data += sent;
            size -= (size_t)sent;
            continue;
        }
        int error = wait_ready(client, POLLOUT, deadline);
        if (error)
            return error;
    }
    return 0;
}

/* Reads one line, without its newline. No byte behind it is taken: there is none unless the daemon
 * owes more lines, and then they are read one by one. */
static int receive_line(struct rrdcached *client, char line[LINE_MAX_BYTES], int64_t deadline)
{
    size_t used = 0;

    while (used < LINE_MAX_BYTES) {
        ssize_t seen = recv(client->fd, line + used, LINE_MAX_BYTES - used, MSG_PEEK);
        if (seen == 0)
            return -ECONNRESET;
        if (seen < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (seen < 0) {
            int error = wait_ready(client, POLLIN, deadline);
            if (error)
                return error;
            continue;
        }
        char *newline = memchr(line + used, '\n', (size_t)seen);
        size_t wanted = newline ? (size_t)(newline + 1 - (line + used)) : (size_t)seen;
        if (recv(client->fd, line + used, wanted, 0) != (ssize_t)wanted)
            return -EPROTO;
        used += wanted;
        if (newline) {
            *newline = '\0';
            return 0;
        }
    }
    return -EPROTO;
}

/* An answer is "NUMBER TEXT": negative is a refusal, else the number of lines that follow. */
static int receive_answer(struct rrdcached *client, int64_t deadline, char **refusal)
{
    char line[LINE_MAX_BYTES];
    char *text;
    int error = receive_line(client, line, deadline);

    if (error)
        return error;
    long number = strtol(line, &text, 10);
    if (text == line || number > MORE_LINES_MAX)
        return -EPROTO;
    if (number < 0) {
        *refusal = g_strdup(g_strstrip(text));
        return 1;
    }
    while (!error && number-- > 0)
        error = receive_line(client, line, deadline);
    return error;
}

/* Spaces and backslashes of a name are written behind a backslash. */
static char *make_command(const char *path, const char *update)
{
    GString *command = g_string_new("UPDATE ");

    for (; *path; path++) {
        if (*path == ' ' || *path == '\\')
            g_string_append_c(command, '\\');
        g_string_append_c(command, *path);
    }
    g_string_append_printf(command, " %s\n", update);
    return g_string_free(command, FALSE);
}

static int ask(struct rrdcached *client, const char *command, char **refusal)
{
    int64_t deadline = g_get_monotonic_time() + (int64_t)client->patience_ms * 1000;
    int error = client->fd < 0 ? connect_daemon(client) : 0;

    if (!error)
        error = send_all(client, command, strlen(command), deadline);
    if (!error)
        error = receive_answer(client, deadline, refusal);
    if (error < 0)
        disconnect(client);
    return error;
}

int rrdcached_update(struct rrdcached *client, const char *path, const char *update, char **refusal)
{
    g_autofree char *command = make_command(path, update);
    bool was_connected = client->fd >= 0;

    if (strlen(command) >= LINE_MAX_BYTES)
        return -E2BIG;
    int error = ask(client, command, refusal);
    /* A connection that broke since it was last used says nothing about the daemon of now. */
    if (was_connected && (error == -EPIPE || error == -ECONNRESET))
        error = ask(client, command, refusal);
    return error;
}
