/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of the synchronisation state machine (doc/cluster.md): deliveries by mode, changes of the
 * members, and anything at all. */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "core/index.h"
#include "machine_trace.h"

/* The table */

struct row {
    enum message_type type;
    enum machine_mode mode; /* afterwards */
    const char *trace;
};

static void check_rows(enum machine_mode mode, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        FIXTURE(fixture, GROUP_CONFIGURATION, B);
        struct epoch epoch = current_epoch(mode);
        enter(&fixture, mode);
        deliver_type(&fixture, rows[i].type, &epoch);
        CHECK(&fixture, rows[i].trace);
        CHECK_MODE(&fixture, rows[i].mode);
        assert_int_equal(machine_queued(fixture.machine),
                         rows[i].type == MESSAGE_NORMAL && mode != MODE_SYNCED);
    }
}

static void table_start(void **state)
{
    static const struct row rows[] = {
        {MESSAGE_NORMAL, MODE_START, ""},
        {MESSAGE_SYNC_START, MODE_LEAVE, "error leave"},
        {MESSAGE_STATE, MODE_LEAVE, "error leave"},
        {MESSAGE_UPDATE, MODE_LEAVE, "error leave"},
        {MESSAGE_UPDATE_COMPLETE, MODE_LEAVE, "error leave"},
        {MESSAGE_VERIFY_REQUEST, MODE_START, ""},
        {MESSAGE_VERIFY, MODE_START, ""},
        {UNKNOWN_TYPE, MODE_LEAVE, "error leave"},
    };

    (void)state;
    check_rows(MODE_START, rows, G_N_ELEMENTS(rows));
}

static void table_start_sync(void **state)
{
    static const struct row rows[] = {
        {MESSAGE_NORMAL, MODE_START_SYNC, ""},
        {MESSAGE_SYNC_START, MODE_START_SYNC, "state(7/1)"},
        {MESSAGE_STATE, MODE_START_SYNC, ""},
        {MESSAGE_UPDATE, MODE_LEAVE, "error leave"},
        {MESSAGE_UPDATE_COMPLETE, MODE_LEAVE, "error leave"},
        {MESSAGE_VERIFY_REQUEST, MODE_START_SYNC, ""},
        {MESSAGE_VERIFY, MODE_START_SYNC, ""},
        {UNKNOWN_TYPE, MODE_LEAVE, "error leave"},
    };

    (void)state;
    check_rows(MODE_START_SYNC, rows, G_N_ELEMENTS(rows));
}

static void table_synced(void **state)
{
    static const struct row rows[] = {
        {MESSAGE_NORMAL, MODE_SYNCED, "apply(1:1)"},
        {MESSAGE_SYNC_START, MODE_SYNCED, ""},
        {MESSAGE_STATE, MODE_SYNCED, ""},
        {MESSAGE_UPDATE, MODE_SYNCED, ""},
        {MESSAGE_UPDATE_COMPLETE, MODE_SYNCED, ""},
        {MESSAGE_VERIFY_REQUEST, MODE_SYNCED, "checksum"},
        {MESSAGE_VERIFY, MODE_SYNCED, ""},
        {UNKNOWN_TYPE, MODE_SYNCED, ""},
    };

    (void)state;
    check_rows(MODE_SYNCED, rows, G_N_ELEMENTS(rows));
}

static void table_update(void **state)
{
    static const struct row rows[] = {
        {MESSAGE_NORMAL, MODE_UPDATE, ""},
        {MESSAGE_SYNC_START, MODE_LEAVE, "error leave"},
        {MESSAGE_STATE, MODE_LEAVE, "error leave"},
        {MESSAGE_UPDATE, MODE_UPDATE, ""},
        {MESSAGE_UPDATE_COMPLETE, MODE_SYNCED, "commit(0) synced!"},
        {MESSAGE_VERIFY_REQUEST, MODE_UPDATE, ""},
        {MESSAGE_VERIFY, MODE_UPDATE, ""},
        {UNKNOWN_TYPE, MODE_LEAVE, "error leave"},
    };

    (void)state;
    check_rows(MODE_UPDATE, rows, G_N_ELEMENTS(rows));
}

/* Types 2 to 6 of another epoch are ignored in every mode, whatever field differs. */
static void other_epochs(void **state)
{
    (void)state;
    for (enum machine_mode mode = MODE_START; mode <= MODE_UPDATE; mode++)
        for (enum message_type type = MESSAGE_STATE; type <= MESSAGE_VERIFY; type++)
            for (int field = 0; field < 4; field++) {
                FIXTURE(fixture, GROUP_CONFIGURATION, B);
                struct epoch epoch = current_epoch(mode);
                enter(&fixture, mode);
                epoch.counter += field == 0;
                epoch.time += field == 1;
                epoch.node += field == 2;
                epoch.pid += field == 3;
                deliver_type(&fixture, type, &epoch);
                CHECK(&fixture, "");
                CHECK_MODE(&fixture, mode);
            }
}

