/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cluster thread: connects to corosync, waits for what it tells, hands it on in its order. */
#include "cluster/corosync.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/directory.h"
#include "base/log.h"
#include "base/thread.h"
#include "cluster/corosync_client.h"

#define CONNECT_PAUSE 1000u /* milliseconds between tries to find corosync */
#define CALL_PATIENCE 100u  /* milliseconds that a call under way has to end */

/* Messages of a group at a time. Those of the configuration group form batches; the status group
 * must not hold them up. */
#define CONFIGURATION_BATCH 256
#define STATUS_BATCH 32

enum { FD_WAKE, FD_QUORUM, FD_CMAP, FD_CONFIGURATION, FD_STATUS, FD_COUNT };

/* --- Connecting --- */

/* The buffers of one connection, if libqb did not come to removing them. */
static void remove_buffers(int directory, const char *name)
{
    DIR *buffers = directory_open_in(directory, name);
    const struct dirent *found;

    if (!buffers)
        return;
    while ((found = readdir(buffers))) {
        if (strncmp(found->d_name, "qb-", 3) == 0)
            unlinkat(dirfd(buffers), found->d_name, 0);
    }
    closedir(buffers);
    unlinkat(directory, name, AT_REMOVEDIR);
}

/* A corosync that was killed leaves a directory for each of its connections, which libqb on this
 * side does not remove, and one that dies while we connect leaves it with megabytes in it. */
static void remove_leftovers(void)
{
    DIR *directory = opendir("/dev/shm");
    const struct dirent *found;
    int server, client;

    if (!directory)
        return;
    while ((found = readdir(directory))) {
        if (sscanf(found->d_name, "qb-%d-%d-", &server, &client) == 2 && client == (int)getpid() &&
            server > 0 && kill(server, 0) < 0 && errno == ESRCH)
            remove_buffers(dirfd(directory), found->d_name);
    }
    closedir(directory);
}

/* All or nothing: a connection that breaks alone means a corosync that is about to die. */
static void disconnect(struct corosync *corosync)
{
    quorum_close(corosync);
    for (int i = 0; i < GROUP_COUNT; i++)
        group_close(&corosync->groups[i]);
    nodes_close(corosync);
    corosync->connected = false;
    /* Quorum went with the connection. */
    group_hand_on(&corosync->groups[GROUP_CONFIGURATION]);
    corosync->connect_at = clock_milliseconds() + CONNECT_PAUSE;
}

static int open_all(struct corosync *corosync)
{
    int error = quorum_open(corosync);

    for (int i = 0; i < GROUP_COUNT && !error; i++)
        error = group_open(&corosync->groups[i]);
    if (!error)
        error = nodes_open(corosync);
    return error;
}

static void try_to_connect(struct corosync *corosync)
{
    if (open_all(corosync)) {
        if (!corosync->absence_logged)
            log_warning("corosync does not run yet, or does not answer: this node only reads, and "
                        "connects as soon as it can; see 'systemctl status corosync'");
        corosync->absence_logged = true;
        disconnect(corosync);
        return;
    }
    log_info("connected to corosync as node %u", corosync->groups[GROUP_CONFIGURATION].self.node);
    corosync->absence_logged = false;
    corosync->connected = true;
    remove_leftovers(); /* now, since a killed process is there until its parent has noticed */
}

/* --- The loop --- */

static bool is_readable(const struct pollfd *fd)
{
    return fd->fd >= 0 && fd->revents != 0;
}

static int look_at_quorum(struct corosync *corosync)
{
    struct pollfd fd = {.fd = corosync->quorum.fd, .events = POLLIN};

    return poll(&fd, 1, 0) > 0 ? quorum_poll(corosync) : 0;
}

/* The batch of the configuration group is handed on after another look at quorum: what decides over
 * a message was told before it. */
