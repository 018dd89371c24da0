/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of the synchronisation state machine (doc/cluster.md): states, and who is up to date, in
 * both groups. */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "core/index.h"
#include "machine_trace.h"

/* SYNC_START and STATE */

static void second_sync_start(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, B);
    const struct epoch other = {8, 80, 3, 30};
    g_autoptr(GByteArray) index = make_index(5, 1, "0a");

    (void)state;
    deliver_index(&fixture, A, 5, 1, "0a");
    deliver_index(&fixture, B, 5, 1, "0a");
    /* Not from the lowest node id: taken all the same. The states so far are forgotten. */
    deliver_sync(&fixture, C, MESSAGE_SYNC_START, &other, NULL, 0);
    CHECK(&fixture, "state(8/3)");
    deliver_index(&fixture, C, 5, 1, "0a");
    CHECK(&fixture, "");
    deliver_sync(&fixture, A, MESSAGE_STATE, &other, index->data, index->len);
    deliver_sync(&fixture, B, MESSAGE_STATE, &other, index->data, index->len);
    CHECK(&fixture, "");
    deliver_sync(&fixture, C, MESSAGE_STATE, &other, index->data, index->len);
    CHECK(&fixture, "synced!");
}

static void wrong_starter_is_logged(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    struct buffer *message =
        wire_build_sync(MESSAGE_SYNC_START, CONFIGURATION_PROTOCOL, &round_epoch, NOW, NULL, 0);
    struct action action;

    (void)state;
    change_members(&fixture, "ABC", "ABC");
    machine_deliver(fixture.machine, A, message);
    assert_false(machine_next(fixture.machine, &action));
    machine_deliver(fixture.machine, C, message);
    assert_true(machine_next(fixture.machine, &action));
    assert_int_equal(action.type, ACTION_LOG);
    assert_int_equal(action.priority, LOG_WARNING);
    buffer_unref(message);
}

static void change_members_in_batch(struct fixture *fixture, size_t count)
{
    const struct member members[] = {A, B, C};

    machine_configuration(fixture->machine, members, count, true, NOW);
}

static void deliver_start_in_batch(struct fixture *fixture, const struct epoch *epoch)
{
    struct buffer *message =
        wire_build_sync(MESSAGE_SYNC_START, CONFIGURATION_PROTOCOL, epoch, NOW, NULL, 0);

    machine_deliver(fixture->machine, A, message);
    buffer_unref(message);
}

/* What later events of a batch make void is never sent. */
static void last_of_a_batch(void **state)
{
    FIXTURE(lowest, GROUP_CONFIGURATION, A);
    FIXTURE(other, GROUP_CONFIGURATION, B);
    const struct epoch first = {7, NOW, 1, 10};
    const struct epoch second = {8, NOW, 1, 10};

    (void)state;
    change_members_in_batch(&lowest, 2);
    change_members_in_batch(&lowest, 3);
    drain(&lowest);
    CHECK(&lowest, "start(2)");
    drain(&lowest);
    CHECK(&lowest, "");
    change_members_in_batch(&lowest, 2);
    change_members_in_batch(&lowest, 1);
    drain(&lowest);
    CHECK(&lowest, "alone!");

    change_members_in_batch(&other, 2);
    deliver_start_in_batch(&other, &first);
    deliver_start_in_batch(&other, &second);
    drain(&other);
    CHECK(&other, "state(8/1)");
    deliver_start_in_batch(&other, &first);
    change_members_in_batch(&other, 3);
    drain(&other);
    CHECK(&other, "");
    deliver_start_in_batch(&other, &first);
    machine_disconnected(other.machine);
    drain(&other);
    CHECK(&other, "");
}

static void second_state(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    deliver_index(&fixture, A, 5, 1, "0a");
    deliver_index(&fixture, A, 5, 1, "0a");
    CHECK(&fixture, "error leave");
}

static void state_of_stranger(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    deliver_index(&fixture, (struct member){A.node, A.pid + 1}, 5, 1, "0a");
    CHECK(&fixture, "error leave");
}

/* Choosing */

struct choice {
    const char *title;
    uint64_t versions[3];
    uint32_t mtimes[3];
    const char *entries[3];
    const char *expected[3]; /* the traces of A, B and C; "" is UPDATE mode */
};

