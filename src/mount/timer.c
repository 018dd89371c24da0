/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What has a time: dying callers, truncations that no write followed. */
#include "mount/timer.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/process.h"
#include "base/thread.h"

#define LOOK_INTERVAL_NANOSECONDS 50000000 /* a dying caller waits that much longer */
#define LOOKS_WHEN_IDLE 20 /* before the thread sleeps: files are often rewritten in a row */

/* So much longer a truncation waits for the write of a thread that is on its way there: on a busy
 * machine it, and we, may get no processor for longer than programs think before a write. */
#define BUSY_MILLISECONDS 900u

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

void timer_watch_node(struct timer *timer, struct node *node)
{
    LOCKED(&timer->lock);
    g_ptr_array_add(timer->nodes, node);
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

/* --- Truncations --- */

/* Which truncations are sent. */
struct choice {
    enum {
        CHOICE_ALL,
        CHOICE_CALLER, /* those of a thread, and of threads that have ended */
        CHOICE_DUE,
    } kind;
    pid_t caller;       /* CALLER */
    uint64_t now;       /* DUE: milliseconds */
    const GArray *busy; /* DUE: pid_t, threads that get more time */
};

static bool is_among(const GArray *threads, pid_t thread)
{
    for (guint i = 0; i < threads->len; i++) {
        if (g_array_index(threads, pid_t, i) == thread)
            return true;
    }
    return false;
}

/* The time by which a truncation of that thread's is judged. */
static uint64_t time_for(const struct choice *choice, pid_t opener)
{
    switch (choice->kind) {
    case CHOICE_CALLER:
        if (opener != choice->caller && (kill(opener, 0) == 0 || errno != ESRCH))
            return 0;
        break;
    case CHOICE_DUE:
        return is_among(choice->busy, opener) ? choice->now - BUSY_MILLISECONDS : choice->now;
    case CHOICE_ALL:
        break;
    }
    return UINT64_MAX;
}

/* Takes what is chosen out of the list, and what is no longer to be there. In one piece: whoever
 * chooses at the same time misses nothing. */
static GPtrArray *take_chosen(struct timer *timer, const struct choice *choice)
{
    GPtrArray *chosen = g_ptr_array_new();
    guint stay = 0;

    LOCKED(&timer->lock);
    for (guint i = 0; i < timer->nodes->len; i++) {
        struct node *node = timer->nodes->pdata[i];
        pid_t opener = node_waits_for(timer->table, node);
        switch (node_meet(timer->table, node, time_for(choice, opener))) {
        case NODE_STAYS:
            timer->nodes->pdata[stay++] = node;
            break;
        case NODE_SEND:
            g_ptr_array_add(chosen, node);
            break;
        case NODE_DONE:
            node_unpin(timer->table, node);
            break;
        }
    }
    g_ptr_array_set_size(timer->nodes, (gint)stay);
    return chosen;
}

static void send_chosen(struct timer *timer, const struct choice *choice)
{
    g_autoptr(GPtrArray) chosen = take_chosen(timer, choice);

    for (guint i = 0; i < chosen->len; i++) {
        timer->owner->send(timer->owner, chosen->pdata[i]);
        node_unpin(timer->table, chosen->pdata[i]);
    }
}

static GArray *list_openers(struct timer *timer)
{
    GArray *openers = g_array_new(false, false, sizeof(pid_t));

    LOCKED(&timer->lock);
    for (guint i = 0; i < timer->nodes->len; i++) {
        pid_t opener = node_waits_for(timer->table, timer->nodes->pdata[i]);
        if (opener != 0 && !is_among(openers, opener))
            g_array_append_val(openers, opener);
    }
    return openers;
}

/* /proc may wait for the thread that it is asked about: so no list is held meanwhile. */
static void send_due(struct timer *timer)
{
    g_autoptr(GArray) openers = list_openers(timer);
    g_autoptr(GArray) busy = g_array_new(false, false, sizeof(pid_t));
    const struct choice choice = {.kind = CHOICE_DUE, .now = timer_now(), .busy = busy};

    for (guint i = 0; i < openers->len; i++) {
        pid_t opener = g_array_index(openers, pid_t, i);
        if (process_may_be_writing(opener))
            g_array_append_val(busy, opener);
    }
    send_chosen(timer, &choice);
}

void timer_flush_caller(struct timer *timer, pid_t thread)
{
    const struct choice choice = {.kind = CHOICE_CALLER, .caller = thread};

    if (node_table_waits(timer->table))
        send_chosen(timer, &choice);
}

void timer_flush(struct timer *timer)
{
    const struct choice choice = {.kind = CHOICE_ALL};

    send_chosen(timer, &choice);
}

/* --- The thread --- */

/* Sleeps until it is time to look again. False: the end. */
static bool wait_for_time(struct timer *timer, int *idle)
{
    struct timespec until;

    LOCKED(&timer->lock);
    *idle = timer->timed->len + timer->nodes->len > 0 ? 0 : *idle + 1;
    if (*idle > LOOKS_WHEN_IDLE && !timer->end) {
        timer->looks = false;
        lock_wait(&timer->lock, &timer->there);
    }
    timer->looks = true;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_INTERVAL_NANOSECONDS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (!timer->end)
        lock_wait_until(&timer->lock, &timer->there, &until);
    return !timer->end;
}

static void *run(void *context)
{
    struct timer *timer = context;
    int idle = 0;

    while (wait_for_time(timer, &idle)) {
        end_dying(timer);
        send_due(timer);
    }
    return NULL;
}

void timer_init(struct timer *timer, struct timer_owner *owner, struct node_table *table)
{
    *timer = (struct timer){
        .owner = owner, .table = table, .timed = g_ptr_array_new(), .nodes = g_ptr_array_new()};
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
    for (guint i = 0; i < timer->nodes->len; i++)
        node_unpin(timer->table, timer->nodes->pdata[i]);
    g_ptr_array_unref(timer->nodes);
    g_ptr_array_unref(timer->timed);
    pthread_cond_destroy(&timer->there);
    lock_destroy(&timer->lock);
}
