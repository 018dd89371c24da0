/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Drives the cluster thread without a daemon: how fast it carries messages, whether anything that
 * may not wait ever waits, and whether what was sent comes back in order. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "cluster/corosync.h"

struct probe {
    struct group_consumer configuration;
    struct group_consumer status;
    struct node_listener listener;
    struct member self; /* the cluster thread's */
    atomic_bool member;
    atomic_bool quorate;
    atomic_uint joins;
    atomic_uint nodes;
    atomic_uint failed;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t delivered; /* own messages, under the lock */
    uint64_t expected;  /* the number of the next own message */
    uint64_t disorder;
};

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void note_configuration(struct probe *probe, const struct event *event)
{
    if (event_has_member(event, probe->self) && !atomic_exchange(&probe->member, true))
        atomic_fetch_add(&probe->joins, 1);
}

static void note_message(struct probe *probe, const struct event *event)
{
    if (!same_member(&event->member, &probe->self))
        return;
    pthread_mutex_lock(&probe->lock);
    uint64_t number = get_le64(event->message->data);
    if (number < probe->expected)
        probe->disorder++;
    probe->expected = number + 1;
    probe->delivered++;
    pthread_cond_signal(&probe->changed);
    pthread_mutex_unlock(&probe->lock);
}

static void note_failed(struct probe *probe)
{
    atomic_fetch_add(&probe->failed, 1);
    pthread_mutex_lock(&probe->lock);
    pthread_cond_signal(&probe->changed);
    pthread_mutex_unlock(&probe->lock);
}

static void note(struct probe *probe, const struct event *event)
{
    switch (event->type) {
    case EVENT_CONNECTED:
        probe->self = event->member;
        atomic_store(&probe->member, false);
        break;
    case EVENT_DISCONNECTED:
        atomic_store(&probe->member, false);
        break;
    case EVENT_CONFIGURATION:
        note_configuration(probe, event);
        break;
    case EVENT_MESSAGE:
        note_message(probe, event);
        break;
    case EVENT_QUORUM:
        atomic_store(&probe->quorate, event->quorate);
        break;
    case EVENT_SEND_FAILED:
        note_failed(probe);
        break;
    default:
        break;
    }
}

static void on_configuration_group(struct group_consumer *consumer, GQueue *events)
{
    struct event *event;

    while ((event = g_queue_pop_head(events))) {
        note(container_of(consumer, struct probe, configuration), event);
        event_free(event);
    }
}

static void on_status_group(struct group_consumer *consumer, GQueue *events)
{
    (void)consumer;
    event_clear(events);
}

static void on_nodes(struct node_listener *listener, uint32_t own_id, const char *cluster_name,
                     uint64_t config_version, const struct cluster_node *nodes, size_t count)
{
    (void)config_version;
    printf("node %u of %s:", own_id, cluster_name);
    for (size_t i = 0; i < count; i++)
        printf(" %s(%u)", nodes[i].name, nodes[i].id);
    printf("\n");
    atomic_store(&container_of(listener, struct probe, listener)->nodes, (unsigned int)count);
}

/* Waits until fewer than `window` messages are under way; false after ten seconds without any. */
static bool wait_for_room(struct probe *probe, uint64_t sent, uint64_t window)
{
    struct timespec limit;
    bool room = true;

    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += 10;
    pthread_mutex_lock(&probe->lock);
    while (room && sent - probe->delivered - atomic_load(&probe->failed) >= window)
        room = pthread_cond_timedwait(&probe->changed, &probe->lock, &limit) == 0;
    pthread_mutex_unlock(&probe->lock);
    return room;
}

/* Sends `count` messages of `size` bytes, `window` at a time. Returns microseconds. */
static uint64_t send_all(struct probe *probe, struct transport *transport, uint64_t count,
                         uint32_t size, uint64_t window, uint64_t *slowest)
{
    uint64_t begin = now_us();

    for (uint64_t i = 0; i < count; i++) {
        struct buffer *message = buffer_new(size);
        memset(message->data, (int)i, size);
        put_le64(message->data, i);
        if (!wait_for_room(probe, i, window))
            printf("no progress at %llu\n", (unsigned long long)i);
        uint64_t start = now_us();
        int error = transport->multicast(transport, message, SEND_NORMAL, i);
        uint64_t took = now_us() - start;
        *slowest = took > *slowest ? took : *slowest;
        if (error)
            printf("multicast of %llu: %s\n", (unsigned long long)i, strerror(-error));
        buffer_unref(message);
    }
    if (!wait_for_room(probe, count, 1))
        printf("not all came back\n");
    return now_us() - begin;
}

static void probe_init(struct probe *probe)
{
    *probe = (struct probe){
        .configuration = {.take = on_configuration_group},
        .status = {.take = on_status_group},
        .listener = {.nodes = on_nodes},
    };
    pthread_mutex_init(&probe->lock, NULL);
    pthread_cond_init(&probe->changed, NULL);
}

/* corosync_probe COUNT SIZE WINDOW */
int main(int argc, char **argv)
{
    struct probe probe;
    uint64_t slowest = 0;

    if (argc != 4)
        return 2;
    probe_init(&probe);
    struct corosync *corosync = corosync_new(&(struct corosync_options){
        .rejoin_delay = 1000,
        .verify_interval = 3600000,
    });
    if (corosync_start(corosync, &probe.configuration, &probe.status, &probe.listener))
        return 1;
    while (!atomic_load(&probe.member) || !atomic_load(&probe.quorate))
        usleep(1000);
    printf("member\n");
    fflush(stdout);
    uint64_t count = strtoull(argv[1], NULL, 10);
    struct transport *transport = corosync_transport(corosync, GROUP_CONFIGURATION);
    uint64_t took = send_all(&probe, transport, count, (uint32_t)strtoul(argv[2], NULL, 10),
                             strtoull(argv[3], NULL, 10), &slowest);
    printf(
        "%llu messages in %llu us: %.0f/s; slowest multicast %llu us; failed %u, disorder %llu\n",
        (unsigned long long)count, (unsigned long long)took, (double)count * 1e6 / (double)took,
        (unsigned long long)slowest, atomic_load(&probe.failed),
        (unsigned long long)probe.disorder);
    uint64_t begin = now_us();
    int stopped = corosync_stop(corosync, 2000);
    printf("stop: %d after %llu us\n", stopped, (unsigned long long)(now_us() - begin));
    corosync_free(corosync);
    return probe.disorder > 0;
}
