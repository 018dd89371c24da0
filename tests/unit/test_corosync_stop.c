/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The end of the thread that talks to corosync: how long it is waited for, whatever the wall clock
 * says and corosync does (cluster/corosync.h). */
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "cluster/corosync.h"
#include "cluster/corosync_client.h"

/* Far more than a test takes, far less than the clock jumps by. */
#define PATIENCE 60000u
#define JUMP 3600

/* ---- A corosync that answers when it is told to, and a wall clock that jumps ---- */

static struct {
    sem_t asked;
    sem_t answer;
    atomic_bool answered;
    atomic_int jump; /* seconds */
    struct corosync *corosync;
    struct node_listener *calls; /* is called by the thread, not by corosync */
} fake;

int __wrap_quorum_open(struct corosync *corosync);
int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time);

int __wrap_quorum_open(struct corosync *corosync)
{
    bool calling = fake.calls && corosync_begin_calls(corosync);

    sem_post(&fake.asked);
    sem_wait(&fake.answer);
    if (calling)
        corosync_end_calls(corosync);
    atomic_store(&fake.answered, true);
    return -ENOTCONN;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = __real_clock_gettime(clock, time);

    if (clock == CLOCK_REALTIME)
        time->tv_sec += atomic_load(&fake.jump);
    return result;
}

static void *answer_later(void *unused)
{
    (void)unused;
    g_usleep(200000);
    sem_post(&fake.answer);
    return NULL;
}

static struct group_consumer nobody;
static struct node_listener no_listener;

static void start(struct node_listener *calls)
{
    const struct corosync_options options = {.verify_interval = 3600000, .rejoin_delay = 6000};

    sem_init(&fake.asked, 0, 0);
    sem_init(&fake.answer, 0, 0);
    atomic_store(&fake.answered, false);
    atomic_store(&fake.jump, 0);
    fake.calls = calls;
    fake.corosync = corosync_new(&options);
    assert_int_equal(corosync_start(fake.corosync, &nobody, &nobody, &no_listener), 0);
    sem_wait(&fake.asked);
}

/* ---- */

static void ends_in_time(int jump)
{
    pthread_t thread;

    start(NULL);
    assert_int_equal(thread_start(&thread, answer_later, NULL), 0);
    atomic_store(&fake.jump, jump);
    assert_int_equal(corosync_stop(fake.corosync, PATIENCE), 0);
    assert_true(atomic_load(&fake.answered));
    assert_false(fake.corosync->abandoned);
    corosync_free(fake.corosync);
    pthread_join(thread, NULL);
}

static void test_a_thread_that_ends_is_waited_for(void **state)
{
    (void)state;
    ends_in_time(0);
    ends_in_time(JUMP);
    ends_in_time(-JUMP);
}

/* Lets go on what hung, and frees what was left for it. */
static void clean_up(struct corosync *corosync)
{
    sem_post(&fake.answer);
    lock_take(&corosync->calls);
    while (!corosync->ended)
        lock_wait(&corosync->calls, &corosync->changed);
    lock_give(&corosync->calls);
    corosync->started = false;
    corosync_free(corosync);
}

/* Where it hangs outside of our calls, nobody is called any more. What it may still look at
 * stays. */
static void hangs(int jump)
{
    uint64_t begun = clock_milliseconds();

    start(NULL);
    atomic_store(&fake.jump, jump);
    assert_int_equal(corosync_stop(fake.corosync, 100), 0);
    assert_in_range(clock_milliseconds() - begun, 100, PATIENCE);
    assert_false(atomic_load(&fake.answered));
    assert_false(corosync_begin_calls(fake.corosync));
    corosync_free(fake.corosync);
    clean_up(fake.corosync);
}

static void test_a_thread_that_hangs_is_abandoned(void **state)
{
    (void)state;
    hangs(0);
    hangs(JUMP);
    hangs(-JUMP);
}

/* What it uses in a call must not be freed. */
static void test_a_call_that_does_not_return(void **state)
{
    (void)state;
    start(&no_listener);
    atomic_store(&fake.jump, JUMP);
    assert_int_equal(corosync_stop(fake.corosync, 100), -EBUSY);
    assert_false(fake.corosync->abandoned);
    sem_post(&fake.answer);
    /* Then it ends by itself. */
    assert_int_equal(corosync_stop(fake.corosync, PATIENCE), 0);
    corosync_free(fake.corosync);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thread_that_ends_is_waited_for),
        cmocka_unit_test(test_a_thread_that_hangs_is_abandoned),
        cmocka_unit_test(test_a_call_that_does_not_return),
    };

    log_detach(); /* warnings are expected */
    return cmocka_run_group_tests_name("stop of corosync", tests, NULL, NULL);
}
