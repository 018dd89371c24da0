/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A client of the local socket for tests, with libqb's real client: requests from standard input.
 *
 * client NAME [BUFFER]: prints "connected" or "refused ERRNO", then reads lines and answers each:
 *   ask ID HEX           sends a request, prints its reply
 *   claim ID SIZE HEX    the same with SIZE as the header's size
 *   raw HEX              sends these bytes as they are, prints the reply
 *   send ID HEX          sends a request, prints "sent" or "failed ERRNO"
 *   receive MS           prints the next reply that comes within that time, or "failed ERRNO"
 *   event MS             prints the next event in the same way
 *   repeat COUNT ID HEX  asks that often, prints the last reply and the microseconds of the slowest
 * A reply is printed as "reply ID SIZE ERROR HEX". */
#include <errno.h>
#include <qb/qbipcc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_SIZE (1024u * 1024)
#define LINE_SIZE (2 * BUFFER_SIZE + 256)

static qb_ipcc_connection_t *connection;
static uint8_t message[BUFFER_SIZE + 64];
static uint8_t reply[BUFFER_SIZE + 64];
static char line[LINE_SIZE];

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

/* Puts the bytes that `hex` stands for into the message at `offset`; the message's size. */
static size_t unhex(const char *hex, size_t offset)
{
    for (; hex[0] && hex[1] && offset < sizeof(message); hex += 2)
        message[offset++] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
    return offset;
}

static void print_reply(ssize_t size)
{
    const struct qb_ipc_response_header *header = (const struct qb_ipc_response_header *)reply;

    if (size < (ssize_t)sizeof(*header)) {
        printf("failed %d\n", size < 0 ? (int)-size : EPROTO);
        return;
    }
    printf("reply %d %d %d ", header->id, header->size, header->error);
    for (ssize_t i = (ssize_t)sizeof(*header); i < size; i++)
        printf("%02x", reply[i]);
    printf("\n");
}

static ssize_t exchange(size_t size)
{
    struct iovec part = {.iov_base = message, .iov_len = size};

    ssize_t received;

    /* A large request has to wait until the one before it is out of the shared memory. */
    while ((received = qb_ipcc_sendv_recv(connection, &part, 1, reply, sizeof(reply), -1)) ==
           -EAGAIN)
        usleep(1000);
    return received;
}

#define HONEST INT64_MAX /* the header claims what is sent */

static size_t make_request(int id, int64_t claim, const char *hex)
{
    struct qb_ipc_request_header header;
    size_t size = unhex(hex, sizeof(header));

    memset(&header, 0, sizeof(header));
    header.id = id;
    header.size = claim == HONEST ? (int32_t)size : (int32_t)claim;
    memcpy(message, &header, sizeof(header));
    return size;
}

static void send_only(int id, const char *hex)
{
    ssize_t sent = qb_ipcc_send(connection, message, make_request(id, HONEST, hex));

    if (sent < 0)
        printf("failed %d\n", (int)-sent);
    else
        printf("sent\n");
}

static double now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void repeat(int count, int id, const char *hex)
{
    size_t size = make_request(id, HONEST, hex);
    double slowest = 0;
    ssize_t received = 0;

    for (int i = 0; i < count; i++) {
        double start = now_us();
        received = exchange(size);
        double took = now_us() - start;
        slowest = took > slowest ? took : slowest;
        if (received < 0)
            break;
    }
    printf("%.0f ", slowest);
    print_reply(received);
}

static void obey(char *text)
{
    static char hex[LINE_SIZE];
    int id;
    int number;

    *hex = '\0';
    if (sscanf(text, "ask %d %s", &id, hex) >= 1)
        print_reply(exchange(make_request(id, HONEST, hex)));
    else if (sscanf(text, "claim %d %d %s", &id, &number, hex) >= 2)
        print_reply(exchange(make_request(id, number, hex)));
    else if (sscanf(text, "raw %s", hex) == 1)
        print_reply(exchange(unhex(hex, 0)));
    else if (sscanf(text, "send %d %s", &id, hex) >= 1)
        send_only(id, hex);
    else if (sscanf(text, "receive %d", &number) == 1)
        print_reply(qb_ipcc_recv(connection, reply, sizeof(reply), number));
    else if (sscanf(text, "event %d", &number) == 1)
        print_reply(qb_ipcc_event_recv(connection, reply, sizeof(reply), number));
    else if (sscanf(text, "repeat %d %d %s", &number, &id, hex) >= 2)
        repeat(number, id, hex);
    else
        printf("what?\n");
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    size_t size = argc > 2 ? strtoul(argv[2], NULL, 10) : BUFFER_SIZE;
    connection = qb_ipcc_connect(argv[1], size);
    if (!connection) {
        printf("refused %d\n", errno);
        return 1;
    }
    printf("connected\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin)) {
        obey(line);
        fflush(stdout);
    }
    qb_ipcc_disconnect(connection);
    return 0;
}
