/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What has a time: callers that are dying (their requests end with EINTR, while those who only got
 * a signal go on waiting), names that are slow to drop, look-ups and truncations that wait. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/thread.h"
#include "mount/internal.h"

#define LOOK_INTERVAL_NANOSECONDS 50000000 /* a dying caller waits that much longer */
#define LOOKS_WHEN_IDLE 20 /* before the thread sleeps: files are often rewritten in a row */

/* Signals that do not end a process that has not said anything about them. */
static uint64_t harmless_signals(void)
{
    static const int numbers[] = {SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP,
                                  SIGTTIN, SIGTTOU, SIGURG,  SIGWINCH};
    uint64_t mask = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
        mask |= 1ull << (numbers[i] - 1);
    return mask;
}

/* The signal masks of a thread, as /proc shows them. */
struct signal_masks {
    uint64_t pending;
    uint64_t blocked;
    uint64_t ignored;
    uint64_t caught;
};

/* False: the thread is no more. */
static bool read_signal_masks(pid_t thread, struct signal_masks *masks)
{
    char path[64];
    char line[256];
    unsigned long long value;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "SigPnd: %llx", &value) == 1 || sscanf(line, "ShdPnd: %llx", &value) == 1)
            masks->pending |= value;
        else if (sscanf(line, "SigBlk: %llx", &value) == 1)
            masks->blocked = value;
        else if (sscanf(line, "SigIgn: %llx", &value) == 1)
            masks->ignored = value;
        else if (sscanf(line, "SigCgt: %llx", &value) == 1)
            masks->caught = value;
    }
    fclose(file);
    return true;
}

static bool is_dying(pid_t thread)
{
    struct signal_masks masks = {0};

    if (!read_signal_masks(thread, &masks))
        return true;
    if (masks.pending & (1ull << (SIGKILL - 1)))
        return true;
    return masks.pending & ~(masks.blocked | masks.ignored | masks.caught | harmless_signals());
}

/* Makes sure that the thread looks soon. With the watch lock held. */
static void wake_watch(struct mount *mount)
{
    if (!mount->watching)
        pthread_cond_signal(&mount->watch_there);
}

/* libfuse calls this with a lock of the request's held, in a worker. */
static void note_interrupt(fuse_req_t req, void *context)
{
    struct request *request = context;
    struct mount *mount = request->mount;

    (void)req;
    pthread_mutex_lock(&mount->watch_lock);
    if (!request->interrupted) {
        request->interrupted = true;
        g_ptr_array_add(mount->interrupted, request);
        wake_watch(mount);
    }
    pthread_mutex_unlock(&mount->watch_lock);
}

void watch_request(struct request *request)
{
    if (request->req)
        fuse_req_interrupt_func(request->req, note_interrupt, request);
}

void unwatch_request(struct request *request)
{
    struct mount *mount = request->mount;

    if (!request->req)
        return;
    /* After this call no note_interrupt() runs or will run for the request. */
    fuse_req_interrupt_func(request->req, NULL, NULL);
    pthread_mutex_lock(&mount->watch_lock);
    if (request->interrupted)
        g_ptr_array_remove_fast(mount->interrupted, request);
    pthread_mutex_unlock(&mount->watch_lock);
}

void watch_deadline(struct mount *mount, struct node *node)
{
    pthread_mutex_lock(&mount->watch_lock);
    g_ptr_array_add(mount->deadlines, node);
    wake_watch(mount);
    pthread_mutex_unlock(&mount->watch_lock);
}

void unwatch_deadline(struct mount *mount, struct node *node)
{
    pthread_mutex_lock(&mount->watch_lock);
    g_ptr_array_remove_fast(mount->deadlines, node);
    pthread_mutex_unlock(&mount->watch_lock);
}

void watch_drop(struct mount *mount, struct name_drop *drop)
{
    pthread_mutex_lock(&mount->watch_lock);
    g_ptr_array_add(mount->drops, drop);
    wake_watch(mount);
    pthread_mutex_unlock(&mount->watch_lock);
}

void unwatch_drop(struct mount *mount, struct name_drop *drop)
{
    pthread_mutex_lock(&mount->watch_lock);
    g_ptr_array_remove_fast(mount->drops, drop);
    pthread_mutex_unlock(&mount->watch_lock);
    if (drop->request)
        request_finish(drop->request, drop->result);
    node_unpin(mount, drop->node);
    g_free(drop);
}

/* One whose time has come: its request, and what to answer; NULL: none. */
static struct request *take_late_drop(struct mount *mount, uint64_t now, int *result)
{
    struct request *request = NULL;

    pthread_mutex_lock(&mount->watch_lock);
    for (guint i = 0; i < mount->drops->len && !request; i++) {
        struct name_drop *drop = mount->drops->pdata[i];
        if (drop->due > now)
            continue;
        request = drop->request;
        drop->request = NULL;
        *result = drop->result;
    }
    pthread_mutex_unlock(&mount->watch_lock);
    return request;
}

static void answer_late_drops(struct mount *mount, uint64_t now)
{
    struct request *request;
    int result = 0;

    while ((request = take_late_drop(mount, now, &result)))
        request_finish(request, result);
}

/* Longer than a change takes on a node that is well; a path must be found also on one that is not.
 */
#define LOOKUP_MILLISECONDS 500u