static const struct choice choices[] = {
    {"all alike: the first leads and sends nothing but the end",
     {5, 5, 5},
     {1, 1, 1},
     {"0a1b", "0a1b", "0a1b"},
     {"updates() synced!", "synced!", "synced!"}},
    {"the highest version leads",
     {5, 7, 6},
     {9, 1, 9},
     {"0a", "0b", "0c"},
     {"", "updates(0) synced!", ""}},
    {"among equal versions the greatest mtime",
     {5, 5, 5},
     {1, 2, 3},
     {"0a", "0b", "0c"},
     {"", "", "updates(0) synced!"}},
    {"among equals the first",
     {4, 5, 5},
     {9, 2, 2},
     {"0a", "0b", "0c"},
     {"", "updates(0) synced!", ""}},
    {"one that equals the leader is synced",
     {5, 5, 4},
     {1, 1, 1},
     {"0a1b2c", "0a1b2c", "0d1b"},
     {"updates(0,2) synced!", "synced!", ""}},
    {"equal headers are not enough",
     {5, 5, 5},
     {1, 1, 1},
     {"0a1b", "0a1x", "0a1b"},
     {"updates(1) synced!", "", "synced!"}},
    {"each inode once, whatever each member lacks",
     {5, 4, 3},
     {1, 1, 1},
     {"0a1b2c3d4e", "0x1b2c", "0y1b3d4z5q"},
     {"updates(0,2,3,4) synced!", "", ""}},
    {"two that lack the same",
     {5, 4, 4},
     {1, 1, 1},
     {"0a1b", "0x", "0x"},
     {"updates(0,1) synced!", "", ""}},
    {"what only a follower has is not the leader's to send",
     {5, 4, 5},
     {2, 1, 2},
     {"0a", "0a1b2c", "0a"},
     {"updates() synced!", "", "synced!"}},
    {"versions are 64 bits",
     {0x100000000, 0xffffffff, 2},
     {0, 9, 9},
     {"0a", "0b", "0a"},
     {"updates(0) synced!", "", ""}},
};

static void check_choice(const struct choice *choice, size_t which)
{
    const struct member members[] = {A, B, C};
    FIXTURE(fixture, GROUP_CONFIGURATION, members[which]);

    start_round(&fixture);
    for (int i = 2; i >= 0; i--) /* the order of arrival is of no importance */
        deliver_index(&fixture, members[i], choice->versions[i], choice->mtimes[i],
                      choice->entries[i]);
    if (strcmp(g_strchomp(fixture.trace->str), choice->expected[which]) != 0)
        fail_msg("%s, member %zu: %s", choice->title, which, fixture.trace->str);
    CHECK_MODE(&fixture, choice->expected[which][0] ? MODE_SYNCED : MODE_UPDATE);
}

static void choose(void **state)
{
    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(choices); i++)
        for (size_t which = 0; which < 3; which++)
            check_choice(&choices[i], which);
}

/* The entries of the moment of choosing are sent: nothing is applied before they are taken. */
static void updates_before_changes(void **state)
{
    ROUND(fixture, GROUP_CONFIGURATION, A);

    (void)state;
    deliver_normal(&fixture, A, 1);
    deliver_normal(&fixture, B, 1);
    deliver_normal(&fixture, C, 1);
    deliver_index(&fixture, A, 5, 1, "0a1b");
    deliver_index(&fixture, B, 5, 1, "0a1b");
    deliver_index(&fixture, C, 4, 1, "0x1b");
    CHECK(&fixture, "updates(0) synced! apply(1:1)* apply(2:1)");
    assert_int_equal(machine_queued(fixture.machine), 1);
    deliver_normal(&fixture, C, 2); /* at once, before the older one in the queue */
    CHECK(&fixture, "apply(3:2)");
    complete(&fixture);
    CHECK(&fixture, "apply(3:1)");
    complete(&fixture);
    CHECK(&fixture, "");
}

static void malformed_state(struct member sender, const GByteArray *index)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    const struct member members[] = {A, B, C};

    start_round(&fixture);
    for (int i = 0; i < 3; i++)
        if (members[i].node == sender.node)
            deliver_sync(&fixture, sender, MESSAGE_STATE, &round_epoch, index->data, index->len);
        else
            deliver_index(&fixture, members[i], 5, 1, "0a1b");
    CHECK(&fixture, "error leave");
    CHECK_MODE(&fixture, MODE_LEAVE);
}

static void malformed_states(void **state)
{
    g_autoptr(GByteArray) cut = make_index(5, 1, "0a1b");
    g_autoptr(GByteArray) length = make_index(5, 1, "0a1b");
    g_autoptr(GByteArray) count = make_index(5, 1, "0a1b");
    g_autoptr(GByteArray) much = make_index(5, 1, "0a1b");

    (void)state;
    g_byte_array_set_size(cut, 31);
    malformed_state(A, cut);
    malformed_state(B, cut);
    malformed_state(C, cut);
    g_byte_array_set_size(cut, 0);
    malformed_state(C, cut);
    put_le32(length->data + 28, length->len - 1);
    malformed_state(A, length);
    malformed_state(C, length);
    put_le32(count->data + 24, 3);
    malformed_state(A, count);
    put_le32(much->data + 24, 0x66666667u * 2u); /* × 40 wraps around 32 bits */
    malformed_state(C, much);
}

