/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The threads that serve the kernel's requests. */
#include <errno.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "mount/internal.h"

/* The kernel gives each request to the thread that has waited longest. Threads that take turns run
 * on all processors in turn, and each wake-up of another processor takes longer than most requests
 * do. So one thread reads as long as requests are short; the others are spare, and step in when it
 * is held up: by a disk, or by a lock that the kernel has for somebody whose request waits. */

#define NO_MEMORY_PAUSE_MICROSECONDS                                                               \
    100000u /* until memory for a request's buffer is asked for again */
#define WAKE_SIGNAL SIGUSR1
#define WAKE_INTERVAL_MICROSECONDS 5000

/* While there are changes, a spare worker looks so often whether requests get on; two looks show
 * that they do not. */
#define LOOK_NANOSECONDS 2000000
#define LOOKS_WHEN_IDLE 5

/* Changes that take longer wait for a disk, and are worth being collected by all workers: they
 * share one transaction. What takes less is a worker that lost its processor. */
#define LONG_CHANGE_NANOSECONDS 500000u
#define LONGEST_NANOSECONDS (4 * LONG_CHANGE_NANOSECONDS) /* one that is longer says no more */
#define CHANGES_SMOOTHED 8

static bool changes_are_long(const struct workers *workers)
{
    return atomic_load_explicit(&workers->change_time, memory_order_relaxed) >
           LONG_CHANGE_NANOSECONDS;
}

/* --- Spare workers --- */

/* With the lock held. */
static void wait_a_while(struct workers *workers)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_NANOSECONDS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&workers->turn, &workers->lock, &until);
}

static bool is_wanted(const struct workers *workers)
{
    return workers->ended || workers->called > 0 || changes_are_long(workers);
}

/* Looks whether requests get on, for as long as there are any. True: nobody reads, all who should
 * are held up. With the lock held. */
static bool look(struct workers *workers)
{
    unsigned int held_up = 0;
    unsigned int idle = 0;

    while (!is_wanted(workers)) {
        unsigned int done = atomic_load(&workers->done);
        wait_a_while(workers);
        bool none_done = atomic_load(&workers->done) == done;
        held_up = none_done && atomic_load(&workers->busy) >= workers->reading ? held_up + 1 : 0;
        idle = none_done && atomic_load(&workers->busy) == 0 ? idle + 1 : 0;
        if (held_up > 1)
            return true;
        if (idle < LOOKS_WHEN_IDLE)
            continue;
        /* Whoever becomes busy from here on sees that nobody looks. */
        atomic_store(&workers->watched, false);
        if (atomic_load(&workers->busy) == 0)
            return false;
        atomic_store(&workers->watched, true);
    }
    return false;
}

/* Waits until one more has to read. False: the end. */
static bool await_turn(struct workers *workers)
{
    bool held_up = false;

    pthread_mutex_lock(&workers->lock);
    while (!is_wanted(workers) && !held_up) {
        if (workers->looks || !atomic_load(&workers->watched)) {
            pthread_cond_wait(&workers->turn, &workers->lock);
            continue;
        }
        workers->looks = true;
        held_up = look(workers);
        workers->looks = false;
        atomic_store(&workers->watched, false);
    }
    if (workers->called > 0)
        workers->called--;
    workers->reading++;
    bool goes_on = !workers->ended;
    pthread_mutex_unlock(&workers->lock);
    return goes_on;
}

void workers_watch(struct workers *workers)
{
    if (atomic_load(&workers->watched))
        return;
    pthread_mutex_lock(&workers->lock);
    atomic_store(&workers->watched, true);
    pthread_cond_signal(&workers->turn);
    pthread_mutex_unlock(&workers->lock);
}

void workers_step_in(struct workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    if (atomic_load(&workers->busy) >= workers->reading && workers->reading < WORKERS &&
        workers->called == 0) {
        workers->called++;
        pthread_cond_signal(&workers->turn);
    }
    pthread_mutex_unlock(&workers->lock);
}

/* --- Those who read --- */

/* True if the caller, who has just finished a request, is spare from now on: another one waits for
 * requests. */
