/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unit tests of a group's membership on a libcpg that is made up here: every row of the table of
 * cpg.c. A step that is not in it would end the program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <unistd.h>

#include "cluster/corosync.h"
#include "cluster/corosync_client.h"

#define NODE 1u

/* --- libcpg: one handle, which does what the test says --- */

static struct {
    cpg_model_v1_data_t model;
    void *context;
    cs_error_t leave_result;
    cs_error_t send_result;
    unsigned sent;
    bool tells;  /* of a configuration, at the next dispatch ... */
    bool inside; /* ... with this node */
} cpg;

cs_error_t cpg_model_initialize(cpg_handle_t *handle, cpg_model_t model,
                                cpg_model_data_t *model_data, void *context)
{
    (void)model;
    *handle = 1;
    cpg.model = *(cpg_model_v1_data_t *)model_data;
    cpg.context = context;
    return CS_OK;
}

cs_error_t cpg_finalize(cpg_handle_t handle)
{
    (void)handle;
    return CS_OK;
}

cs_error_t cpg_context_get(cpg_handle_t handle, void **context)
{
    (void)handle;
    *context = cpg.context;
    return CS_OK;
}

cs_error_t cpg_fd_get(cpg_handle_t handle, int *fd)
{
    (void)handle;
    *fd = -1;
    return CS_OK;
}

cs_error_t cpg_max_atomic_msgsize_get(cpg_handle_t handle, uint32_t *size)
{
    (void)handle;
    *size = 1u << 20;
    return CS_OK;
}

cs_error_t cpg_local_get(cpg_handle_t handle, unsigned int *local_nodeid)
{
    (void)handle;
    *local_nodeid = NODE;
    return CS_OK;
}

cs_error_t cpg_join(cpg_handle_t handle, const struct cpg_name *group)
{
    (void)handle;
    (void)group;
    return CS_OK;
}

cs_error_t cpg_leave(cpg_handle_t handle, const struct cpg_name *group)
{
    (void)handle;
    (void)group;
    return cpg.leave_result;
}

cs_error_t cpg_mcast_joined(cpg_handle_t handle, cpg_guarantee_t guarantee,
                            const struct iovec *iovec, unsigned int iov_len)
{
    (void)handle;
    (void)guarantee;
    (void)iovec;
    (void)iov_len;
    cpg.sent += cpg.send_result == CS_OK;
    return cpg.send_result;
}

cs_error_t cpg_dispatch(cpg_handle_t handle, cs_dispatch_flags_t dispatch_types)
{
    const struct cpg_address members[] = {{NODE + 1, 1, 0}, {NODE, (uint32_t)getpid(), 0}};

    (void)dispatch_types;
    if (!cpg.tells)
        return CS_ERR_TRY_AGAIN;
    cpg.tells = false;
    cpg.model.cpg_confchg_fn(handle, NULL, members, cpg.inside ? 2 : 1, NULL, 0, NULL, 0);
    return CS_OK;
}

/* --- One group of a client without a thread --- */

struct fixture {
    struct group_consumer consumer;
    unsigned failed; /* messages, as it is told */
    struct corosync *corosync;
    struct group *group;
};

static void take(struct group_consumer *consumer, GQueue *events)
{
    struct fixture *fixture = (struct fixture *)consumer;

    for (const GList *at = events->head; at; at = at->next)
        fixture->failed += ((const struct event *)at->data)->type == EVENT_SEND_FAILED;
    event_clear(events);
}

static int set_up(void **state)
{
    const struct corosync_options options = {0};
    struct fixture *fixture = g_new0(struct fixture, 1);

    cpg.leave_result = cpg.send_result = CS_OK;
    cpg.sent = 0;
    cpg.tells = false;
    fixture->consumer.take = take;
    fixture->corosync = corosync_new(&options);
    fixture->group = &fixture->corosync->groups[GROUP_STATUS];
    fixture->group->consumer = &fixture->consumer;
    assert_int_equal(group_open(fixture->group), 0);
    assert_int_equal(fixture->group->membership, MEMBERSHIP_OUT);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;

    group_close(fixture->group);
    assert_int_equal(fixture->group->membership, MEMBERSHIP_OUT);
    corosync_free(fixture->corosync);
    g_free(fixture);
    return 0;
}

static void manage(struct fixture *fixture, enum membership expected)
{
    assert_int_equal(group_manage(fixture->group), 0);
    assert_int_equal(fixture->group->membership, expected);
}

static void be_told(struct fixture *fixture, bool inside, enum membership expected)
{
    cpg.tells = true;
    cpg.inside = inside;
    assert_int_equal(group_gather(fixture->group, 2), 0);
    group_hand_on(fixture->group);
    assert_int_equal(fixture->group->membership, expected);
}

static void want_to_leave(struct fixture *fixture, bool for_good)
{
    struct transport *transport = &fixture->group->transport;

    transport->leave(transport, for_good);
    assert_int_equal(fixture->group->membership, MEMBERSHIP_LEAVE);
}