/* The status group */

static void status_round(void **state)
{
    FIXTURE(fixture, GROUP_STATUS, B);

    (void)state;
    change_members(&fixture, "B", "B");
    CHECK(&fixture, "alone!");
    start_round(&fixture);
    deliver_normal(&fixture, C, 1);
    deliver_normal(&fixture, B, 1);
    deliver_log(&fixture, A, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
    deliver_log(&fixture, B, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
    CHECK(&fixture, "");
    deliver_log(&fixture, C, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
    CHECK(&fixture, "merge(3) synced! apply(3:1) apply(2:1)*");
    deliver_normal(&fixture, B, 2);
    deliver_normal(&fixture, X, 1);
    CHECK(&fixture, "apply(2:2)* apply(9:1)");
}

static void status_wrong_sizes(void **state)
{
    ROUND(fixture, GROUP_STATUS, B);

    (void)state;
    deliver_log(&fixture, A, CLUSTER_LOG_SIZE - 1, CLUSTER_LOG_SIZE);
    deliver_log(&fixture, B, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
    deliver_log(&fixture, C, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE + 8);
    CHECK(&fixture, "error error merge(1) synced!");
    start_round(&fixture);
    deliver_log(&fixture, A, 0, 0);
    deliver_log(&fixture, B, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
    deliver_log(&fixture, C, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
    CHECK(&fixture, "error merge(2) synced!");
}

/* Before the SYNC_START of the lowest, so that everybody keeps them. */
static void status_resends(void **state)
{
    ROUND(fixture, GROUP_STATUS, A);

    (void)state;
    deliver_normal(&fixture, A, 5);
    deliver_normal(&fixture, A, 4);
    deliver_normal(&fixture, C, 4);
    change_members(&fixture, "ABC", "C");
    CHECK(&fixture, "resend(1:4) resend(1:5) start(2)");
    assert_int_equal(machine_queued(fixture.machine), 0);
    change_members(&fixture, "ABC", "C");
    CHECK(&fixture, "start(3)");
}

static void status_resends_byte_for_byte(void **state)
{
    ROUND(fixture, GROUP_STATUS, B);
    struct buffer *message =
        wire_build_normal(1, STATUS_PROTOCOL, 77, 12345, (const uint8_t *)"body", 4);
    const struct member members[] = {A, B, C};
    struct action action;

    (void)state;
    machine_deliver(fixture.machine, B, message);
    machine_configuration(fixture.machine, members, 3, true, NOW);
    while (machine_next(fixture.machine, &action) && action.type != ACTION_SEND)
        ;
    assert_int_equal(action.kind, SEND_SYNC);
    assert_int_equal(message_size(action.message), message_size(message));
    assert_memory_equal(action.message->data, message->data, message_size(message));
    buffer_unref(message);
}

static void status_knows_no_verification(void **state)
{
    FIXTURE(fixture, GROUP_STATUS, A);

    (void)state;
    change_members(&fixture, "A", "A");
    ask(&fixture);
    CHECK(&fixture, "alone!");
    start_round(&fixture);
    deliver_logs(&fixture);
    CHECK(&fixture, "merge(3) synced!");
    deliver_request(&fixture, B, 1);
    deliver_sync(&fixture, B, MESSAGE_VERIFY_REQUEST, &round_epoch, NULL, 0);
    deliver_sync(&fixture, B, MESSAGE_VERIFY, &round_epoch, NULL, 0);
    complete(&fixture);
    CHECK(&fixture, "");
    CHECK_MODE(&fixture, MODE_SYNCED);
}

static void status_newer_protocol(void **state)
{
    FIXTURE(fixture, GROUP_STATUS, B);

    (void)state;
    change_members(&fixture, "B", "B");
    fixture.protocol = 1;
    deliver_normal(&fixture, B, 1);
    CHECK(&fixture, "alone! error out");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(second_sync_start),
        cmocka_unit_test(wrong_starter_is_logged),
        cmocka_unit_test(last_of_a_batch),
        cmocka_unit_test(second_state),
        cmocka_unit_test(state_of_stranger),
        cmocka_unit_test(choose),
        cmocka_unit_test(updates_before_changes),
        cmocka_unit_test(malformed_states),
        cmocka_unit_test(status_round),
        cmocka_unit_test(status_wrong_sizes),
        cmocka_unit_test(status_resends),
        cmocka_unit_test(status_resends_byte_for_byte),
        cmocka_unit_test(status_knows_no_verification),
        cmocka_unit_test(status_newer_protocol),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
