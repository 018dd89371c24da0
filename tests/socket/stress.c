/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Many clients of the local socket at once, some killed in the middle: every reply is checked.
 *
 * stress NAME CLIENTS SECONDS PATH FILE: request 6 for PATH must give what FILE holds. Prints one
 * line, "requests N killed N", and exits 0; or says which reply was wrong and exits 1. */
#include <errno.h>
#include <qb/qbipcc.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_SIZE (1024u * 1024)
#define CLIENTS_MAX 1000
#define VALUE_MAX 32768
#define REQUESTS_LEAST 2000 /* that are answered, however long it takes */
#define NAME_FIELD 256

/* What the clients tell their parent. */
static struct shared {
    _Atomic uint64_t requests;
} * shared;

static const char *service;
static const char *path;
static uint8_t content[BUFFER_SIZE];
static size_t content_size;

/* One client's own. */
static qb_ipcc_connection_t *connection;
static uint8_t reply[BUFFER_SIZE];
static unsigned random_state;
static int slot; /* its number: the one that takes its place has the same */

static unsigned random_below(unsigned limit)
{
    return (unsigned)rand_r(&random_state) % limit;
}

static void fail(const char *what, long number)
{
    printf("wrong: %s (%ld)\n", what, number);
    fflush(stdout);
    _exit(1);
}

/* Asks; checks the reply's header; gives the size of its data. */
static size_t ask(int id, const void *data, size_t size, int expected_error)
{
    struct qb_ipc_request_header header;
    struct iovec parts[2] = {{.iov_base = &header, .iov_len = sizeof(header)},
                             {.iov_base = (void *)(uintptr_t)data, .iov_len = size}};
    const struct qb_ipc_response_header *response = (const struct qb_ipc_response_header *)reply;

    memset(&header, 0, sizeof(header));
    header.id = id;
    header.size = (int32_t)(sizeof(header) + size);
    ssize_t received = qb_ipcc_sendv_recv(connection, parts, 2, reply, sizeof(reply), -1);
    if (received < (ssize_t)sizeof(*response))
        fail("no reply", received);
    if (response->id != id)
        fail("a reply to another request", response->id);
    if (response->error != expected_error)
        fail("error", response->error);
    if (response->size != received)
        fail("size", response->size);
    shared->requests++;
    return (size_t)received - sizeof(*response);
}

static const uint8_t *reply_data(void)
{
    return reply + sizeof(struct qb_ipc_response_header);
}

static void check_text(int id)
{
    size_t size = ask(id, NULL, 0, 0);

    if (size < 2 || reply_data()[0] != '{')
        fail("no JSON", id);
}

static void check_file(void)
{
    size_t size = ask(6, path, strlen(path) + 1, 0);

    if (size != content_size || memcmp(reply_data(), content, size) != 0)
        fail("another content", (long)size);
}

/* Sets a value of this client's own and reads it. */
static void check_value(void)
{
    static uint8_t request[NAME_FIELD + VALUE_MAX];
    char names[2 * NAME_FIELD] = {0};
    size_t size = 1 + random_below(VALUE_MAX);

    memset(request, 0, NAME_FIELD);
    snprintf((char *)request, NAME_FIELD, "stress-%d", slot);
    for (size_t i = 0; i < size; i++)
        request[NAME_FIELD + i] = (uint8_t)random_below(256);
    memcpy(names, request, NAME_FIELD);
    ask(4, request, NAME_FIELD + size, 0);
    if (ask(5, names, sizeof(names), 0) != size ||
        memcmp(reply_data(), request + NAME_FIELD, size) != 0)
        fail("another value", (long)size);
    ask(4, request, NAME_FIELD, 0);
    ask(5, names, sizeof(names), -ENOENT);
}

static void check_errors(void)
{
    static const uint8_t garbage[5000];

    ask(99, NULL, 0, -ECHRNG);
    ask(6, "no/such/file", sizeof("no/such/file"), -ENOENT);
    ask(6, garbage, sizeof(garbage), -EINVAL);
    ask(1, garbage, 1, -EINVAL);
    ask(13, garbage, 4, -EINVAL);
}

static void reconnect(void)
{
    if (connection)
        qb_ipcc_disconnect(connection);
    connection = qb_ipcc_connect(service, BUFFER_SIZE);
    if (!connection)
        fail("cannot connect", errno);
}

static void run_client(void)
{
    static const uint8_t all_names[] = {0,   0, 0,   0,   2,   'n', 'a', 'm',
                                        'e', 0, 't', 'a', 'g', 's', 0};

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    random_state = (unsigned)getpid();
    reconnect();
    for (;;) {
        switch (random_below(64)) {
        case 0:
            reconnect();
            break;
        case 1:
        case 2:
            check_value();
            break;
        case 3:
            check_errors();
            break;
        case 4:
        case 5:
            if (ask(13, all_names, sizeof(all_names), 0) < 2)
                fail("no JSON", 13);
            break;
        default:
            check_text(1 + (int)random_below(3));
            check_file();
        }
    }
}

static pid_t start_client(int number)
{
    pid_t pid = fork();

    if (pid == 0) {
        slot = number;
        run_client();
        _exit(0);
    }
    return pid;
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Waits until that many requests were answered; ends the program if a client has ended by itself.
 */
static void wait_requests(uint64_t requests)
{
    while (shared->requests < requests) {
        siginfo_t info = {0};
        usleep(1000);
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0)
            exit(1); /* it has said why */
    }
}

/* One client after the other is killed, wherever it is, and another one takes its place; on a slow
 * machine not so often that nobody gets to ask. */
static unsigned kill_clients(pid_t *clients, int count, double seconds)
{
    double end = now() + seconds;
    unsigned killed = 0;

    for (int next = 0; now() < end || shared->requests < REQUESTS_LEAST;
         next = (next + 1) % count) {
        int status;
        usleep(20000);
        wait_requests(shared->requests + 10);
        kill(clients[next], SIGKILL);
        waitpid(clients[next], &status, 0);
        if (!WIFSIGNALED(status))
            exit(1);
        killed++;
        clients[next] = start_client(next);
    }
    return killed;
}

int main(int argc, char **argv)
{
    static pid_t clients[CLIENTS_MAX];
    bool good = true;

    if (argc != 6 || atoi(argv[2]) > CLIENTS_MAX)
        return 2;
    service = argv[1];
    path = argv[4];
    FILE *file = fopen(argv[5], "re");
    if (!file)
        return 2;
    content_size = fread(content, 1, sizeof(content), file);
    fclose(file);
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int count = atoi(argv[2]);
    for (int i = 0; i < count; i++)
        clients[i] = start_client(i);
    unsigned killed = kill_clients(clients, count, atof(argv[3]));
    for (int i = 0; i < count; i++) {
        int status;
        kill(clients[i], SIGKILL);
        waitpid(clients[i], &status, 0);
        good = good && WIFSIGNALED(status);
    }
    printf("requests %llu killed %u\n", (unsigned long long)shared->requests, killed);
    return good ? 0 : 1;
}