static void test_once_around(void **state)
{
    struct fixture *fixture = *state;

    manage(fixture, MEMBERSHIP_JOINED);
    be_told(fixture, false, MEMBERSHIP_JOINED); /* of others, before */
    be_told(fixture, true, MEMBERSHIP_MEMBER);
    be_told(fixture, true, MEMBERSHIP_MEMBER);
    want_to_leave(fixture, false);
    be_told(fixture, true, MEMBERSHIP_LEAVE);
    manage(fixture, MEMBERSHIP_LEAVING);
    be_told(fixture, true, MEMBERSHIP_LEAVING);
    be_told(fixture, false, MEMBERSHIP_OUT);
    manage(fixture, MEMBERSHIP_JOINED);
}

static void test_staying_out(void **state)
{
    struct fixture *fixture = *state;

    manage(fixture, MEMBERSHIP_JOINED);
    want_to_leave(fixture, true); /* before the join is confirmed */
    cpg.leave_result = CS_ERR_BUSY;
    manage(fixture, MEMBERSHIP_LEAVE);
    fixture->group->act_at = 0; /* the pause is over */
    cpg.leave_result = CS_ERR_NOT_EXIST;
    manage(fixture, MEMBERSHIP_OUT);
    manage(fixture, MEMBERSHIP_OUT);
}

/* Asked to leave when it is out, or about to be, it has nothing to do. */
static void test_leaving_twice(void **state)
{
    struct fixture *fixture = *state;
    struct transport *transport = &fixture->group->transport;

    transport->leave(transport, false);
    assert_int_equal(fixture->group->membership, MEMBERSHIP_OUT);
    manage(fixture, MEMBERSHIP_JOINED);
    want_to_leave(fixture, false);
    want_to_leave(fixture, false);
    manage(fixture, MEMBERSHIP_LEAVING);
    transport->leave(transport, false);
    assert_int_equal(fixture->group->membership, MEMBERSHIP_LEAVING);
}

/* The connection may be lost at any point; tear_down() does it. */
static void test_lost_as_joined(void **state)
{
    manage(*state, MEMBERSHIP_JOINED);
}

static void test_lost_as_member(void **state)
{
    manage(*state, MEMBERSHIP_JOINED);
    be_told(*state, true, MEMBERSHIP_MEMBER);
}

static void test_lost_about_to_leave(void **state)
{
    manage(*state, MEMBERSHIP_JOINED);
    want_to_leave(*state, false);
}

/* What nobody may miss was not sent in time: what is behind it is not sent either. */
static void test_given_up(void **state)
{
    static const enum send_kind kinds[] = {SEND_NORMAL, SEND_SYNC};
    struct fixture *fixture = *state;
    struct transport *transport = &fixture->group->transport;
    struct buffer *message = buffer_copy("text", 4);

    manage(fixture, MEMBERSHIP_JOINED);
    be_told(fixture, true, MEMBERSHIP_MEMBER);
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        cpg.send_result = CS_ERR_TRY_AGAIN;
        fixture->failed = cpg.sent = 0;
        assert_int_equal(transport->multicast(transport, message, kinds[i], 1), 0);
        assert_int_equal(transport->multicast(transport, message, SEND_SYNC, 0), 0);
        struct group_outbox *outbox = &fixture->group->outbox;
        ((struct outgoing *)outbox->queue.head->data)->since = outbox->progress = 0;
        outbox->send_at = 0;
        assert_int_equal(group_flush(fixture->group), 0);
        cpg.send_result = CS_OK;
        outbox->send_at = 0;
        assert_int_equal(group_flush(fixture->group), 0);
        assert_int_equal(fixture->failed, kinds[i] == SEND_SYNC ? 2 : 1);
        assert_int_equal(cpg.sent, kinds[i] == SEND_SYNC ? 0 : 1);
    }
    buffer_unref(message);
}

/* Members change while a long message is sent in pieces: it is sent again, and the connection is as
 * good as before. */
static void test_interrupted(void **state)
{
    struct fixture *fixture = *state;
    struct transport *transport = &fixture->group->transport;
    struct buffer *message = buffer_new(2u << 20);

    manage(fixture, MEMBERSHIP_JOINED);
    be_told(fixture, true, MEMBERSHIP_MEMBER);
    assert_int_equal(transport->multicast(transport, message, SEND_SYNC, 0), 0);
    cpg.send_result = CS_ERR_INTERRUPT;
    assert_int_equal(group_flush(fixture->group), 0);
    assert_int_equal(cpg.sent, 0);
    cpg.send_result = CS_OK;
    fixture->group->outbox.send_at = 0;
    assert_int_equal(group_flush(fixture->group), 0);
    assert_int_equal(cpg.sent, 1);
    assert_int_equal(fixture->group->outbox.queue.length, 0);
    buffer_unref(message);
}

/* A change that would be sent in pieces is not: who joins between two of them would lack it. */
static void test_a_change_in_pieces(void **state)
{
    struct fixture *fixture = *state;
    struct transport *transport = &fixture->group->transport;
    struct buffer *message = buffer_new((1u << 20) + 1);

    manage(fixture, MEMBERSHIP_JOINED);
    be_told(fixture, true, MEMBERSHIP_MEMBER);
    assert_int_equal(transport->multicast(transport, message, SEND_NORMAL, 1), -EMSGSIZE);
    assert_int_equal(fixture->group->outbox.queue.length, 0);
    assert_int_equal(cpg.sent, 0);
    buffer_unref(message);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_once_around, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_staying_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_leaving_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_as_joined, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_as_member, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_lost_about_to_leave, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_given_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_interrupted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_change_in_pieces, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("cpg", tests, NULL, NULL);
}
