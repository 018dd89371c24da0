/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two threads that run one at a time, in an order that comes from a seed. */
#include "turns.h"

#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"
#include "base/thread.h"

/* ThreadSanitizer must not take the turns for an order that the program makes: what it sees are
 * the program's own locks alone. (The other files of the test are built without it: they are right
 * only because of the turns.) */
#ifdef TURNS_UNSEEN
void AnnotateIgnoreSyncBegin(const char *file, int line);
void AnnotateIgnoreSyncEnd(const char *file, int line);
#define UNSEEN_BEGIN() AnnotateIgnoreSyncBegin(__FILE__, __LINE__)
#define UNSEEN_END() AnnotateIgnoreSyncEnd(__FILE__, __LINE__)
#else
#define UNSEEN_BEGIN() ((void)0)
#define UNSEEN_END() ((void)0)
#endif

#define LOCKS_MAX 8
#define CHANGE_PERCENT 25 /* of the places where the turn may change */

enum waiting { WAITS_NOT, WAITS_LOCK, WAITS_CONDITION, WAITS_END, ENDED };

struct part {
    enum waiting waits;
    const void *object; /* the lock or condition */
    uint64_t until;     /* WAITS_CONDITION: milliseconds; UINT64_MAX: a signal only */
    bool signalled;
    const struct lock *held[LOCKS_MAX];
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool on;
    int turn;      /* whose it is */
    bool has_both; /* the second one was started */
    struct part parts[2];
    GRand *random;
    uint64_t now;
    unsigned changes;
    void *(*run)(void *argument);
    void *argument;
} turns = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static _Thread_local int self = -1;

static bool takes_part(void)
{
    return turns.on && self >= 0;
}

/* ---- Whose turn it is. What follows is touched only by who has it. ---- */

static bool is_held(const struct part *part, const struct lock *lock)
{
    for (int i = 0; i < LOCKS_MAX; i++) {
        if (part->held[i] == lock)
            return true;
    }
    return false;
}

static bool can_run(int who)
{
    const struct part *part = &turns.parts[who];

    switch (part->waits) {
    case WAITS_NOT:
        return who == 0 || turns.has_both;
    case WAITS_LOCK:
        return !is_held(&turns.parts[1 - who], part->object);
    case WAITS_CONDITION:
        return part->signalled || turns.now >= part->until;
    case WAITS_END:
        return turns.parts[1 - who].waits == ENDED;
    case ENDED:
        break;
    }
    return false;
}

static void wait_for_turn(void)
{
    UNSEEN_BEGIN();
    pthread_mutex_lock(&turns.mutex);
    while (turns.turn != self)
        pthread_cond_wait(&turns.changed, &turns.mutex);
    pthread_mutex_unlock(&turns.mutex);
    UNSEEN_END();
}

static void hand_over(void)
{
    UNSEEN_BEGIN();
    pthread_mutex_lock(&turns.mutex);
    turns.turn = 1 - self;
    turns.changes++;
    pthread_cond_broadcast(&turns.changed);
    pthread_mutex_unlock(&turns.mutex);
    UNSEEN_END();
}

/* This one cannot go on; time passes if the other cannot either. */
static void wait_here(enum waiting waits, const void *object, uint64_t until)
{
    struct part *part = &turns.parts[self];
    const struct part *other = &turns.parts[1 - self];

    part->waits = waits;
    part->object = object;
    part->until = until;
    part->signalled = false;
    while (!can_run(self)) {
        if (!can_run(1 - self)) {
            uint64_t next = MIN(waits == WAITS_CONDITION ? until : UINT64_MAX,
                                other->waits == WAITS_CONDITION ? other->until : UINT64_MAX);
            if (next == UINT64_MAX) {
                fprintf(stderr, "both threads wait for each other\n");
                abort();
            }
            turns.now = next;
            continue;
        }
        hand_over();
        wait_for_turn();
    }
    part->waits = WAITS_NOT;
}

void turns_give(void)
{
    if (!takes_part() || !can_run(1 - self))
        return;
    hand_over();
    wait_for_turn();
}

void turns_may_change(void)
{
    if (takes_part() && g_rand_int_range(turns.random, 0, 100) < CHANGE_PERCENT)
        turns_give();
}

/* ---- What the linker sends here ---- */

