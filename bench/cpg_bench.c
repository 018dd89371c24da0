/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What libcpg allows between the same nodes: round trips, messages under way, bytes a second. */
#include <corosync/cpg.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "timing.h"

#define GROUP "pmxcfs_bench"
#define SMALL_SIZE 600u
#define BULK_SIZE_MAX 65536
#define WINDOW 16u

/* A message's first byte. */
enum kind {
    KIND_NUMBERED = 'n',
    KIND_BULK = 'b',
    KIND_BULK_LAST = 'l', /* every member but the sender answers with KIND_DONE */
    KIND_DONE = 'd',
};

struct bench {
    cpg_handle_t handle;
    int file;
    bool sender;
    unsigned members;
    uint64_t delivered; /* own numbered messages that came back */
    unsigned done;      /* members that have the bulk, the sender included */
};

static char message[BULK_SIZE_MAX];

/* False if corosync has no room now. */
static bool send_message(struct bench *bench, enum kind kind, size_t size)
{
    struct iovec part = {.iov_base = message, .iov_len = size};
    message[0] = (char)kind;
    cs_error_t error = cpg_mcast_joined(bench->handle, CPG_TYPE_AGREED, &part, 1);
    if (error != CS_OK && error != CS_ERR_TRY_AGAIN)
        fail("cpg_mcast_joined: %s", cs_strerror(error));
    return error == CS_OK;
}

static void take(struct bench *bench, const char *data, bool own)
{
    if (data[0] == KIND_NUMBERED && own)
        bench->delivered++;
    else if (data[0] == KIND_DONE || (data[0] == KIND_BULK_LAST && own))
        bench->done++;
    else if (data[0] == KIND_BULK_LAST) {
        while (!send_message(bench, KIND_DONE, SMALL_SIZE))
            pause_seconds(0.0005);
    }
}

static void deliver(cpg_handle_t handle, const struct cpg_name *group, uint32_t node, uint32_t pid,
                    void *data, size_t size)
{
    void *context = NULL;
    unsigned own = 0;
    (void)group;
    (void)pid;
    if (size && cpg_context_get(handle, &context) == CS_OK && cpg_local_get(handle, &own) == CS_OK)
        take(context, data, own == node);
}

static void change_members(cpg_handle_t handle, const struct cpg_name *group,
                           const struct cpg_address *members, size_t member_count,
                           const struct cpg_address *left, size_t left_count,
                           const struct cpg_address *joined, size_t joined_count)
{
    void *context = NULL;
    (void)group;
    (void)members;
    (void)left;
    (void)left_count;
    (void)joined;
    (void)joined_count;
    if (cpg_context_get(handle, &context) == CS_OK)
        ((struct bench *)context)->members = (unsigned)member_count;
}

static void join(struct bench *bench)
{
    cpg_callbacks_t callbacks = {.cpg_deliver_fn = deliver, .cpg_confchg_fn = change_members};
    struct cpg_name group = {.length = sizeof(GROUP), .value = GROUP};
    cs_error_t error = cpg_initialize(&bench->handle, &callbacks);

    if (error == CS_OK)
        error = cpg_context_set(bench->handle, bench);
    if (error == CS_OK)
        error = cpg_fd_get(bench->handle, &bench->file);
    while (error == CS_OK && (error = cpg_join(bench->handle, &group)) == CS_ERR_TRY_AGAIN) {
        pause_seconds(0.05);
        error = CS_OK;
    }
    if (error != CS_OK)
        fail("cannot join: %s", cs_strerror(error));
}

/* Takes what has come, waiting for something if nothing has. */
static void work_off(struct bench *bench, int milliseconds)
{
    struct pollfd wait = {.fd = bench->file, .events = POLLIN};
    if (poll(&wait, 1, milliseconds) == 0)
        return;
    cs_error_t error = cpg_dispatch(bench->handle, CS_DISPATCH_ALL);
    if (error != CS_OK)
        fail("cpg_dispatch: %s", cs_strerror(error));
}

/* Seconds for `count` messages, with at most `window` of them under way. */
static double run_numbered(struct bench *bench, unsigned count, unsigned window)
{
    double start = seconds_now();
    unsigned sent = 0;
    bench->delivered = 0;
    while (bench->delivered < count) {
        bool room = true;
        while (room && sent < count && sent - bench->delivered < window) {
            room = send_message(bench, KIND_NUMBERED, SMALL_SIZE);
            sent += room;
        }
        work_off(bench, room ? -1 : 1);
    }
    return seconds_now() - start;
}

/* Seconds until all members have all messages. */
static double run_bulk(struct bench *bench, uint64_t messages, size_t size)
{
    double start = seconds_now();
    bench->done = 0;
    for (uint64_t sent = 0; bench->done < bench->members;) {
        while (sent < messages &&
               send_message(bench, sent + 1 < messages ? KIND_BULK : KIND_BULK_LAST, size))
            sent++;
        work_off(bench, 1);
    }
    return seconds_now() - start;
}

static void tell(const char *work, double seconds)
{
    printf("{\"work\": \"%s\", \"target\": \"cpg\", \"seconds\": %.9f}\n", work, seconds);
    fflush(stdout);
}

static volatile sig_atomic_t ended;

static void end(int number)
{
    (void)number;
    ended = 1;
}

/* A writer that never rests, beside others' traffic, until SIGTERM: what `probe` is to a file
 * system, and told in the same way. */
static void run_writer(struct bench *bench)
{
    double longest = 0;
    unsigned calls = 0;

    signal(SIGTERM, end);
    printf("started\n");
    fflush(stdout);
    for (; !ended; calls++) {
        double taken = run_numbered(bench, 1, 1);
        longest = taken > longest ? taken : longest;
        pause_seconds(PROBE_PAUSE);
    }
    printf("{\"longest\": %.9f, \"calls\": %u, \"failures\": 0}\n", longest, calls);
}

static void run_rounds(struct bench *bench, unsigned rounds, uint64_t messages, size_t size)
{
    run_numbered(bench, 200, 1);
    for (unsigned round = 0; round < rounds; round++) {
        tell("round_trip", run_numbered(bench, 500, 1) / 500);
        tell("window", run_numbered(bench, 10000, WINDOW) / 10000);
        if (messages > 0)
            tell("bulk", run_bulk(bench, messages, size));
    }
}

int main(int argc, char **argv)
{
    struct bench bench = {.sender = argc == 5};
    bool writer = argc == 2 && strcmp(argv[1], "writer") == 0;
    if (argc != 1 && argc != 5 && !writer)
        fail("usage: cpg_bench (a member, until it is killed), or\n"
             "       cpg_bench writer (until SIGTERM), or\n"
             "       cpg_bench MEMBERS ROUNDS BULK_MESSAGES BULK_SIZE");
    size_t size = bench.sender ? strtoull(argv[4], NULL, 10) : 0;
    if (size > BULK_SIZE_MAX)
        fail("messages of %d bytes at most", BULK_SIZE_MAX);
    join(&bench);
    if (writer) {
        run_writer(&bench);
        cpg_finalize(bench.handle);
        return 0;
    }
    if (!bench.sender) {
        while (true)
            work_off(&bench, -1);
    }
    unsigned members = (unsigned)atoi(argv[1]);
    while (bench.members < members)
        work_off(&bench, -1);
    run_rounds(&bench, (unsigned)atoi(argv[2]), strtoull(argv[3], NULL, 10), size);
    cpg_finalize(bench.handle);
    return 0;
}
