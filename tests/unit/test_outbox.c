/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of what is to be sent (replica/outbox.h) and of who waits for an answer
 * (replica/waiters.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "core/limits.h"
#include "replica/internal.h"
#include "replica/outbox.h"
#include "replicas.h"

#define NOW 1000u
#define CALLERS 4u

struct waiting {
    struct caller caller;
    int result;
    unsigned answers;
};

/* An outbox, and a transport that keeps what it is given. */
struct fixture {
    struct waiters waiters;
    struct outbox outbox;
    struct transport transport;
    struct manual_clock clock;
    uint32_t time; /* that messages are to have */
    int refuse;    /* what multicast() gives instead */
    GString *sent; /* counts, and "!" for a marker */
    struct waiting waiting[CALLERS];
};

static int multicast(struct transport *transport, struct buffer *message, enum send_kind kind,
                     uint64_t count)
{
    struct fixture *fixture = container_of(transport, struct fixture, transport);
    struct header header;
    struct change change;
    uint64_t asked;

    if (fixture->refuse)
        return fixture->refuse;
    assert_int_equal(kind, SEND_NORMAL);
    assert_int_equal(wire_parse_header(message->data, message_size(message), &header), 0);
    assert_int_equal(header.protocol, CONFIGURATION_PROTOCOL);
    assert_int_equal(header.time, fixture->time);
    if (wire_is_confirm_request(&header)) {
        assert_int_equal(wire_parse_confirm_request(header.body, header.body_size, &asked), 0);
        assert_true(asked == count);
        g_string_append_printf(fixture->sent, "%u! ", (unsigned)count);
        return 0;
    }
    assert_int_equal(header.type, MESSAGE_NORMAL);
    assert_true(header.count == count);
    assert_int_equal(wire_parse_change(header.subtype, header.body, header.body_size, &change), 0);
    g_string_append_printf(fixture->sent, "%u ", (unsigned)count);
    return 0;
}

static void answer(struct caller *caller, int result)
{
    struct waiting *waiting = container_of(caller, struct waiting, caller);

    waiting->result = result;
    waiting->answers++;
}

static void fixture_init(struct fixture *fixture)
{
    *fixture = (struct fixture){
        .transport = {.multicast = multicast},
        .time = NOW,
        .sent = g_string_new(NULL),
    };
    manual_clock_init(&fixture->clock, 0, NOW);
    waiters_init(&fixture->waiters);
    outbox_init(&fixture->outbox, &fixture->waiters, &fixture->clock.source);
    fixture->outbox.transport = &fixture->transport;
}

static void fixture_clear(struct fixture *fixture)
{
    outbox_drop(&fixture->outbox);
    waiters_fail(&fixture->waiters, UINT64_MAX, -EBUSY);
    outbox_destroy(&fixture->outbox);
    waiters_destroy(&fixture->waiters);
    g_string_free(fixture->sent, TRUE);
}

static void ask(struct fixture *fixture, unsigned which)
{
    struct change change = {.operation = CHANGE_MKDIR, .path = "d"};

    fixture->waiting[which].caller =
        (struct caller){.answer = answer, .reserve = {.bytes = 10, .entries = 1}};
    outbox_send(&fixture->outbox, NULL, &change, &fixture->waiting[which].caller);
}

static void check_sent(struct fixture *fixture, const char *expected)
{
    assert_string_equal(g_strchomp(fixture->sent->str), expected);
    g_string_truncate(fixture->sent, 0);
}

static void check_answer(const struct fixture *fixture, unsigned which, int result)
{
    assert_int_equal(fixture->waiting[which].answers, 1);
    assert_int_equal(fixture->waiting[which].result, result);
}

/* --- The outbox --- */

static void counts_go_on(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    outbox_release(&fixture.outbox);
    ask(&fixture, 0);
    ask(&fixture, 1);
    outbox_drop(&fixture.outbox); /* the group is left; what was sent is no business of it */
    outbox_release(&fixture.outbox);
    ask(&fixture, 2);
    check_sent(&fixture, "1 2 3");
    assert_int_equal(waiters_count(&fixture.waiters), 3);
    fixture_clear(&fixture);
}

static void a_count_is_used_up(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    outbox_release(&fixture.outbox);
    fixture.refuse = -ENOBUFS;
    ask(&fixture, 0);
    check_answer(&fixture, 0, -ENOBUFS);
    fixture.refuse = 0;
    ask(&fixture, 1);
    check_sent(&fixture, "2");
    fixture_clear(&fixture);
}

/* A file that an open emptied has shown a time already when its truncation is sent. */
static void a_change_can_have_a_time(void **state)
{
    struct fixture fixture;
    const struct change change = {
        .operation = CHANGE_WRITE, .path = "f", .truncate = true, .time = NOW - 1};

    (void)state;
    fixture_init(&fixture);
    outbox_release(&fixture.outbox);
    fixture.time = NOW - 1;
    outbox_send(&fixture.outbox, NULL, &change, NULL);
    fixture.time = NOW;
    ask(&fixture, 0);
    check_sent(&fixture, "1 2");
    fixture_clear(&fixture);
}

static void held_goes_out_in_order(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    for (unsigned i = 0; i < 3; i++)
        ask(&fixture, i);
    check_sent(&fixture, "");
    assert_int_equal(outbox_held(&fixture.outbox), 3);
    outbox_release(&fixture.outbox);
    ask(&fixture, 3);
    check_sent(&fixture, "1 2 3 4");
    assert_int_equal(outbox_held(&fixture.outbox), 0);
    outbox_hold(&fixture.outbox);
    outbox_send(&fixture.outbox, NULL, &(struct change){.operation = CHANGE_MKDIR, .path = "x"},
                NULL);
    check_sent(&fixture, "");
    outbox_release(&fixture.outbox);
    check_sent(&fixture, "5");
    fixture_clear(&fixture);
}

static void held_is_dropped(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    ask(&fixture, 0);
    ask(&fixture, 1);
    outbox_drop(&fixture.outbox);
    check_answer(&fixture, 0, -EBUSY);
    check_answer(&fixture, 1, -EBUSY);
    outbox_release(&fixture.outbox);
    check_sent(&fixture, "");
    fixture_clear(&fixture);
}

static void held_cannot_be_sent(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    ask(&fixture, 0);
    fixture.refuse = -ENOBUFS;
    outbox_release(&fixture.outbox);
    check_answer(&fixture, 0, -EBUSY);
    assert_int_equal(outbox_held(&fixture.outbox), 0);
    fixture_clear(&fixture);
}

/* What was answered, or taken back, while it was held is not sent; its numbers stay unused. */
static void held_and_answered(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    for (unsigned i = 0; i < CALLERS; i++) {
        fixture.clock.milliseconds = 100 * i;
        ask(&fixture, i);
    }
    outbox_send(&fixture.outbox, NULL, &(struct change){.operation = CHANGE_MKDIR, .path = "x"},
                NULL);
    assert_int_equal(waiters_fail(&fixture.waiters, 0, -EBUSY), 1);
    assert_true(waiters_cancel(&fixture.waiters, &fixture.waiting[2].caller));
    assert_int_equal(outbox_held(&fixture.outbox), 5);
    outbox_drop_answered(&fixture.outbox); /* memory too: it may take long until all is in sync */
    assert_int_equal(outbox_held(&fixture.outbox), 3);
    waiters_answer(&fixture.waiters, 4, -EBUSY); /* by whoever it is, at the last moment */
    outbox_release(&fixture.outbox);
    check_sent(&fixture, "2 5"); /* nobody waits for 5, and nobody was told anything of it */
    outbox_send(&fixture.outbox, NULL, &(struct change){.operation = CHANGE_MKDIR, .path = "y"},
                NULL);
    check_sent(&fixture, "6");
    fixture_clear(&fixture);
}

/* What may be held has an end, and room again when it was sent or given up. */
static void held_without_end(void **state)
{
    static const uint8_t content[FILE_SIZE_MAX];
    const struct change change = {
        .operation = CHANGE_WRITE, .path = "f", .size = FILE_SIZE_MAX, .data = content};
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    for (int round = 0; round < 2; round++) {
        unsigned held = 0;
        for (; !outbox_is_full(&fixture.outbox) && held < 100; held++)
            outbox_send(&fixture.outbox, NULL, &change, NULL);
        assert_int_equal(held, OUTBOX_HELD_BYTES_MAX / FILE_SIZE_MAX);
        if (round == 0)
            outbox_release(&fixture.outbox);
        else
            outbox_drop(&fixture.outbox);
        assert_false(outbox_is_full(&fixture.outbox));
        outbox_hold(&fixture.outbox);
    }
    fixture_clear(&fixture);
}

/* While as much is held as may be, changes are refused. */
static void held_too_much(void **state)
{
    struct group group;
    struct node *node = &group.nodes[1];
    struct asker refused = {0};

    (void)state;
    group_start_joined(&group, 2);
    outbox_hold(&node->replica->outbox);
    node->replica->outbox.held_bytes = OUTBOX_HELD_BYTES_MAX;
    node_ask(node, &refused, change_create("x"));
    assert_int_equal(refused.result, -EBUSY);
    assert_int_equal(outbox_held(&node->replica->outbox), 0);
    node->replica->outbox.held_bytes = 0;
    group_stop(&group);
}

/* A request for an unlock goes, and stays, with the change that it was made for. */
static void held_unlock_request(void **state)
{
    const struct change request = {.operation = CHANGE_UNLOCK_REQUEST, .path = "l"};
    const struct change change = {.operation = CHANGE_MTIME, .path = "l"};
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    for (unsigned i = 0; i < 3; i++) {
        fixture.waiting[i].caller = (struct caller){.answer = answer};
        outbox_send(&fixture.outbox, &request, &change, &fixture.waiting[i].caller);
    }
    assert_true(waiters_cancel(&fixture.waiters, &fixture.waiting[1].caller));
    outbox_drop_answered(&fixture.outbox);
    assert_int_equal(outbox_held(&fixture.outbox), 4);
    outbox_release(&fixture.outbox);
    check_sent(&fixture, "1 2 5 6");
    fixture_clear(&fixture);
}

static void held_marker(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    outbox_release(&fixture.outbox);
    for (unsigned i = 0; i < 3; i++)
        ask(&fixture, i);
    check_sent(&fixture, "1 2 3");
    outbox_hold(&fixture.outbox);
    waiters_begin_round(&fixture.waiters, 1);
    outbox_send_marker(&fixture.outbox); /* 4 */
    waiters_begin_round(&fixture.waiters, 2);
    outbox_send_marker(&fixture.outbox); /* 5 */
    assert_true(waiters_cancel(&fixture.waiters, &fixture.waiting[0].caller));
    outbox_release(&fixture.outbox);
    check_sent(&fixture, "5!");
    fixture_clear(&fixture);
}

static void too_long(void **state)
{
    struct fixture fixture;
    g_autofree char *path = g_strnfill(90000, 'x');
    g_autofree uint8_t *data = g_malloc0(FILE_SIZE_MAX);
    struct change change = {
        .operation = CHANGE_WRITE, .path = path, .data = data, .size = FILE_SIZE_MAX};

    (void)state;
    fixture_init(&fixture);
    fixture.waiting[0].caller.answer = answer;
    outbox_send(&fixture.outbox, NULL, &change, &fixture.waiting[0].caller);
    check_answer(&fixture, 0, -EMSGSIZE);
    assert_int_equal(waiters_count(&fixture.waiters), 0);
    fixture_clear(&fixture);
}

/* --- Markers --- */

/* With its own marker, or one after it. */
static void a_round_ends_with_its_marker(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    outbox_release(&fixture.outbox);
    outbox_send_marker(&fixture.outbox); /* nobody wants one */
    for (unsigned i = 0; i < 3; i++)
        ask(&fixture, i);
    waiters_begin_round(&fixture.waiters, 1);
    waiters_begin_round(&fixture.waiters, 2);
    waiters_begin_round(&fixture.waiters, 17); /* nobody's */
    outbox_send_marker(&fixture.outbox);
    waiters_begin_round(&fixture.waiters, 3);
    outbox_send_marker(&fixture.outbox);
    outbox_send_marker(&fixture.outbox);
    check_sent(&fixture, "1 2 3 4! 5!");
    assert_int_equal(waiters_count(&fixture.waiters), 3);
    waiters_end_rounds(&fixture.waiters, 3);
    assert_int_equal(fixture.waiting[0].answers, 0);
    waiters_end_rounds(&fixture.waiters, 4);
    check_answer(&fixture, 0, 0);
    check_answer(&fixture, 1, 0);
    assert_int_equal(fixture.waiting[2].answers, 0);
    ask(&fixture, 3);
    waiters_begin_round(&fixture.waiters, 6); /* not marked yet */
    waiters_end_rounds(&fixture.waiters, 9);
    check_answer(&fixture, 2, 0);
    assert_int_equal(fixture.waiting[3].answers, 0);
    fixture_clear(&fixture);
}

/* Other members: those of before may have confirmed, and the new ones have not been asked. */
static void a_round_begins_again(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    outbox_release(&fixture.outbox);
    for (unsigned i = 0; i < 2; i++) {
        ask(&fixture, i);
        waiters_begin_round(&fixture.waiters, 2 * i + 1);
        outbox_send_marker(&fixture.outbox);
    }
    check_sent(&fixture, "1 2! 3 4!");
    waiters_restart_rounds(&fixture.waiters);
    waiters_end_rounds(&fixture.waiters, 4);
    assert_int_equal(fixture.waiting[0].answers + fixture.waiting[1].answers, 0);
    outbox_send_marker(&fixture.outbox);
    check_sent(&fixture, "5!");
    waiters_end_rounds(&fixture.waiters, 5);
    check_answer(&fixture, 0, 0);
    check_answer(&fixture, 1, 0);
    fixture_clear(&fixture);
}

static void a_round_fails(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    outbox_release(&fixture.outbox);
    for (unsigned i = 0; i < CALLERS; i++)
        ask(&fixture, i);
    waiters_begin_round(&fixture.waiters, 1);
    fixture.refuse = -EBUSY;
    outbox_send_marker(&fixture.outbox); /* cannot be sent */
    check_answer(&fixture, 0, -EBUSY);
    fixture.refuse = 0;
    waiters_begin_round(&fixture.waiters, 2);
    outbox_send_marker(&fixture.outbox);
    waiters_begin_round(&fixture.waiters, 3);
    waiters_fail_rounds(&fixture.waiters, -EIO); /* under way, and not sent yet */
    check_answer(&fixture, 1, -EIO);
    check_answer(&fixture, 2, -EIO);
    assert_int_equal(fixture.waiting[3].answers, 0);
    fixture_clear(&fixture);
}

/* --- Waiters --- */

static void answers_by_count(void **state)
{
    struct fixture fixture;
    int mine;

    (void)state;
    fixture_init(&fixture);
    outbox_release(&fixture.outbox);
    for (unsigned i = 0; i < 3; i++)
        ask(&fixture, i);
    fixture.waiting[1].caller.origin = &mine;
    uint32_t asker;
    assert_ptr_equal(waiters_origin(&fixture.waiters, 2, &asker), &mine);
    assert_null(waiters_origin(&fixture.waiters, 4, &asker));
    assert_int_equal(asker, 0);
    assert_int_equal(waiters_reserve(&fixture.waiters).bytes, 30);
    assert_int_equal(waiters_reserve(&fixture.waiters).entries, 3);
    waiters_answer(&fixture.waiters, 2, -ENOENT);
    waiters_answer(&fixture.waiters, 2, 0); /* nobody is left */
    check_answer(&fixture, 1, -ENOENT);
    assert_int_equal(waiters_reserve(&fixture.waiters).entries, 2);
    waiters_answer(&fixture.waiters, 1, 0);
    check_answer(&fixture, 0, 0);
    fixture_clear(&fixture);
    check_answer(&fixture, 2, -EBUSY);
}

static void those_who_waited_long_enough(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    outbox_release(&fixture.outbox);
    for (unsigned i = 0; i < CALLERS; i++) {
        fixture.clock.milliseconds = 100 * i;
        ask(&fixture, i);
    }
    waiters_begin_round(&fixture.waiters, 1);
    waiters_begin_round(&fixture.waiters, 4);
    assert_int_equal(waiters_fail(&fixture.waiters, 100, -EBUSY), 2);
    check_answer(&fixture, 0, -EBUSY);
    check_answer(&fixture, 1, -EBUSY);
    assert_int_equal(fixture.waiting[2].answers + fixture.waiting[3].answers, 0);
    fixture_clear(&fixture);
}

static void taken_back(void **state)
{
    struct fixture fixture;

    (void)state;
    fixture_init(&fixture);
    outbox_release(&fixture.outbox);
    for (unsigned i = 0; i < 3; i++)
        ask(&fixture, i);
    waiters_begin_round(&fixture.waiters, 2);
    waiters_begin_round(&fixture.waiters, 3);
    outbox_send_marker(&fixture.outbox);
    assert_true(waiters_cancel(&fixture.waiters, &fixture.waiting[0].caller));
    assert_true(waiters_cancel(&fixture.waiters, &fixture.waiting[1].caller));
    assert_false(waiters_cancel(&fixture.waiters, &fixture.waiting[1].caller));
    waiters_end_rounds(&fixture.waiters, 4);
    assert_false(waiters_cancel(&fixture.waiters, &fixture.waiting[2].caller));
    assert_int_equal(fixture.waiting[0].answers + fixture.waiting[1].answers, 0);
    check_answer(&fixture, 2, 0);
    fixture_clear(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_go_on),
        cmocka_unit_test(a_count_is_used_up),
        cmocka_unit_test(a_change_can_have_a_time),
        cmocka_unit_test(held_goes_out_in_order),
        cmocka_unit_test(held_is_dropped),
        cmocka_unit_test(held_cannot_be_sent),
        cmocka_unit_test(held_and_answered),
        cmocka_unit_test(held_without_end),
        cmocka_unit_test(held_too_much),
        cmocka_unit_test(held_unlock_request),
        cmocka_unit_test(held_marker),
        cmocka_unit_test(too_long),
        cmocka_unit_test(a_round_ends_with_its_marker),
        cmocka_unit_test(a_round_begins_again),
        cmocka_unit_test(a_round_fails),
        cmocka_unit_test(answers_by_count),
        cmocka_unit_test(those_who_waited_long_enough),
        cmocka_unit_test(taken_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