void __real_lock_take(struct lock *lock);
void __wrap_lock_take(struct lock *lock);
void __real_lock_give(struct lock *lock);
void __wrap_lock_give(struct lock *lock);
void __real_lock_wait(struct lock *lock, pthread_cond_t *condition);
void __wrap_lock_wait(struct lock *lock, pthread_cond_t *condition);
int __real_lock_wait_until(struct lock *lock, pthread_cond_t *condition, int64_t until);
int __wrap_lock_wait_until(struct lock *lock, pthread_cond_t *condition, int64_t until);
int __real_pthread_cond_signal(pthread_cond_t *condition);
int __wrap_pthread_cond_signal(pthread_cond_t *condition);
int __real_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_join(pthread_t thread, void **result);
int __real_thread_start(pthread_t *thread, void *(*run)(void *argument), void *argument);
int __wrap_thread_start(pthread_t *thread, void *(*run)(void *argument), void *argument);
uint64_t __real_clock_milliseconds(void);
uint64_t __wrap_clock_milliseconds(void);

static void note_held(const struct lock *before, const struct lock *after)
{
    struct part *part = &turns.parts[self];

    for (int i = 0; i < LOCKS_MAX; i++) {
        if (part->held[i] == before) {
            part->held[i] = after;
            return;
        }
    }
    abort();
}

void __wrap_lock_take(struct lock *lock)
{
    if (takes_part()) {
        turns_may_change();
        wait_here(WAITS_LOCK, lock, UINT64_MAX);
        note_held(NULL, lock);
    }
    __real_lock_take(lock);
}

void __wrap_lock_give(struct lock *lock)
{
    if (takes_part())
        note_held(lock, NULL);
    __real_lock_give(lock);
}

/* The order of locks is not looked at here: the thread has this one again afterwards. */
static void wait_without(struct lock *lock, const pthread_cond_t *condition, uint64_t until)
{
    note_held(lock, NULL);
    pthread_mutex_unlock(&lock->mutex);
    wait_here(WAITS_CONDITION, condition, until);
    wait_here(WAITS_LOCK, lock, UINT64_MAX);
    note_held(NULL, lock);
    pthread_mutex_lock(&lock->mutex);
}

void __wrap_lock_wait(struct lock *lock, pthread_cond_t *condition)
{
    if (takes_part())
        wait_without(lock, condition, UINT64_MAX);
    else
        __real_lock_wait(lock, condition);
}

int __wrap_lock_wait_until(struct lock *lock, pthread_cond_t *condition, int64_t until)
{
    if (!takes_part())
        return __real_lock_wait_until(lock, condition, until);
    wait_without(lock, condition, (uint64_t)until / 1000);
    return 0;
}

int __wrap_pthread_cond_signal(pthread_cond_t *condition)
{
    if (!takes_part())
        return __real_pthread_cond_signal(condition);
    struct part *other = &turns.parts[1 - self];
    if (other->waits == WAITS_CONDITION && other->object == condition)
        other->signalled = true;
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **result)
{
    if (takes_part())
        wait_here(WAITS_END, NULL, UINT64_MAX);
    return __real_pthread_join(thread, result);
}

static void *run_second(void *unused)
{
    (void)unused;
    self = 1;
    wait_for_turn();
    void *result = turns.run(turns.argument);
    turns.parts[1].waits = ENDED;
    hand_over();
    return result;
}

int __wrap_thread_start(pthread_t *thread, void *(*run)(void *argument), void *argument)
{
    if (!takes_part())
        return __real_thread_start(thread, run, argument);
    turns.run = run;
    turns.argument = argument;
    turns.has_both = true;
    return __real_thread_start(thread, run_second, NULL);
}

uint64_t __wrap_clock_milliseconds(void)
{
    return takes_part() ? turns.now : __real_clock_milliseconds();
}

/* ---- Outside ---- */

static uint64_t clock_now(struct clock_source *clock)
{
    (void)clock;
    return turns.now;
}

struct clock_source *turns_clock(void)
{
    static struct clock_source clock;

    clock_source_system(&clock);
    clock.milliseconds = clock_now;
    return &clock;
}

void turns_advance(uint64_t milliseconds)
{
    turns.now += milliseconds;
}

unsigned turns_changes(void)
{
    return turns.changes;
}

void turns_start(uint32_t seed)
{
    self = 0;
    turns.turn = 0;
    turns.has_both = false;
    turns.parts[0] = turns.parts[1] = (struct part){0};
    turns.random = g_rand_new_with_seed(seed);
    turns.now = 1000000;
    turns.changes = 0;
    turns.on = true;
}

void turns_stop(void)
{
    turns.on = false;
    self = -1;
    g_rand_free(turns.random);
}
