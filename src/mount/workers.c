/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The threads that serve the kernel's requests. */
#include "mount/workers.h"

#include <linux/fuse.h>
#include <signal.h>
#include <unistd.h>

#include "mount/virtual.h"
#include "status/activity.h"

#define NO_MEMORY_PAUSE_MICROSECONDS                                                               \
    100000u /* until memory for a request's buffer is asked for again */
#define WAKE_SIGNAL SIGUSR1
#define WAKE_INTERVAL_MICROSECONDS 5000

static char *path_of(struct mount *mount, uint64_t id, const char *name)
{
    const struct node *node = node_of_id(mount, id);
    g_autofree char *path = NULL;

    if (node->virtual_name != VIRTUAL_NONE)
        return g_strdup(virtual_text_name(node->virtual_name));
    path = path_of_node(mount, node);
    if (!name)
        return g_strdup(path ? path : "?");
    return g_strconcat(path ? path : "?", path && !*path ? "" : "/", name, NULL);
}

/* For who watches who asks for what. */
static void tell(struct mount *mount, const struct fuse_buf *buffer, enum operation_kind kind)
{
    const struct fuse_in_header *header = buffer->mem;
    g_autofree char *path = NULL;
    const char *name;
    uint64_t node;

    if (!operation_target(buffer, &node, &name))
        return;
    path = path_of(mount, node, name);
    activity_note(mount->options.activity, operation_name(kind), path, (pid_t)header->pid);
}

static void work_on(struct mount *mount, const struct fuse_buf *buffer)
{
    struct operation operation;

    operation_begin(buffer, &operation);
    if (activity_is_watched(mount->options.activity))
        tell(mount, buffer, operation.kind);
    fuse_session_process_buf(mount->session, buffer);
    operation_end(mount->options.metrics, &operation);
}

/* Serves requests until the end comes. */
static void serve(struct mount *mount)
{
    struct fuse_buf buffer = {0};

    while (!atomic_load(&mount->stopping)) {
        int size = fuse_session_receive_buf(mount->session, &buffer);
        if (size == -EINTR || size == -EAGAIN)
            continue;
        if (size == -ENOMEM) { /* for the buffer: no reason to end the mount */
            usleep(NO_MEMORY_PAUSE_MICROSECONDS);
            continue;
        }
        if (size <= 0)
            break;
        work_on(mount, &buffer);
    }
    free(buffer.mem);
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct mount *mount = worker->mount;
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, WAKE_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    serve(mount);
    /* The first to find the mount gone tells. */
    if (!atomic_exchange(&mount->stopping, true) && !atomic_load(&mount->unmounting))
        mount->options.listener->unmounted(mount->options.listener);
    atomic_store(&worker->running, false);
    return NULL;
}

static void wake(int signal_number)
{
    (void)signal_number; /* it is enough that read() comes back */
}

int workers_start(struct mount *mount)
{
    struct sigaction action = {.sa_handler = wake};
    int error = 0;

    sigaction(WAKE_SIGNAL, &action, NULL);
    for (int i = 0; i < WORKERS && !error; i++) {
        struct worker *worker = &mount->workers[i];
        worker->mount = mount;
        atomic_store(&worker->running, true);
        error = -pthread_create(&worker->thread, NULL, work, worker);
    }
    return error;
}

/* A signal that comes just before read() is lost, so it is sent until the worker has ended. */
void workers_stop(struct mount *mount)
{
    atomic_store(&mount->stopping, true);
    for (int i = 0; i < WORKERS; i++) {
        struct worker *worker = &mount->workers[i];
        while (atomic_load(&worker->running)) {
            pthread_kill(worker->thread, WAKE_SIGNAL);
            usleep(WAKE_INTERVAL_MICROSECONDS);
        }
        pthread_join(worker->thread, NULL);
    }
}
