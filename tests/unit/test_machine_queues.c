/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of the synchronisation state machine (doc/cluster.md): messages that wait, and the commit.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "cluster/machine_internal.h"
#include "core/index.h"
#include "core/limits.h"
#include "machine_trace.h"

/* Queues */

static void queue_order(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    deliver_normal(&fixture, C, 5);
    deliver_normal(&fixture, A, 7);
    deliver_normal(&fixture, B, 5);
    deliver_normal(&fixture, A, 5);
    deliver_normal(&fixture, B, 1);
    deliver_normal(&fixture, C, 6);
    assert_int_equal(machine_queued(fixture.machine), 6);
    deliver_indexes(&fixture, "0a");
    CHECK(&fixture, "synced! apply(2:1)* apply(3:5) apply(2:5)* apply(1:5) apply(3:6) apply(1:7)");
    assert_int_equal(machine_queued(fixture.machine), 0);
}

/* Many of one count stay in order of arrival. */
static void queue_ties(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, B);
    const struct member senders[] = {A, B, C};
    g_autoptr(GString) expected = g_string_new("synced!");

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        deliver_normal(&fixture, senders[i * 7 % 3], 4);
        g_string_append_printf(expected, " apply(%u:4)%s", senders[i * 7 % 3].node,
                               i * 7 % 3 == 1 ? "*" : "");
    }
    for (int i = 0; i < 3; i++)
        deliver_index(&fixture, senders[i], 5, 1, "0a");
    CHECK(&fixture, expected->str);
}

static void queue_wraps_around(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    deliver_normal(&fixture, A, 0x100000001ull);
    deliver_normal(&fixture, C, 0xfffffffeull);
    deliver_normal(&fixture, A, 0x100000000ull);
    deliver_normal(&fixture, C, 0xffffffffull);
    deliver_normal(&fixture, B, 0x7ffffffffffffff9ull); /* only the low 32 bits count */
    deliver_indexes(&fixture, "0a");
    CHECK(&fixture, "synced! apply(2:4294967289)* apply(3:4294967294) apply(3:4294967295) "
                    "apply(1:0) apply(1:1)");
}

static void queue_of_departed(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    deliver_normal(&fixture, C, 1);
    deliver_normal(&fixture, A, 2);
    change_members(&fixture, "AB", ""); /* nobody joined: the queue is kept */
    CHECK(&fixture, "");
    assert_int_equal(machine_queued(fixture.machine), 2);
    deliver_sync(&fixture, A, MESSAGE_SYNC_START, &round_epoch, NULL, 0);
    deliver_index(&fixture, A, 5, 1, "0a");
    deliver_index(&fixture, B, 5, 1, "0a");
    CHECK(&fixture, "state(7/1) synced! apply(1:2)");
    assert_int_equal(machine_queued(fixture.machine), 0);
}

/* Somebody joined: nobody keeps anything, and nothing is on its way for a second time. */
static void queue_at_a_join(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    deliver_normal(&fixture, B, 9);
    deliver_normal(&fixture, A, 1);
    deliver_normal(&fixture, B, 8);
    deliver_normal(&fixture, C, 2);
    change_members(&fixture, "ABCX", "X");
    CHECK(&fixture, "give-up(8) give-up(9)");
    assert_int_equal(machine_queued(fixture.machine), 0);
    deliver_normal(&fixture, B, 10); /* was on its way: nobody has seen it before */
    change_members(&fixture, "BCX", "");
    CHECK(&fixture, "start(3)");
    assert_int_equal(machine_queued(fixture.machine), 1);
    change_members(&fixture, "ABCX", "A");
    CHECK(&fixture, "give-up(10)");
}

static void queue_at_a_join_lowest(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, A);

    (void)state;
    deliver_normal(&fixture, A, 3);
    change_members(&fixture, "ABCX", "X");
    CHECK(&fixture, "give-up(3) start(2)");
}

/* UPDATE mode */

static void updating(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    deliver_normal(&fixture, A, 2);
    deliver_normal(&fixture, C, 1);
    deliver_normal(&fixture, B, 1);
    deliver_normal(&fixture, A, 1);
    deliver_index(&fixture, A, 6, 1, "0a1b");
    deliver_index(&fixture, B, 5, 1, "0x");
    deliver_index(&fixture, C, 4, 1, "0y");
    CHECK_MODE(&fixture, MODE_UPDATE);
    deliver_update(&fixture, A, 1);
    deliver_normal(&fixture, C, 2);
    deliver_normal(&fixture, A, 0); /* the sync queue is in order of arrival */
    deliver_update(&fixture, C, 3); /* who sent it is not checked */
    CHECK(&fixture, "");
    assert_int_equal(machine_queued(fixture.machine), 6);
    complete(&fixture);
    CHECK(&fixture, "commit(2) synced! apply(1:1) apply(1:2) apply(3:2) apply(1:0) "
                    "apply(3:1) apply(2:1)*");
    CHECK_MODE(&fixture, MODE_SYNCED);
    assert_int_equal(machine_queued(fixture.machine), 0);
}

