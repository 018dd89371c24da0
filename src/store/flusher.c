/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The flusher: a thread that brings what is in the journal into config.db, off the writer's way. */
#include "store/flusher.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/thread.h"
#include "base/util.h"

/* After an attempt in vain, and when it was put off by the witness. */
#define RETRY_MILLISECONDS 2000u
#define PUT_OFF_MILLISECONDS 200u

struct flusher {
    struct store_listener listener;
    struct store *store;
    pthread_t thread;

    struct lock lock; /* never held over I/O; guards what follows */
    pthread_cond_t wake;
    bool stop;
    uint64_t due; /* milliseconds when to flush; 0: nothing is to be flushed */
};

/* Some of the time that it may wait is for the flush itself. */
static void flush_wanted(struct store_listener *listener, uint64_t within)
{
    struct flusher *flusher = container_of(listener, struct flusher, listener);
    uint64_t due = clock_milliseconds() + within * 4 / 5;

    LOCKED(&flusher->lock);
    if (flusher->due == 0 || due < flusher->due) {
        flusher->due = due;
        pthread_cond_signal(&flusher->wake);
    }
}

/* Waits until a flush is due; false: to stop. Holds the lock. */
static bool wait_for_work(struct flusher *flusher)
{
    while (!flusher->stop) {
        uint64_t due = flusher->due;
        if (due == 0) {
            lock_wait(&flusher->lock, &flusher->wake);
            continue;
        }
        if (due <= clock_milliseconds())
            return true;
        lock_wait_until(&flusher->lock, &flusher->wake, (int64_t)due * 1000);
    }
    return false;
}

static void *flusher_main(void *pointer)
{
    struct flusher *flusher = pointer;

    lock_take(&flusher->lock);
    while (wait_for_work(flusher)) {
        flusher->due = 0;
        lock_give(&flusher->lock);
        int error = store_flush(flusher->store); /* the store logs it */
        lock_take(&flusher->lock);
        if (error) /* whatever was wanted meanwhile */
            flusher->due = clock_milliseconds() +
                           (error == -EAGAIN ? PUT_OFF_MILLISECONDS : RETRY_MILLISECONDS);
    }
    lock_give(&flusher->lock);
    return NULL;
}

static void flusher_free(struct flusher *flusher)
{
    pthread_cond_destroy(&flusher->wake);
    lock_destroy(&flusher->lock);
    g_free(flusher);
}

struct flusher *flusher_start(struct store *store)
{
    struct flusher *flusher = g_new0(struct flusher, 1);

    flusher->listener.flush_wanted = flush_wanted;
    flusher->store = store;
    flusher->due = clock_milliseconds(); /* what a start could not bring in */
    lock_init(&flusher->lock, LOCK_RANK_FLUSHER);
    thread_condition_init(&flusher->wake);
    int error = thread_start(&flusher->thread, flusher_main, flusher);
    if (error) {
        flusher_free(flusher);
        errno = -error;
        return NULL;
    }
    store_set_listener(store, &flusher->listener);
    return flusher;
}

void flusher_stop(struct flusher *flusher)
{
    if (!flusher)
        return;
    store_set_listener(flusher->store, NULL);
    lock_take(&flusher->lock);
    flusher->stop = true;
    pthread_cond_signal(&flusher->wake);
    lock_give(&flusher->lock);
    pthread_join(flusher->thread, NULL);
    flusher_free(flusher);
}