static bool step_back(struct workers *workers)
{
    if (changes_are_long(workers))
        return false;
    pthread_mutex_lock(&workers->lock);
    bool spare = workers->reading > atomic_load(&workers->busy) + 1;
    if (spare)
        workers->reading--;
    pthread_mutex_unlock(&workers->lock);
    return spare;
}

static void note_change(struct workers *workers, uint64_t nanoseconds)
{
    bool were_long = changes_are_long(workers);
    int64_t average = atomic_load_explicit(&workers->change_time, memory_order_relaxed);

    average += ((int64_t)MIN(nanoseconds, LONGEST_NANOSECONDS) - average) / CHANGES_SMOOTHED;
    atomic_store_explicit(&workers->change_time, (unsigned int)average, memory_order_relaxed);
    if (were_long || !changes_are_long(workers))
        return;
    pthread_mutex_lock(&workers->lock);
    pthread_cond_broadcast(&workers->turn);
    pthread_mutex_unlock(&workers->lock);
}

static void work_on(struct mount *mount, const struct fuse_buf *buffer)
{
    struct workers *workers = &mount->workers;
    struct operation operation;

    atomic_fetch_add(&workers->busy, 1);
    operation_begin(mount, buffer, &operation);
    fuse_session_process_buf(mount->session, buffer);
    if (operation_changes(operation.kind))
        note_change(workers, metrics_now() - operation.begun);
    operation_end(mount, &operation);
    atomic_fetch_add(&workers->done, 1);
    atomic_fetch_sub(&workers->busy, 1);
}

/* Serves requests until this worker is spare (true) or the end comes. */
static bool serve(struct mount *mount, struct fuse_buf *buffer)
{
    struct workers *workers = &mount->workers;

    while (!atomic_load(&mount->stopping)) {
        int size = fuse_session_receive_buf(mount->session, buffer);
        if (size == -EINTR || size == -EAGAIN)
            continue;
        if (size == -ENOMEM) { /* for the buffer: no reason to end the mount */
            usleep(NO_MEMORY_PAUSE_MICROSECONDS);
            continue;
        }
        if (size <= 0)
            break;
        work_on(mount, buffer);
        if (workers->reading > 1 && step_back(workers))
            return true;
    }
    return false;
}

static void end(struct workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    workers->ended = true;
    pthread_cond_broadcast(&workers->turn);
    pthread_mutex_unlock(&workers->lock);
}

static void *work(void *context)
{
    struct worker *worker = context;
    struct mount *mount = worker->mount;
    struct fuse_buf buffer = {0};
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, WAKE_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    while (await_turn(&mount->workers) && serve(mount, &buffer)) {
    }
    free(buffer.mem);
    /* The first to find the mount gone tells. */
    if (!atomic_exchange(&mount->stopping, true) && !atomic_load(&mount->unmounting))
        mount->options.unmounted(mount->options.context);
    end(&mount->workers);
    atomic_store(&worker->running, false);
    return NULL;
}

static void wake(int signal_number)
{
    (void)signal_number; /* it is enough that read() comes back */
}

void workers_init(struct workers *workers)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->turn, &attributes);
    pthread_condattr_destroy(&attributes);
    workers->called = 1;
}

void workers_destroy(struct workers *workers)
{
    pthread_cond_destroy(&workers->turn);
    pthread_mutex_destroy(&workers->lock);
}

int workers_start(struct mount *mount)
{
    struct sigaction action = {.sa_handler = wake};
    int error = 0;

    sigaction(WAKE_SIGNAL, &action, NULL);
    for (int i = 0; i < WORKERS && !error; i++) {
        struct worker *worker = &mount->workers.all[i];
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
    end(&mount->workers);
    for (int i = 0; i < WORKERS; i++) {
        struct worker *worker = &mount->workers.all[i];
        while (atomic_load(&worker->running)) {
            pthread_kill(worker->thread, WAKE_SIGNAL);
            usleep(WAKE_INTERVAL_MICROSECONDS);
        }
        pthread_join(worker->thread, NULL);
    }
}