void watch_lookup(struct mount *mount, struct node *node, fuse_req_t req, fuse_ino_t parent,
                  const char *name)
{
    struct late_lookup *lookup = g_new(struct late_lookup, 1);

    *lookup = (struct late_lookup){.node = node,
                                   .due = watch_now() + LOOKUP_MILLISECONDS,
                                   .req = req,
                                   .parent = parent,
                                   .name = g_strdup(name)};
    pthread_mutex_lock(&mount->watch_lock);
    g_ptr_array_add(mount->lookups, lookup);
    wake_watch(mount);
    pthread_mutex_unlock(&mount->watch_lock);
}

/* One that waits for `node`, or (NULL) that is due by then; NULL: none. */
static struct late_lookup *take_lookup(struct mount *mount, const struct node *node, uint64_t now)
{
    struct late_lookup *taken = NULL;

    pthread_mutex_lock(&mount->watch_lock);
    for (guint i = 0; i < mount->lookups->len && !taken; i++) {
        struct late_lookup *lookup = mount->lookups->pdata[i];
        if (node ? lookup->node == node : lookup->due <= now)
            taken = g_ptr_array_remove_index_fast(mount->lookups, i);
    }
    pthread_mutex_unlock(&mount->watch_lock);
    return taken;
}

static void answer_lookup(struct mount *mount, struct late_lookup *lookup)
{
    look_up(lookup->req, lookup->parent, lookup->name);
    node_unpin(mount, lookup->node);
    g_free(lookup->name);
    g_free(lookup);
}

void answer_lookups_of(struct mount *mount, const struct node *node)
{
    struct late_lookup *lookup;

    while ((lookup = take_lookup(mount, node, 0)))
        answer_lookup(mount, lookup);
}

/* With what is there: the truncation takes too long. */
static void answer_late_lookups(struct mount *mount, uint64_t now)
{
    struct late_lookup *lookup;

    while ((lookup = take_lookup(mount, NULL, now)))
        answer_lookup(mount, lookup);
}

uint64_t watch_now(void)
{
    return (uint64_t)g_get_monotonic_time() / 1000;
}

/* Takes back the requests of dying callers. A request in the list cannot end meanwhile: its answer
 * would wait for the lock. */
static GPtrArray *take_dying(struct mount *mount)
{
    GPtrArray *dying = g_ptr_array_new();

    pthread_mutex_lock(&mount->watch_lock);
    for (guint i = mount->interrupted->len; i-- > 0;) {
        struct request *request = mount->interrupted->pdata[i];
        if (!is_dying(request->thread) || !replica_cancel(mount->options.replica, &request->caller))
            continue;
        request->interrupted = false;
        g_ptr_array_remove_index_fast(mount->interrupted, i);
        g_ptr_array_add(dying, request);
    }
    pthread_mutex_unlock(&mount->watch_lock);
    return dying;
}

/* Sleeps until it is time to look again. False: the end. */
static bool wait_for_time(struct mount *mount, int *idle)
{
    struct timespec until;

    pthread_mutex_lock(&mount->watch_lock);
    bool busy =
        mount->interrupted->len + mount->deadlines->len + mount->drops->len + mount->lookups->len >
        0;
    *idle = busy ? 0 : *idle + 1;
    if (*idle > LOOKS_WHEN_IDLE && !mount->end_watch) {
        mount->watching = false;
        pthread_cond_wait(&mount->watch_there, &mount->watch_lock);
    }
    mount->watching = true;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_INTERVAL_NANOSECONDS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (!mount->end_watch)
        pthread_cond_timedwait(&mount->watch_there, &mount->watch_lock, &until);
    bool goes_on = !mount->end_watch;
    pthread_mutex_unlock(&mount->watch_lock);
    return goes_on;
}

static void *watch(void *context)
{
    struct mount *mount = context;
    int idle = 0;

    while (wait_for_time(mount, &idle)) {
        g_autoptr(GPtrArray) dying = take_dying(mount);
        for (guint i = 0; i < dying->len; i++)
            request_finish(dying->pdata[i], -EINTR);
        answer_late_drops(mount, watch_now());
        answer_late_lookups(mount, watch_now());
        deadlines_meet(mount, watch_now());
    }
    return NULL;
}

void watch_init(struct mount *mount)
{
    pthread_mutex_init(&mount->watch_lock, NULL);
    thread_condition_init(&mount->watch_there);
    mount->interrupted = g_ptr_array_new();
    mount->deadlines = g_ptr_array_new();
    mount->drops = g_ptr_array_new();
    mount->lookups = g_ptr_array_new();
}

int watch_start(struct mount *mount)
{
    return -pthread_create(&mount->watch, NULL, watch, mount);
}

void watch_stop(struct mount *mount)
{
    pthread_mutex_lock(&mount->watch_lock);
    mount->end_watch = true;
    pthread_cond_signal(&mount->watch_there);
    pthread_mutex_unlock(&mount->watch_lock);
    pthread_join(mount->watch, NULL);
    answer_late_lookups(mount, UINT64_MAX);
}

void watch_destroy(struct mount *mount)
{
    for (guint i = 0; i < mount->deadlines->len; i++)
        node_unpin(mount, mount->deadlines->pdata[i]);
    g_ptr_array_unref(mount->lookups);
    g_ptr_array_unref(mount->drops);
    g_ptr_array_unref(mount->deadlines);
    g_ptr_array_unref(mount->interrupted);
    pthread_cond_destroy(&mount->watch_there);
    pthread_mutex_destroy(&mount->watch_lock);
}