/* Configuration changes */

static void alone(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    size_t count;

    (void)state;
    CHECK_MODE(&fixture, MODE_START);
    assert_false(machine_is_lowest(fixture.machine));
    change_members(&fixture, "B", "B");
    CHECK(&fixture, "alone!");
    CHECK_MODE(&fixture, MODE_SYNCED);
    assert_true(machine_is_lowest(fixture.machine));
    assert_int_equal(machine_members(fixture.machine, &count)->node, 2);
    assert_int_equal(count, 1);
    deliver_normal(&fixture, B, 1);
    CHECK(&fixture, "apply(2:1)*");
    change_members(&fixture, "B", "");
    CHECK(&fixture, "alone");
}

static void members_are_sorted(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    const struct member given[] = {{3, 30}, {2, 20}, {1, 12}, {1, 10}, {0x80000000u, 1}};
    const struct member sorted[] = {{1, 10}, {1, 12}, {2, 20}, {3, 30}, {0x80000000u, 1}};
    const struct member *members;
    size_t count;

    (void)state;
    machine_configuration(fixture.machine, given, 5, true, NOW);
    members = machine_members(fixture.machine, &count);
    assert_int_equal(count, 5);
    assert_memory_equal(members, sorted, sizeof(sorted));
    assert_false(machine_is_lowest(fixture.machine));
}

static void lowest_starts(void **state)
{
    FIXTURE(first, GROUP_CONFIGURATION, A);
    FIXTURE(second, GROUP_CONFIGURATION, B);

    (void)state;
    change_members(&first, "CBA", "A");
    CHECK(&first, "start(1)");
    CHECK_MODE(&first, MODE_START_SYNC);
    change_members(&second, "CBA", "A");
    CHECK(&second, "");
    CHECK_MODE(&second, MODE_START_SYNC);
    /* The counter rises with every change, also those that start nothing, and over a restart. */
    change_members(&second, "BC", "");
    CHECK(&second, "start(2)");
    machine_restart(second.machine, B);
    CHECK_MODE(&second, MODE_START);
    change_members(&second, "BC", "B");
    CHECK(&second, "start(3)");
}

/* What is compared is the node id: a second process of the lowest node starts one as well. */
static void lowest_by_node(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, ((struct member){1, 99}));
    const struct member members[] = {{1, 10}, {1, 99}, {2, 20}};

    (void)state;
    machine_configuration(fixture.machine, members, 3, true, NOW);
    drain(&fixture);
    CHECK(&fixture, "start(1)");
    assert_true(machine_is_lowest(fixture.machine));
}

static void own_epoch(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, A);
    const struct epoch expected = {1, NOW, 1, 10};
    struct member members[] = {A, B};
    struct action action;
    struct header header;

    (void)state;
    machine_configuration(fixture.machine, members, 2, true, NOW);
    machine_end_batch(fixture.machine);
    while (machine_next(fixture.machine, &action) && action.type != ACTION_SEND)
        ;
    assert_int_equal(wire_parse_header(action.message->data, message_size(action.message), &header),
                     0);
    assert_memory_equal(&header.epoch, &expected, sizeof(expected));
    assert_int_equal(header.protocol, CONFIGURATION_PROTOCOL);
}

static void not_a_member(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    change_members(&fixture, "AC", "A");
    CHECK(&fixture, "");
    CHECK_MODE(&fixture, MODE_START);
    change_members(&fixture, "", "");
    CHECK_MODE(&fixture, MODE_START);
    for (enum machine_mode mode = MODE_START_SYNC; mode <= MODE_UPDATE; mode++) {
        FIXTURE(other, GROUP_CONFIGURATION, B);
        enter(&other, mode);
        change_members(&other, "AC", "");
        CHECK(&other, "error leave");
        CHECK_MODE(&other, MODE_LEAVE);
    }
}

/* Every mode but those beyond starts a synchronisation again. */
static void change_restarts_round(void **state)
{
    (void)state;
    for (enum machine_mode mode = MODE_START; mode <= MODE_UPDATE; mode++) {
        FIXTURE(fixture, GROUP_CONFIGURATION, B);
        enter(&fixture, mode);
        change_members(&fixture, "AB", "");
        CHECK(&fixture, "");
        CHECK_MODE(&fixture, MODE_START_SYNC);
        /* States and epoch of the round before are forgotten. */
        deliver_index(&fixture, A, 5, 1, "0a");
        deliver_sync(&fixture, A, MESSAGE_SYNC_START, &round_epoch, NULL, 0);
        CHECK(&fixture, "state(7/1)");
        deliver_index(&fixture, A, 5, 1, "0a");
        CHECK(&fixture, "");
        deliver_index(&fixture, B, 5, 1, "0a");
        CHECK(&fixture, "synced!");
    }
}

