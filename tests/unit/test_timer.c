/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unit tests of the mount's timer: whose truncations are sent when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <semaphore.h>
#include <unistd.h>

#include "base/util.h"
#include "mount/timer.h"

#define INODE 7u

bool __wrap_process_may_be_writing(pid_t thread);

struct fixture {
    struct timer_owner owner;
    struct timer timer;
    struct kernel_metrics metrics;
    struct node_table table;
    struct node *node;
    unsigned int sent;
    unsigned int sent_while_looking;
    sem_t looked;
};

static struct fixture *running; /* what the timer's thread asks about */

static void note_sent(struct timer_owner *owner, struct node *node)
{
    struct fixture *fixture = container_of(owner, struct fixture, owner);

    assert_ptr_equal(node, fixture->node);
    fixture->sent++;
}

/* While the timer asks of a thread, that thread asks for its next change. */
bool __wrap_process_may_be_writing(pid_t thread)
{
    struct fixture *fixture = running;

    if (!fixture)
        return true;
    running = NULL;
    timer_flush_caller(&fixture->timer, thread);
    fixture->sent_while_looking = fixture->sent;
    sem_post(&fixture->looked);
    return true;
}

static int set_up(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    fixture->owner.send = note_sent;
    sem_init(&fixture->looked, 0, 0);
    node_table_init(&fixture->table, &fixture->metrics);
    timer_init(&fixture->timer, &fixture->owner, &fixture->table);
    fixture->node = node_look_up(&fixture->table, INODE);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    timer_destroy(&fixture->timer);
    node_forget(&fixture->table, fixture->node, 1);
    assert_int_equal(counter_get(&fixture->metrics.nodes_freed), 1);
    node_table_destroy(&fixture->table);
    sem_destroy(&fixture->looked);
    g_free(fixture);
    return 0;
}

/* An open with O_TRUNC by that thread. */
static void truncate_for(struct fixture *fixture, pid_t opener, uint64_t due)
{
    if (node_truncate(&fixture->table, fixture->node, opener, timer_now(), due))
        timer_watch_node(&fixture->timer, fixture->node);
}

/* Or its next change would come before it, and others see the two in another order. */
static void test_sent_while_the_timer_looks(void **state)
{
    struct fixture *fixture = *state;

    running = fixture;
    truncate_for(fixture, gettid(), timer_now() + 1000000);
    assert_int_equal(timer_start(&fixture->timer), 0);
    sem_wait(&fixture->looked);
    timer_stop(&fixture->timer);
    assert_int_equal(fixture->sent_while_looking, 1);
    assert_int_equal(fixture->sent, 1);
}

/* One that is due may have a writer that is on its way: that is the timer's to find out. */
static void test_others_changes_send_nothing(void **state)
{
    struct fixture *fixture = *state;

    truncate_for(fixture, gettid(), timer_now() - 1);
    timer_flush_caller(&fixture->timer, getppid());
    assert_int_equal(fixture->sent, 0);
    timer_flush_caller(&fixture->timer, gettid());
    assert_int_equal(fixture->sent, 1);
    timer_flush_caller(&fixture->timer, gettid());
    timer_flush(&fixture->timer);
    assert_int_equal(fixture->sent, 1);
}

/* Anybody's change sends what a thread has left that has ended; a stop sends all. */
static void test_nobody_is_left(void **state)
{
    struct fixture *fixture = *state;

    truncate_for(fixture, G_MAXINT, timer_now() + 1000000); /* no thread has that number */
    timer_flush_caller(&fixture->timer, getppid());
    assert_int_equal(fixture->sent, 1);
    truncate_for(fixture, gettid(), timer_now() + 1000000);
    timer_flush(&fixture->timer);
    assert_int_equal(fixture->sent, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sent_while_the_timer_looks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_others_changes_send_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody_is_left, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