static int serve_configuration(struct corosync *corosync, bool readable)
{
    struct group *group = &corosync->groups[GROUP_CONFIGURATION];
    int error = readable ? group_gather(group, CONFIGURATION_BATCH) : 0;
    int quorum_error = look_at_quorum(corosync);

    group_hand_on(group);
    return error ? error : quorum_error;
}

static int serve_status(struct corosync *corosync)
{
    struct group *group = &corosync->groups[GROUP_STATUS];
    int error = group_gather(group, STATUS_BATCH);

    group_hand_on(group);
    return error;
}

static void verify(struct corosync *corosync)
{
    corosync->verify_at = clock_milliseconds() + corosync->options.verify_interval;
    group_verify(&corosync->groups[GROUP_CONFIGURATION]);
}

/* One round, in the order of importance. */
static int serve(struct corosync *corosync, const struct pollfd *fds)
{
    int error = serve_configuration(corosync, is_readable(&fds[FD_CONFIGURATION]));

    if (!error && is_readable(&fds[FD_CMAP]))
        error = nodes_poll(corosync);
    if (!error && corosync->cmap.changed)
        error = nodes_tell(corosync);
    if (!error && is_readable(&fds[FD_STATUS]))
        error = serve_status(corosync);
    for (int i = 0; i < GROUP_COUNT && !error; i++) {
        error = group_manage(&corosync->groups[i]);
        if (!error)
            error = group_flush(&corosync->groups[i]);
    }
    return error;
}

static int milliseconds_until(uint64_t at)
{
    uint64_t now = clock_milliseconds();

    if (at <= now)
        return 0;
    return at - now > INT_MAX ? INT_MAX : (int)(at - now);
}

static int find_timeout(struct corosync *corosync)
{
    uint64_t at = corosync->verify_at;

    if (!corosync->connected)
        return milliseconds_until(MIN(at, corosync->connect_at));
    for (int i = 0; i < GROUP_COUNT; i++)
        at = MIN(at, group_deadline(&corosync->groups[i]));
    return corosync->cmap.changed ? 0 : milliseconds_until(at);
}

static void wait_for_events(struct corosync *corosync, struct pollfd fds[FD_COUNT])
{
    bool connected = corosync->connected;
    const int numbers[FD_COUNT] = {
        [FD_WAKE] = corosync->wake,
        [FD_QUORUM] = connected ? corosync->quorum.fd : -1,
        [FD_CMAP] = connected ? corosync->cmap.fd : -1,
        [FD_CONFIGURATION] = connected ? corosync->groups[GROUP_CONFIGURATION].cpg.fd : -1,
        [FD_STATUS] = connected ? corosync->groups[GROUP_STATUS].cpg.fd : -1,
    };
    uint64_t drained;

    for (int i = 0; i < FD_COUNT; i++)
        fds[i] = (struct pollfd){.fd = numbers[i], .events = POLLIN};
    if (poll(fds, FD_COUNT, find_timeout(corosync)) <= 0)
        return;
    if (is_readable(&fds[FD_WAKE]) && read(corosync->wake, &drained, sizeof(drained)) < 0)
        log_debug("the cluster thread was woken up for nothing");
}

static void work(struct corosync *corosync)
{
    struct pollfd fds[FD_COUNT];

    wait_for_events(corosync, fds);
    if (atomic_load(&corosync->stopping))
        return;
    if (!corosync->connected && clock_milliseconds() >= corosync->connect_at)
        try_to_connect(corosync);
    else if (corosync->connected && serve(corosync, fds))
        disconnect(corosync);
    if (clock_milliseconds() >= corosync->verify_at ||
        atomic_exchange(&corosync->verify_wanted, false))
        verify(corosync);
}

static void *cluster_thread(void *data)
{
    struct corosync *corosync = data;

    while (!atomic_load(&corosync->stopping))
        work(corosync);
    for (int i = 0; i < GROUP_COUNT; i++)
        group_leave_for_good(&corosync->groups[i]);
    disconnect(corosync);
    remove_leftovers();
    LOCKED(&corosync->calls);
    corosync->ended = true;
    pthread_cond_signal(&corosync->changed);
    return NULL;
}