static void alone_out_of_update(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_updating(&fixture);
    deliver_update(&fixture, A, 2);
    deliver_normal(&fixture, A, 1); /* sync queue: dropped */
    deliver_normal(&fixture, C, 1); /* gone with its sender */
    deliver_normal(&fixture, B, 1);
    assert_int_equal(machine_queued(fixture.machine), 3);
    change_members(&fixture, "B", "");
    CHECK(&fixture, "alone! apply(2:1)*");
    assert_int_equal(machine_queued(fixture.machine), 0);
    /* What is left of the round changes nothing. */
    deliver_update(&fixture, A, 1);
    complete(&fixture);
    CHECK(&fixture, "");
}

/* Anything at all */

static struct buffer *random_message(GRand *random, uint32_t protocol)
{
    uint32_t length = (uint32_t)g_rand_int_range(random, 0, 200);
    struct buffer *message = buffer_new(length);

    for (uint32_t i = 0; i < length; i++)
        message->data[i] = (uint8_t)g_rand_int_range(random, 0, 3);
    if (length >= HEADER_SIZE) {
        put_le16(message->data, (uint16_t)g_rand_int_range(random, 0, 8));
        put_le32(message->data + 4, protocol);
    }
    if (length >= SYNC_HEADER_SIZE && g_rand_int_range(random, 0, 4) > 0 && message->data[0] > 0) {
        put_le32(message->data + 16, round_epoch.counter);
        put_le32(message->data + 20, round_epoch.time);
        put_le32(message->data + 24, round_epoch.node);
        put_le32(message->data + 28, round_epoch.pid);
    }
    return message;
}

static void random_event(struct fixture *fixture, GRand *random)
{
    static const char *const sets[] = {"ABC", "AB", "BC", "B", "ABCX", "AC"};
    const struct member senders[] = {A, B, C, A, B, C, X};
    struct member sender = senders[g_rand_int_range(random, 0, 7)];

    switch (g_rand_int_range(random, 0, 16)) {
    case 0:
        change_members(fixture, sets[g_rand_int_range(random, 0, 6)],
                       g_rand_int_range(random, 0, 2) ? "A" : "");
        break;
    case 1:
        deliver_sync(fixture, sender, MESSAGE_SYNC_START, &round_epoch, NULL, 0);
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        if (fixture->protocol == STATUS_PROTOCOL)
            deliver_log(fixture, sender, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
        else
            deliver_index(fixture, sender, (uint64_t)g_rand_int_range(random, 0, 3), 1, "0a1b");
        break;
    case 6:
        complete(fixture);
        break;
    case 7:
        deliver_update(fixture, sender, 2);
        break;
    case 8:
        deliver(fixture, sender, random_message(random, fixture->protocol));
        break;
    case 9:
        deliver_request(fixture, sender, 1);
        compute(fixture);
        break;
    default:
        deliver_normal(fixture, sender, g_rand_int(random));
    }
}

static void anything(void **state)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    unsigned seen[256] = {0};

    (void)state;
    for (unsigned run = 0; run < 4000; run++) {
        bool status = run % 8 == 7;
        FIXTURE(fixture, status ? GROUP_STATUS : GROUP_CONFIGURATION, run % 2 ? A : B);
        change_members(&fixture, "ABC", "ABC");
        for (unsigned i = 0; i < 40; i++) {
            bool before = machine_mode(fixture.machine) >= MODE_LEAVE;
            g_string_truncate(fixture.trace, 0);
            random_event(&fixture, random);
            if (before)
                assert_string_equal(fixture.trace->str, "");
            if (machine_mode(fixture.machine) >= MODE_LEAVE)
                assert_int_equal(machine_queued(fixture.machine), 0);
            seen[machine_mode(fixture.machine)]++;
        }
    }
    /* It went everywhere, else it says little. */
    assert_true(seen[MODE_START_SYNC] && seen[MODE_SYNCED] && seen[MODE_UPDATE] &&
                seen[MODE_LEAVE]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_start),         cmocka_unit_test(table_start_sync),
        cmocka_unit_test(table_synced),        cmocka_unit_test(table_update),
        cmocka_unit_test(other_epochs),        cmocka_unit_test(alone),
        cmocka_unit_test(members_are_sorted),  cmocka_unit_test(lowest_starts),
        cmocka_unit_test(lowest_by_node),      cmocka_unit_test(own_epoch),
        cmocka_unit_test(not_a_member),        cmocka_unit_test(change_restarts_round),
        cmocka_unit_test(alone_out_of_update), cmocka_unit_test(anything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
