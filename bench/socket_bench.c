/* SPDX-License-Identifier: GPL-3.0-or-later */
/* socket_bench: requests to the local socket beside an empty libqb service that echoes.
 *
 * socket_bench NAME PATH [ROUNDS [REQUESTS]]: in each round the echo service, request 1 and request
 * 6 for PATH get that many requests each, one after the other, from one client. Prints a JSON line
 * for each round and target: {"target": "echo", "seconds": of one request}. */
#include <errno.h>
#include <qb/qbdefs.h>
#include <qb/qbipcc.h>
#include <qb/qbipcs.h>
#include <qb/qbloop.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "timing.h"

#define BUFFER_SIZE (1024u * 1024)

/* The echo service, as libqb's own example is made. */

static qb_loop_t *loop;

static int32_t echo(qb_ipcs_connection_t *connection, void *data, size_t size)
{
    const struct qb_ipc_request_header *request = data;
    struct qb_ipc_response_header header;
    struct iovec parts[2] = {
        {.iov_base = &header, .iov_len = sizeof(header)},
        {.iov_base = (char *)data + sizeof(*request), .iov_len = size - sizeof(*request)}};

    memset(&header, 0, sizeof(header));
    header.id = request->id;
    header.size = (int32_t)(sizeof(header) + size - sizeof(*request));
    return qb_ipcs_response_sendv(connection, parts, 2) < 0 ? -1 : 0;
}

static int32_t accept_all(qb_ipcs_connection_t *connection, uid_t uid, gid_t gid)
{
    (void)connection;
    (void)uid;
    (void)gid;
    return 0;
}

static int32_t add_job(enum qb_loop_priority priority, void *data, qb_loop_job_dispatch_fn function)
{
    return qb_loop_job_add(loop, priority, data, function);
}

static int32_t add_dispatch(enum qb_loop_priority priority, int32_t fd, int32_t events, void *data,
                            qb_ipcs_dispatch_fn_t function)
{
    return qb_loop_poll_add(loop, priority, fd, events, data, function);
}

static int32_t modify_dispatch(enum qb_loop_priority priority, int32_t fd, int32_t events,
                               void *data, qb_ipcs_dispatch_fn_t function)
{
    return qb_loop_poll_mod(loop, priority, fd, events, data, function);
}

static int32_t delete_dispatch(int32_t fd)
{
    return qb_loop_poll_del(loop, fd);
}

/* Serves for ever; says through `ready` that it does. */
static void serve_echo(const char *name, int ready)
{
    struct qb_ipcs_service_handlers handlers = {.connection_accept = accept_all,
                                                .msg_process = echo};
    struct qb_ipcs_poll_handlers polls = {.job_add = add_job,
                                          .dispatch_add = add_dispatch,
                                          .dispatch_mod = modify_dispatch,
                                          .dispatch_del = delete_dispatch};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    loop = qb_loop_create();
    qb_ipcs_service_t *service = qb_ipcs_create(name, 1, QB_IPC_SHM, &handlers);
    qb_ipcs_poll_handlers_set(service, &polls);
    if (qb_ipcs_run(service) != 0 || write(ready, "r", 1) != 1)
        _exit(1);
    qb_loop_run(loop);
}

static pid_t start_echo(const char *name)
{
    int ready[2];
    char byte;

    if (pipe(ready) != 0)
        fail("pipe");
    pid_t pid = fork();
    if (pid == 0)
        serve_echo(name, ready[1]);
    close(ready[1]);
    if (pid < 0 || read(ready[0], &byte, 1) != 1)
        fail("no echo service");
    close(ready[0]);
    return pid;
}

/* The client */

static uint8_t reply[BUFFER_SIZE];

static qb_ipcc_connection_t *connect_to(const char *name)
{
    qb_ipcc_connection_t *connection = qb_ipcc_connect(name, BUFFER_SIZE);

    if (!connection)
        fail("%s", name);
    return connection;
}

static void ask(qb_ipcc_connection_t *connection, int id, const void *data, size_t size)
{
    struct qb_ipc_request_header header;
    struct iovec parts[2] = {{.iov_base = &header, .iov_len = sizeof(header)},
                             {.iov_base = (void *)(uintptr_t)data, .iov_len = size}};
    const struct qb_ipc_response_header *response = (const struct qb_ipc_response_header *)reply;

    memset(&header, 0, sizeof(header));
    header.id = id;
    header.size = (int32_t)(sizeof(header) + size);
    ssize_t received = qb_ipcc_sendv_recv(connection, parts, 2, reply, sizeof(reply), -1);
    if (received < (ssize_t)sizeof(*response) || response->error != 0)
        fail("request %d: %zd, %d", id, received, response->error);
}

static void measure(const char *target, qb_ipcc_connection_t *connection, int id, const void *data,
                    size_t size, int requests)
{
    double start = seconds_now();

    for (int i = 0; i < requests; i++)
        ask(connection, id, data, size);
    printf("{\"target\": \"%s\", \"seconds\": %.9f}\n", target, (seconds_now() - start) / requests);
}

int main(int argc, char **argv)
{
    /* Request 13: all guests that have a name or tags. */
    static const uint8_t properties[] = {0,   0, 0,   0,   2,   'n', 'a', 'm',
                                         'e', 0, 't', 'a', 'g', 's', 0};
    char echo_name[64];

    if (argc < 3) {
        fprintf(stderr, "socket_bench NAME PATH [ROUNDS [REQUESTS]]\n");
        return 2;
    }
    int rounds = argc > 3 ? atoi(argv[3]) : 21;
    int requests = argc > 4 ? atoi(argv[4]) : 20000;
    snprintf(echo_name, sizeof(echo_name), "socket-bench-%d", getpid());
    pid_t echo_pid = start_echo(echo_name);
    qb_ipcc_connection_t *to_echo = connect_to(echo_name);
    qb_ipcc_connection_t *to_ours = connect_to(argv[1]);
    ask(to_ours, 13, properties, sizeof(properties)); /* parses them all */
    for (int round = 0; round < rounds; round++) {
        measure("echo", to_echo, 1, NULL, 0, requests);
        measure("version", to_ours, 1, NULL, 0, requests);
        measure("config", to_ours, 6, argv[2], strlen(argv[2]) + 1, requests);
        measure("properties", to_ours, 13, properties, sizeof(properties), requests / 100 + 1);
    }
    qb_ipcc_disconnect(to_ours);
    qb_ipcc_disconnect(to_echo);
    kill(echo_pid, SIGTERM);
    waitpid(echo_pid, NULL, 0);
    return 0;
}
