/* SPDX-License-Identifier: GPL-3.0-or-later */
/* More status messages than the group takes: what the log has of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"
#include "status/status_group.h"

#define LOG_BYTES_MAX 4000 /* of 20 messages a minute */

/* A node alone in a group that takes one message at a time. */
struct node {
    struct manual_clock clock;
    struct sent_queue sent;
    struct test_transport transport;
    struct member self;
    struct status *status;
    struct status_group *group;
};

static void deliver(struct node *node)
{
    struct sent *sent;

    while ((sent = sent_queue_take(&node->sent))) {
        status_group_handle(node->group, event_message(sent->sender, sent->message));
        sent_free(sent);
    }
}

static void start(struct node *node)
{
    *node = (struct node){.self = {1, 100}};
    manual_clock_init(&node->clock, 1000000, 1000);
    sent_queue_init(&node->sent);
    test_transport_init(&node->transport, &node->sent, &node->self);
    node->transport.joined = true;
    node->status = status_new("node1", "10.0.0.1", 100, &node->clock.source);
    node->group =
        status_group_new(node->status, &node->transport.transport, &node->clock.source, node->self);
    status_group_handle(node->group, event_connected(node->self));
    status_group_handle(node->group, event_configuration(&node->self, 1, &node->self, 1));
    deliver(node);
    node->transport.room = 1;
}

static void stop(struct node *node)
{
    status_group_free(node->group);
    status_free(node->status);
    sent_queue_destroy(&node->sent);
}

/* It says now and then that some were not sent, not for each. */
static void test_log_that_is_too_fast(void **state)
{
    struct node node;
    int kept = dup(STDERR_FILENO);
    int told = memfd_create("told", 0);

    (void)state;
    start(&node);
    dup2(told, STDERR_FILENO);
    for (unsigned i = 0; i < 1000; i++) {
        status_group_log(node.group, 6, "root", "tag", "text", 1);
        status_group_log(node.group, 6, "root", "tag", "more", 1);
        deliver(&node);
    }
    dup2(kept, STDERR_FILENO);
    assert_in_range(lseek(told, 0, SEEK_END), 1, LOG_BYTES_MAX);
    close(kept);
    close(told);
    stop(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_that_is_too_fast),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