static void what_is_committed(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    g_autoptr(GByteArray) index = make_index(6, 1, "0a1b2c");
    struct buffer *end = wire_build_sync(MESSAGE_UPDATE_COMPLETE, CONFIGURATION_PROTOCOL,
                                         &round_epoch, NOW, NULL, 0);
    struct action action;
    struct header header;

    (void)state;
    become_updating(&fixture);
    deliver_update(&fixture, A, 2);
    machine_deliver(fixture.machine, C, end);
    assert_true(machine_next(fixture.machine, &action));
    assert_int_equal(action.type, ACTION_COMMIT);
    assert_int_equal(message_size(action.message), index->len);
    assert_memory_equal(action.message->data, index->data, index->len);
    assert_int_equal(action.updates->len, 1);
    struct buffer *update = action.updates->pdata[0];
    assert_int_equal(wire_parse_header(update->data, message_size(update), &header), 0);
    assert_int_equal(header.type, MESSAGE_UPDATE);
    /* Nothing more until the result is there. */
    assert_false(machine_next(fixture.machine, &action));
    CHECK_MODE(&fixture, MODE_UPDATE);
    machine_committed(fixture.machine, 0);
    CHECK_MODE(&fixture, MODE_SYNCED);
    machine_committed(fixture.machine, 0);
    machine_committed(fixture.machine, -EIO);
    CHECK_MODE(&fixture, MODE_SYNCED);
    buffer_unref(end);
}

static void commit_fails(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_updating(&fixture);
    fixture.commit_result = -EIO;
    deliver_normal(&fixture, A, 1);
    complete(&fixture);
    CHECK(&fixture, "commit(0) error leave");
    CHECK_MODE(&fixture, MODE_LEAVE);
    assert_int_equal(machine_queued(fixture.machine), 0);
}

/* A result that comes after the round was given up is no result of the next one. */
static void commit_too_late(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_updating(&fixture);
    fixture.hold_commit = true;
    complete(&fixture);
    complete(&fixture);
    CHECK(&fixture, "commit(0)");
    change_members(&fixture, "ABC", "");
    machine_committed(fixture.machine, 0);
    drain(&fixture);
    CHECK(&fixture, "");
    CHECK_MODE(&fixture, MODE_START_SYNC);
}

static void updates_are_forgotten(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_updating(&fixture);
    deliver_update(&fixture, A, 2);
    deliver_normal(&fixture, A, 1); /* applied by the synced: in the leader's index next time */
    deliver_normal(&fixture, B, 1);
    change_members(&fixture, "ABC", "");
    CHECK(&fixture, "give-up(1)"); /* whoever was in sync has that too */
    assert_int_equal(machine_queued(fixture.machine), 0);
    become_updating(&fixture);
    complete(&fixture);
    CHECK(&fixture, "commit(0) synced!");
}

/* Nobody is left who was in sync: what the others sent meanwhile is in no state that is to come. */
static void updates_go_back_to_the_queue(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_updating(&fixture);
    deliver_normal(&fixture, C, 2);
    deliver_normal(&fixture, A, 1); /* of a synced one: with it */
    deliver_normal(&fixture, B, 1);
    change_members(&fixture, "BC", "");
    CHECK(&fixture, "start(2)");
    assert_int_equal(machine_queued(fixture.machine), 2);
    change_members(&fixture, "BCX", "X");
    CHECK(&fixture, "give-up(1) start(3)");
    assert_int_equal(machine_queued(fixture.machine), 0);
}

static void malformed_update(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    FIXTURE(synced, GROUP_CONFIGURATION, B);

    (void)state;
    become_updating(&fixture);
    deliver_sync(&fixture, A, MESSAGE_UPDATE, &round_epoch, "short", 5);
    CHECK(&fixture, "error leave");
    become_synced(&synced);
    deliver_sync(&synced, A, MESSAGE_UPDATE, &round_epoch, "short", 5);
    CHECK(&synced, "");
}

/* A large cluster whose nodes have all gone different ways: each one's index is lawful. */
static void what_is_kept_grows_with_the_members(void **state)
{
    struct machine *machine = machine_new(GROUP_CONFIGURATION, (struct member){1, 1});
    const uint64_t indexes = 60 * (32 + 40ull * INODES_MAX);
    struct member members[60];

    (void)state;
    for (uint32_t i = 0; i < G_N_ELEMENTS(members); i++)
        members[i] = (struct member){i + 1, 1};
    machine_configuration(machine, members, 60, true, 1);
    machine->kept_bytes = indexes;
    assert_true(indexes > 512ull << 20);
    assert_true(machine_within_bounds(machine));
    machine->kept_bytes = indexes + (513ull << 20);
    assert_false(machine_within_bounds(machine));
    machine->kept_bytes = 0;
    machine_free(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queue_order),
        cmocka_unit_test(queue_ties),
        cmocka_unit_test(queue_wraps_around),
        cmocka_unit_test(queue_of_departed),
        cmocka_unit_test(queue_at_a_join),
        cmocka_unit_test(queue_at_a_join_lowest),
        cmocka_unit_test(updating),
        cmocka_unit_test(what_is_committed),
        cmocka_unit_test(commit_fails),
        cmocka_unit_test(commit_too_late),
        cmocka_unit_test(updates_are_forgotten),
        cmocka_unit_test(updates_go_back_to_the_queue),
        cmocka_unit_test(malformed_update),
        cmocka_unit_test(what_is_kept_grows_with_the_members),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