/* --- The owner's side --- */

struct corosync *corosync_new(const struct corosync_options *options)
{
    struct corosync *corosync = g_new0(struct corosync, 1);

    corosync->options = *options;
    corosync->wake = -1;
    atomic_init(&corosync->stopping, false);
    lock_init(&corosync->calls, LOCK_RANK_COROSYNC_CALLS);
    thread_condition_init(&corosync->changed);
    group_init(&corosync->groups[GROUP_CONFIGURATION], corosync, GROUP_CONFIGURATION);
    group_init(&corosync->groups[GROUP_STATUS], corosync, GROUP_STATUS);
    return corosync;
}

struct transport *corosync_transport(struct corosync *corosync, enum machine_group group)
{
    return &corosync->groups[group].transport;
}

const struct group_metrics *corosync_metrics(const struct corosync *corosync,
                                             enum machine_group group)
{
    return &corosync->groups[group].metrics;
}

size_t corosync_outbox(struct corosync *corosync, enum machine_group which)
{
    if (!corosync)
        return 0;
    struct group *group = &corosync->groups[which];
    LOCKED(&group->lock);
    return group->outbox.queue.length;
}

void corosync_verify(struct corosync *corosync)
{
    atomic_store(&corosync->verify_wanted, true);
    corosync_wake(corosync);
}

int corosync_start(struct corosync *corosync, struct group_consumer *configuration,
                   struct group_consumer *status, struct node_listener *nodes)
{
    corosync->groups[GROUP_CONFIGURATION].consumer = configuration;
    corosync->groups[GROUP_STATUS].consumer = status;
    corosync->node_listener = nodes;
    corosync->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (corosync->wake < 0)
        return -errno;
    corosync->verify_at = clock_milliseconds() + corosync->options.verify_interval;
    int error = pthread_create(&corosync->thread, NULL, cluster_thread, corosync);
    corosync->started = error == 0;
    return -error;
}

static bool wait_for_end(struct corosync *corosync, uint64_t milliseconds)
{
    int64_t limit = (int64_t)(clock_milliseconds() + milliseconds) * 1000;
    int error = 0;

    LOCKED(&corosync->calls);
    while (!corosync->ended && !error)
        error = lock_wait_until(&corosync->calls, &corosync->changed, limit);
    return corosync->ended;
}

/* Takes away the right to call anybody from a thread that does not end, which keeps what it may
 * still look at. */
static int abandon(struct corosync *corosync)
{
    int64_t soon = (int64_t)(clock_milliseconds() + CALL_PATIENCE) * 1000;
    int error = 0;

    LOCKED(&corosync->calls);
    while (corosync->calling && !error)
        error = lock_wait_until(&corosync->calls, &corosync->changed, soon);
    if (corosync->calling)
        return -EBUSY;
    corosync->abandoned = true;
    pthread_detach(corosync->thread);
    log_warning("corosync hangs: the connection to it is abandoned");
    return 0;
}

int corosync_stop(struct corosync *corosync, uint64_t milliseconds)
{
    for (int i = 0; i < GROUP_COUNT; i++)
        group_stop_sending(&corosync->groups[i]);
    if (!corosync->started)
        return 0;
    atomic_store(&corosync->stopping, true);
    corosync_wake(corosync);
    if (!wait_for_end(corosync, milliseconds))
        return abandon(corosync);
    pthread_join(corosync->thread, NULL);
    corosync->started = false;
    return 0;
}

void corosync_free(struct corosync *corosync)
{
    if (!corosync || corosync->started)
        return;
    for (int i = 0; i < GROUP_COUNT; i++)
        group_clear(&corosync->groups[i]);
    if (corosync->wake >= 0)
        close(corosync->wake);
    pthread_cond_destroy(&corosync->changed);
    lock_destroy(&corosync->calls);
    g_free(corosync);
}
