/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of the synchronisation state machine (doc/cluster.md): the ways out of the group, and back.
 */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "core/index.h"
#include "machine_trace.h"

/* Leaving */

static void short_messages(void **state)
{
    uint8_t bytes[SYNC_HEADER_SIZE] = {0};

    (void)state;
    put_le32(bytes + 4, CONFIGURATION_PROTOCOL);
    for (uint16_t type = 0; type <= 7; type++)
        for (uint32_t size = 0; size < (type == 0 ? 24u : 32u); size++) {
            FIXTURE(fixture, GROUP_CONFIGURATION, B);
            become_synced(&fixture);
            put_le16(bytes, type);
            deliver(&fixture, A, buffer_copy(bytes, size));
            CHECK(&fixture, "error leave");
        }
}

static void strangers(void **state)
{
    (void)state;
    for (enum machine_mode mode = MODE_START; mode <= MODE_UPDATE; mode++) {
        FIXTURE(fixture, GROUP_CONFIGURATION, B);
        enter(&fixture, mode);
        deliver_normal(&fixture, X, 1);
        CHECK(&fixture, mode == MODE_SYNCED ? "apply(9:1)" : "error leave");
    }
    FIXTURE(fresh, GROUP_CONFIGURATION, B);
    deliver_normal(&fresh, B, 1);
    CHECK(&fresh, "error leave");
}

static void newer_protocol(void **state)
{
    (void)state;
    for (enum machine_mode mode = MODE_START; mode <= MODE_UPDATE; mode++) {
        FIXTURE(fixture, GROUP_CONFIGURATION, B);
        uint8_t bytes[HEADER_SIZE] = {0}; /* its length is not judged */
        enter(&fixture, mode);
        put_le32(bytes + 4, CONFIGURATION_PROTOCOL + 1);
        deliver(&fixture, A, buffer_copy(bytes, sizeof(bytes)));
        CHECK(&fixture, "error out");
        CHECK_MODE(&fixture, MODE_VERSION_ERROR);
        machine_fail(fixture.machine, "lower than it");
        drain(&fixture);
        CHECK(&fixture, "");
        CHECK_MODE(&fixture, MODE_VERSION_ERROR);
    }
}

