/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unit tests of truncations that wait for a write: whose are sent when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/util.h"
#include "kernel/truncations.h"

#define INODE 7u
#define NOW 5000u
#define LATER 1000000u

bool __wrap_process_may_be_writing(pid_t thread);

struct fixture {
    struct truncations_owner owner;
    struct truncations truncations;
    struct kernel_metrics metrics;
    struct node_table table;
    struct node *node;
    unsigned int sent;
    unsigned int sent_while_looking;
};

static struct fixture *running; /* what is asked about */

static void note_sent(struct truncations_owner *owner, struct node *node)
{
    struct fixture *fixture = container_of(owner, struct fixture, owner);

    assert_ptr_equal(node, fixture->node);
    fixture->sent++;
}

/* While somebody asks of a thread, that thread asks for its next change. */
bool __wrap_process_may_be_writing(pid_t thread)
{
    struct fixture *fixture = running;

    if (!fixture)
        return true;
    running = NULL;
    truncations_flush_caller(&fixture->truncations, thread);
    fixture->sent_while_looking = fixture->sent;
    return true;
}

static int set_up(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);

    fixture->owner.send = note_sent;
    node_table_init(&fixture->table, &fixture->metrics);
    truncations_init(&fixture->truncations, &fixture->owner, &fixture->table);
    fixture->node = node_look_up(&fixture->table, INODE);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    truncations_destroy(&fixture->truncations);
    node_forget(&fixture->table, fixture->node, 1);
    assert_int_equal(counter_get(&fixture->metrics.nodes_freed), 1);
    node_table_destroy(&fixture->table);
    g_free(fixture);
    return 0;
}

/* An open with O_TRUNC by that thread. */
static void truncate_for(struct fixture *fixture, pid_t opener, uint64_t due)
{
    if (node_truncate(&fixture->table, fixture->node,
                      &(struct emptying){.opener = opener, .now = NOW, .due = due}))
        truncations_add(&fixture->truncations, fixture->node);
}

/* Or its next change would come before it, and others see the two in another order. */
static void test_sent_while_somebody_looks(void **state)
{
    struct fixture *fixture = *state;

    running = fixture;
    truncate_for(fixture, gettid(), LATER);
    truncations_send_due(&fixture->truncations, NOW);
    assert_int_equal(fixture->sent_while_looking, 1);
    assert_int_equal(fixture->sent, 1);
}

/* One that is due may have a writer that is on its way: that is the timer's to find out. */
static void test_others_changes_send_nothing(void **state)
{
    struct fixture *fixture = *state;

    truncate_for(fixture, gettid(), NOW - 1);
    truncations_flush_caller(&fixture->truncations, getppid());
    assert_int_equal(fixture->sent, 0);
    truncations_flush_caller(&fixture->truncations, gettid());
    assert_int_equal(fixture->sent, 1);
    truncations_flush_caller(&fixture->truncations, gettid());
    truncations_flush(&fixture->truncations);
    assert_int_equal(fixture->sent, 1);
}

/* Anybody's change sends what a thread has left that has ended; a stop sends all. */
static void test_nobody_is_left(void **state)
{
    struct fixture *fixture = *state;

    truncate_for(fixture, G_MAXINT, LATER); /* no thread has that number */
    truncations_flush_caller(&fixture->truncations, getppid());
    assert_int_equal(fixture->sent, 1);
    truncate_for(fixture, gettid(), LATER);
    truncations_flush(&fixture->truncations);
    assert_int_equal(fixture->sent, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sent_while_somebody_looks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_others_changes_send_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nobody_is_left, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("truncations", tests, NULL, NULL);
}
