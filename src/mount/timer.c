/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What has a time, in a thread of its own. */
#include "mount/timer.h"

#include "base/process.h"
#include "base/thread.h"

#define LOOK_INTERVAL 50000 /* microseconds: a dying caller waits that much longer */
#define LOOKS_WHEN_IDLE 20  /* before the thread sleeps: files are often rewritten in a row */

uint64_t timer_now(void)
{
    return (uint64_t)g_get_monotonic_time() / 1000;
}

/* With the lock held: the thread looks soon. */
static void wake(struct timer *timer)
{
    if (!timer->looks)
        pthread_cond_signal(&timer->there);
}

void timer_watch_caller(struct timer *timer, struct timed *timed)
{
    LOCKED(&timer->lock);
    if (timed->number == 0) {
        timed->number = ++timer->numbers;
        g_ptr_array_add(timer->timed, timed);
    }
    wake(timer);
}

/* With the lock held. */
static void forget(struct timer *timer, struct timed *timed)
{
    if (timed->number > 0)
        g_ptr_array_remove_fast(timer->timed, timed);
    timed->number = 0;
}

void timer_forget(struct timer *timer, struct timed *timed)
{
    LOCKED(&timer->lock);
    forget(timer, timed);
}

void timer_wake(struct timer *timer)
{
    LOCKED(&timer->lock);
    wake(timer);
}

/* --- Callers --- */

/* A request as it was when /proc was to be asked about its caller. */
struct candidate {
    struct timed *timed; /* may have ended since */
    uint64_t number;
    pid_t thread;
};

static GArray *list_candidates(struct timer *timer)
{
    GArray *candidates = g_array_new(false, false, sizeof(struct candidate));

    LOCKED(&timer->lock);
    for (guint i = 0; i < timer->timed->len; i++) {
        struct timed *timed = timer->timed->pdata[i];
        const struct candidate candidate = {timed, timed->number, timed->thread};
        g_array_append_val(candidates, candidate);
    }
    return candidates;
}

/* True if the request is still there, and nobody has answered it: it is ours. */
static bool take(struct timer *timer, const struct candidate *candidate)
{
    bool taken = false;

    LOCKED(&timer->lock);
    for (guint i = 0; i < timer->timed->len && !taken; i++) {
        struct timed *timed = timer->timed->pdata[i];
        taken = timed == candidate->timed && timed->number == candidate->number &&
                timer->owner->take(timed);
    }
    if (taken)
        forget(timer, candidate->timed);
    return taken;
}

static void end_dying(struct timer *timer)
{
    g_autoptr(GArray) candidates = list_candidates(timer);

    for (guint i = 0; i < candidates->len; i++) {
        const struct candidate *candidate = &g_array_index(candidates, struct candidate, i);
        if (process_is_dying(candidate->thread) && take(timer, candidate))
            timer->owner->end(candidate->timed);
    }
}

/* --- The thread --- */

/* Sleeps until it is time to look again. False: the end. */
static bool wait_for_time(struct timer *timer, int *idle)
{
    LOCKED(&timer->lock);
    *idle = timer->timed->len > 0 || truncations_wait(timer->truncations) ? 0 : *idle + 1;
    if (*idle > LOOKS_WHEN_IDLE && !timer->end) {
        timer->looks = false;
        lock_wait(&timer->lock, &timer->there);
    }
    timer->looks = true;
    if (!timer->end)
        lock_wait_until(&timer->lock, &timer->there, g_get_monotonic_time() + LOOK_INTERVAL);
    return !timer->end;
}

static void *run(void *context)
{
    struct timer *timer = context;
    int idle = 0;

    while (wait_for_time(timer, &idle)) {
        end_dying(timer);
        truncations_send_due(timer->truncations, timer_now());
    }
    return NULL;
}

void timer_init(struct timer *timer, struct timer_owner *owner, struct truncations *truncations)
{
    *timer = (struct timer){.owner = owner, .truncations = truncations, .timed = g_ptr_array_new()};
    lock_init(&timer->lock, LOCK_RANK_TIMER);
    thread_condition_init(&timer->there);
}

int timer_start(struct timer *timer)
{
    return thread_start(&timer->thread, run, timer);
}

void timer_stop(struct timer *timer)
{
    lock_take(&timer->lock);
    timer->end = true;
    pthread_cond_signal(&timer->there);
    lock_give(&timer->lock);
    pthread_join(timer->thread, NULL);
}

void timer_destroy(struct timer *timer)
{
    g_ptr_array_unref(timer->timed);
    pthread_cond_destroy(&timer->there);
    lock_destroy(&timer->lock);
}
