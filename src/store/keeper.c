/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The keeper: a thread that brings what is in the journal, and in the log, into config.db, off the
 * writer's way. */
#include "store/keeper.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/util.h"

#define PAGES_DEFAULT 1000u
#define AGE_DEFAULT 300000u
/* After an attempt in vain. */
#define RETRY_MILLISECONDS 2000u

struct keeper {
    struct store_listener listener;
    struct store *store;
    struct keeper_options options;
    pthread_t thread;
    bool failing; /* the last checkpoint failed; the thread's own */
    atomic_uint_fast64_t checkpoints;

    pthread_mutex_t lock; /* never held over I/O; guards what follows */
    pthread_cond_t wake;
    bool stop;
    unsigned int log;    /* rises each time the log starts anew */
    unsigned int pages;  /* in the log */
    unsigned int done;   /* of these, moved into the database */
    uint64_t due;        /* milliseconds when the oldest unmoved commit gets too old; 0: none */
    uint64_t not_before; /* after an attempt in vain: not again until then */
    uint64_t fold_due;   /* milliseconds when the journal is to be folded; 0: nothing is in it */
};

/* A log that has become shorter has started anew, and nothing of it was moved. */
static void note_commit(struct store_listener *listener, unsigned int pages)
{
    struct keeper *keeper = container_of(listener, struct keeper, listener);

    pthread_mutex_lock(&keeper->lock);
    if (pages < keeper->pages) {
        keeper->done = 0;
        keeper->log++;
    }
    keeper->pages = pages;
    bool first = keeper->due == 0;
    if (first)
        keeper->due = clock_milliseconds() + keeper->options.age;
    if (first || keeper->pages - keeper->done >= keeper->options.pages)
        pthread_cond_signal(&keeper->wake);
    pthread_mutex_unlock(&keeper->lock);
}

/* Some of the time that it may wait is for the fold itself. */
static void note_journal(struct store_listener *listener, uint64_t within)
{
    struct keeper *keeper = container_of(listener, struct keeper, listener);
    uint64_t due = clock_milliseconds() + within * 4 / 5;

    pthread_mutex_lock(&keeper->lock);
    if (keeper->fold_due == 0 || due < keeper->fold_due) {
        keeper->fold_due = due;
        pthread_cond_signal(&keeper->wake);
    }
    pthread_mutex_unlock(&keeper->lock);
}

/* When there is something to do, in milliseconds; UINT64_MAX: not before somebody says so. */
static uint64_t next_time(const struct keeper *keeper)
{
    uint64_t fold = keeper->fold_due > 0 ? keeper->fold_due : UINT64_MAX;
    uint64_t due = keeper->due > 0 ? keeper->due : UINT64_MAX;

    if (keeper->pages > keeper->done && keeper->pages - keeper->done >= keeper->options.pages)
        due = 0;
    return due == UINT64_MAX ? fold : MIN(fold, MAX(due, keeper->not_before));
}

/* Waits for work; false: to stop. Holds the lock. */
static bool wait_for_work(struct keeper *keeper)
{
    while (!keeper->stop) {
        uint64_t time = next_time(keeper);
        if (time == UINT64_MAX) {
            pthread_cond_wait(&keeper->wake, &keeper->lock);
            continue;
        }
        if (time <= clock_milliseconds())
            return true;
        struct timespec until = {.tv_sec = (time_t)(time / 1000u),
                                 .tv_nsec = (long)(time % 1000u) * 1000000};
        pthread_cond_timedwait(&keeper->wake, &keeper->lock, &until);
    }
    return false;
}

/* Are there more pages in the log than there should ever be? */
static bool is_too_long(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    bool too_long = keeper->pages >= keeper->options.pages_max;
    pthread_mutex_unlock(&keeper->lock);
    return too_long;
}

/* First in a way that holds up nobody. Under a steady load that never reaches the end of the log,
 * so that it cannot start anew: when it has grown too long the writer waits, for what little came
 * since (or for nothing, if nothing came). */