static void older_protocol(void **state)
{
    (void)state;
    for (enum machine_mode mode = MODE_START; mode <= MODE_UPDATE; mode++) {
        FIXTURE(fixture, GROUP_CONFIGURATION, B);
        enter(&fixture, mode);
        fixture.protocol = 0;
        for (enum message_type type = MESSAGE_NORMAL; type <= UNKNOWN_TYPE; type++) {
            struct epoch epoch = current_epoch(mode);
            if (type != MESSAGE_UPDATE) /* always built with this node's version */
                deliver_type(&fixture, type, &epoch);
        }
        deliver(&fixture, A, buffer_copy("\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16));
        CHECK(&fixture, "");
        CHECK_MODE(&fixture, mode);
    }
}

static void failing(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, B);
    const struct member members[] = {B};
    struct action action;

    (void)state;
    deliver_normal(&fixture, B, 1);
    deliver_normal(&fixture, B, 2);
    machine_configuration(fixture.machine, members, 1, false, NOW);
    while (machine_next(fixture.machine, &action) && action.type != ACTION_APPLY)
        ;
    assert_int_equal(action.type, ACTION_APPLY);
    machine_fail(fixture.machine, "the disk is full");
    assert_int_equal(get_le64(action.message->data + HEADER_SIZE), 1); /* still there */
    assert_true(machine_next(fixture.machine, &action));
    assert_int_equal(action.type, ACTION_LOG);
    assert_int_equal(action.priority, LOG_ERR);
    assert_non_null(strstr(action.text, "the disk is full"));
    assert_true(machine_next(fixture.machine, &action));
    assert_int_equal(action.type, ACTION_LEAVE);
    assert_false(machine_next(fixture.machine, &action));
    machine_fail(fixture.machine, "again");
    assert_false(machine_next(fixture.machine, &action));
}

/* Own are the messages of this very process, not of another one on the same node. */
static void own_messages(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_synced(&fixture);
    deliver_normal(&fixture, B, 1);
    deliver_normal(&fixture, (struct member){B.node, B.pid + 1}, 1);
    deliver_normal(&fixture, (struct member){B.node + 1, B.pid}, 1);
    CHECK(&fixture, "apply(2:1)* apply(2:1) apply(3:1)");
}

/* An order to leave that waits is not dropped by one more failure. */
static void failing_while_leaving(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    struct buffer *message = buffer_copy("", 0);

    (void)state;
    become_synced(&fixture);
    machine_deliver(fixture.machine, A, message);
    machine_fail(fixture.machine, "reason");
    drain(&fixture);
    CHECK(&fixture, "leave");
    buffer_unref(message);
}

static void beyond(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_synced(&fixture);
    machine_fail(fixture.machine, "reason");
    drain(&fixture);
    CHECK(&fixture, "error leave");
    for (enum message_type type = MESSAGE_NORMAL; type <= UNKNOWN_TYPE; type++)
        deliver_type(&fixture, type, &round_epoch);
    fixture.protocol = 99;
    deliver_normal(&fixture, A, 1);
    deliver(&fixture, A, buffer_copy("", 0));
    change_members(&fixture, "ABC", "C");
    change_members(&fixture, "B", "");
    change_members(&fixture, "", "");
    machine_verify(fixture.machine, NOW);
    drain(&fixture);
    CHECK(&fixture, "");
    CHECK_MODE(&fixture, MODE_LEAVE);
    machine_restart(fixture.machine, B);
    CHECK_MODE(&fixture, MODE_START);
    fixture.protocol = CONFIGURATION_PROTOCOL;
    become_synced(&fixture);
}

static void restarting(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    size_t count;

    (void)state;
    become_updating(&fixture);
    deliver_normal(&fixture, A, 1);
    deliver_normal(&fixture, B, 1);
    machine_configuration(fixture.machine, &B, 1, false, NOW); /* its actions are not done */
    machine_restart(fixture.machine, C);
    drain(&fixture);
    CHECK(&fixture, "");
    assert_int_equal(machine_queued(fixture.machine), 0);
    machine_members(fixture.machine, &count);
    assert_int_equal(count, 0);
    become_synced(&fixture);
    deliver_normal(&fixture, B, 2);
    deliver_normal(&fixture, C, 2);
    CHECK(&fixture, "apply(2:2) apply(3:2)*");
}

/* One buffer again and again: what is counted is what it would take if each were its own. */
static void kept_messages_are_bounded(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, B);
    g_autofree uint8_t *body = g_malloc0(1048576);
    struct buffer *message = wire_build_normal(1, CONFIGURATION_PROTOCOL, 1, NOW, body, 1048576);
    unsigned taken = 0;

    (void)state;
    while (machine_mode(fixture.machine) == MODE_START_SYNC && taken < 10000) {
        deliver(&fixture, A, buffer_ref(message));
        taken++;
    }
    buffer_unref(message);
    CHECK(&fixture, "error leave");
    assert_in_range(taken, 256, 1024);
    assert_int_equal(machine_queued(fixture.machine), 0);
    /* And it is counted down again. */
    machine_restart(fixture.machine, B);
    become_updating(&fixture);
    complete(&fixture);
    CHECK(&fixture, "commit(0) synced!");
}

/* The same message from A, again and again. */
static void keep_much(struct fixture *fixture, struct buffer *message, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        deliver(fixture, A, buffer_ref(message));
}

/* What was kept is counted no longer when it is gone, however it went: else a long life would end
 * in leaving for nothing. */
static void kept_messages_are_counted_down(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    struct buffer *content = buffer_new(1048576);
    struct entry *entry = entry_new(2, 0, ENTRY_FILE, "f", 1, content, 1048576);
    struct buffer *update = wire_build_update(&round_epoch, NOW, entry, NULL);
    struct buffer *normal =
        wire_build_normal(1, CONFIGURATION_PROTOCOL, 1, NOW, content->data, 1048576);

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        become_updating(&fixture); /* the round before is forgotten */
        keep_much(&fixture, update, 150);
        keep_much(&fixture, normal, 150); /* the sync queue */
        CHECK(&fixture, "");
    }
    for (unsigned i = 0; i < 2; i++) {
        become_updating(&fixture); /* the round before was committed */
        keep_much(&fixture, update, 300);
        complete(&fixture);
        CHECK(&fixture, "commit(300) synced!");
        start_round(&fixture);
        keep_much(&fixture, normal, 300);
        change_members(&fixture, "ABC", "C");
        assert_int_equal(machine_queued(fixture.machine), 0);
    }
    become_updating(&fixture);
    keep_much(&fixture, update, 600);
    CHECK(&fixture, "error leave");
    buffer_unref(normal);
    buffer_unref(update);
    entry_unref(entry);
    buffer_unref(content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_messages),
        cmocka_unit_test(strangers),
        cmocka_unit_test(newer_protocol),
        cmocka_unit_test(older_protocol),
        cmocka_unit_test(own_messages),
        cmocka_unit_test(failing),
        cmocka_unit_test(failing_while_leaving),
        cmocka_unit_test(beyond),
        cmocka_unit_test(restarting),
        cmocka_unit_test(kept_messages_are_bounded),
        cmocka_unit_test(kept_messages_are_counted_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