static int checkpoint(struct keeper *keeper, unsigned int *remaining)
{
    int error = store_checkpoint(keeper->store, false, remaining);

    if ((!error || error == -EBUSY) && is_too_long(keeper))
        error = store_checkpoint(keeper->store, true, remaining);
    /* Somebody reads in the log, or writes: there is a next time. */
    return error == -EBUSY ? 0 : error;
}

/* Holds the lock, but not over the fold. */
static void fold(struct keeper *keeper)
{
    keeper->fold_due = 0;
    pthread_mutex_unlock(&keeper->lock);
    int error = store_fold(keeper->store); /* the store logs it */
    pthread_mutex_lock(&keeper->lock);
    if (error)
        keeper->fold_due = clock_milliseconds() + RETRY_MILLISECONDS;
}

/* Holds the lock, but not over the checkpoint. */
static void move_pages(struct keeper *keeper)
{
    unsigned int log = keeper->log;
    unsigned int pages = keeper->pages;
    unsigned int done = keeper->done;
    unsigned int remaining = 0;

    keeper->due = 0;
    pthread_mutex_unlock(&keeper->lock);
    int error = checkpoint(keeper, &remaining);
    if (error && !keeper->failing)
        log_warning("cannot fold the log into the database: %s", g_strerror(-error));
    keeper->failing = error != 0;
    atomic_fetch_add(&keeper->checkpoints, 1);
    pthread_mutex_lock(&keeper->lock);
    bool vain = error != 0;
    if (keeper->log == log && !error) {
        /* Of the pages known then, that many at least are in the database now. */
        keeper->done = MAX(keeper->done, pages - MIN(pages, remaining));
        vain = keeper->done == done;
    }
    /* A full disk, or somebody who reads an old state for long. */
    keeper->not_before = vain ? clock_milliseconds() + RETRY_MILLISECONDS : 0;
    if (keeper->due == 0 && keeper->pages > keeper->done)
        keeper->due = clock_milliseconds() + keeper->options.age;
}

/* The fold comes first: it is what has to be done in time. */
static void work(struct keeper *keeper)
{
    if (keeper->fold_due > 0 && keeper->fold_due <= clock_milliseconds())
        fold(keeper);
    else
        move_pages(keeper);
}

static void *keeper_main(void *pointer)
{
    struct keeper *keeper = pointer;

    pthread_mutex_lock(&keeper->lock);
    while (wait_for_work(keeper))
        work(keeper);
    pthread_mutex_unlock(&keeper->lock);
    return NULL;
}

static void keeper_free(struct keeper *keeper)
{
    pthread_cond_destroy(&keeper->wake);
    pthread_mutex_destroy(&keeper->lock);
    g_free(keeper);
}

struct keeper *keeper_start(struct store *store, const struct keeper_options *options)
{
    struct keeper *keeper = g_new0(struct keeper, 1);

    keeper->listener.committed = note_commit;
    keeper->listener.journaled = note_journal;
    keeper->fold_due = clock_milliseconds(); /* what a start could not bring in */
    keeper->store = store;
    if (options)
        keeper->options = *options;
    if (keeper->options.pages == 0)
        keeper->options.pages = PAGES_DEFAULT;
    if (keeper->options.pages_max == 0)
        keeper->options.pages_max = 8 * keeper->options.pages;
    if (keeper->options.age == 0)
        keeper->options.age = AGE_DEFAULT;
    pthread_mutex_init(&keeper->lock, NULL);
    thread_condition_init(&keeper->wake);
    int error = thread_start(&keeper->thread, keeper_main, keeper);
    if (error) {
        keeper_free(keeper);
        errno = -error;
        return NULL;
    }
    store_set_listener(store, &keeper->listener);
    return keeper;
}

void keeper_stop(struct keeper *keeper)
{
    if (!keeper)
        return;
    store_set_listener(keeper->store, NULL);
    pthread_mutex_lock(&keeper->lock);
    keeper->stop = true;
    pthread_cond_signal(&keeper->wake);
    pthread_mutex_unlock(&keeper->lock);
    pthread_join(keeper->thread, NULL);
    keeper_free(keeper);
}

uint64_t keeper_checkpoints(const struct keeper *keeper)
{
    return atomic_load(&keeper->checkpoints);
}
