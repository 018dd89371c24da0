/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of the synchronisation state machine: what it does for each event, read as short traces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "cluster/machine.h"
#include "cluster/wire.h"
#include "core/index.h"

/* Three members; the machine is that of B unless a test says otherwise. X is never a member. */
static const struct member A = {1, 10}, B = {2, 20}, C = {3, 30}, X = {9, 90};

/* What A, the lowest, starts a synchronisation with. */
static const struct epoch round_epoch = {7, 70, 1, 10};

#define NOW 1000u

/* What ACTION_CHECKSUM is answered with. */
static const uint8_t some_digest[DIGEST_SIZE] = "a checksum of thirty-two bytes.";

/* A machine, and what it did since it was last looked at, one word for each action:
 *   start(E)          SYNC_START with epoch counter E   state(E/N)  SEND_STATE, epoch E of node N
 *   resend(N:C)       message C of node N once more     updates(I,I) SEND_UPDATES of these inodes
 *   apply(N:C)        with * if own                     commit(U)   with U kept updates
 *   merge(S)          with S states                     checksum
 *   synced, alone     with ! if the mode was another    request(I), verify(I)
 *   leave, out                                          error       a log line with LOG_ERR */
struct fixture {
    struct machine *machine;
    GString *trace;
    uint32_t protocol;
    int commit_result;
    bool hold_commit; /* do not answer ACTION_COMMIT */
};

static void fixture_clear(struct fixture *fixture)
{
    machine_free(fixture->machine);
    g_string_free(fixture->trace, TRUE);
}

static struct fixture fixture_new(enum machine_group group, struct member self)
{
    return (struct fixture){
        .machine = machine_new(group, self),
        .trace = g_string_new(NULL),
        .protocol = group == GROUP_CONFIGURATION ? CONFIGURATION_PROTOCOL : STATUS_PROTOCOL,
    };
}

#define FIXTURE(name, group, self)                                                                 \
    struct fixture name __attribute__((cleanup(fixture_clear))) = fixture_new(group, self)

/* Traces */

static void trace_send(GString *trace, const struct action *action)
{
    struct header header;

    assert_int_equal(
        wire_parse_header(action->message->data, message_size(action->message), &header), 0);
    assert_int_equal(action->kind, header.type == MESSAGE_VERIFY_REQUEST ? SEND_UPDATE : SEND_SYNC);
    switch (header.type) {
    case MESSAGE_NORMAL:
        g_string_append_printf(trace, "resend(%u:%u) ", header.body[0], (unsigned)header.count);
        break;
    case MESSAGE_SYNC_START:
        assert_int_equal(header.time, NOW);
        assert_int_equal(header.body_size, 0);
        g_string_append_printf(trace, "start(%u) ", header.epoch.counter);
        break;
    case MESSAGE_VERIFY_REQUEST:
        assert_int_equal(header.body_size, 8);
        g_string_append_printf(trace, "request(%u) ", (unsigned)get_le64(header.body));
        break;
    case MESSAGE_VERIFY:
        assert_int_equal(header.body_size, 40);
        assert_memory_equal(header.body + 8, some_digest, DIGEST_SIZE);
        g_string_append_printf(trace, "verify(%u) ", (unsigned)get_le64(header.body));
        break;
    default:
        fail_msg("message of type %u sent", header.type);
    }
}

static void trace_updates(GString *trace, const struct action *action)
{
    g_string_append(trace, "updates(");
    for (guint i = 0; i < action->inodes->len; i++)
        g_string_append_printf(trace, "%s%u", i ? "," : "",
                               (unsigned)g_array_index(action->inodes, uint64_t, i));
    g_string_append(trace, ") ");
}

static void trace_action(struct fixture *fixture, const struct action *action)
{
    GString *trace = fixture->trace;

    switch (action->type) {
    case ACTION_SEND:
        trace_send(trace, action);
        break;
    case ACTION_SEND_STATE:
        g_string_append_printf(trace, "state(%u/%u) ", action->epoch.counter, action->epoch.node);
        break;
    case ACTION_APPLY:
        g_string_append_printf(trace, "apply(%u:%u)%s ", action->sender.node,
                               (unsigned)get_le64(action->message->data + HEADER_SIZE),
                               action->own ? "*" : "");
        break;
    case ACTION_SEND_UPDATES:
        trace_updates(trace, action);
        break;
    case ACTION_COMMIT:
        g_string_append_printf(trace, "commit(%u) ", action->updates->len);
        if (!fixture->hold_commit)
            machine_committed(fixture->machine, fixture->commit_result);
        break;
    case ACTION_MERGE:
        g_string_append_printf(trace, "merge(%u) ", action->states->len);
        break;
    case ACTION_SYNCED:
        g_string_append_printf(trace, "%s%s ", action->alone ? "alone" : "synced",
                               action->became ? "!" : "");
        break;
    case ACTION_CHECKSUM:
        g_string_append(trace, "checksum ");
        break;
    case ACTION_LEAVE:
        g_string_append(trace, "leave ");
        break;
    case ACTION_STAY_OUT:
        g_string_append(trace, "out ");
        break;
    case ACTION_LOG:
        assert_true(action->text && action->text[0]);
        g_string_append(trace, action->priority == LOG_ERR ? "error " : "");
        break;
    }
}

static void drain(struct fixture *fixture)
{
    struct action action;

    while (machine_next(fixture->machine, &action))
        trace_action(fixture, &action);
}

/* What was done since the last look. */
static void check_at(struct fixture *fixture, const char *expected, const char *file, int line)
{
    g_autofree char *seen = g_strchomp(g_strdup(fixture->trace->str));

    g_string_truncate(fixture->trace, 0);
    _assert_string_equal(seen, expected, file, line);
}

#define CHECK(fixture, expected) check_at(fixture, expected, __FILE__, __LINE__)
#define CHECK_MODE(fixture, mode) assert_int_equal(machine_mode((fixture)->machine), mode)

/* Events */

static size_t name_members(const char *names, struct member *members)
{
    size_t count = strlen(names);

    for (size_t i = 0; i < count; i++)
        members[i] = names[i] == 'A' ? A : names[i] == 'B' ? B : names[i] == 'C' ? C : X;
    return count;
}

/* A configuration change: members and joined by their letters. */
static void change_members(struct fixture *fixture, const char *members, const char *joined)
{
    struct member all[8] = {0}, new[8] = {0};
    size_t all_count = name_members(members, all), new_count = name_members(joined, new);

    machine_configuration(fixture->machine, all, all_count, new, new_count, NOW);
    drain(fixture);
}

/* Delivers a message and gives the reference back. */
static void deliver(struct fixture *fixture, struct member sender, struct buffer *message)
{
    machine_deliver(fixture->machine, sender, message);
    buffer_unref(message);
    drain(fixture);
}

static void deliver_normal(struct fixture *fixture, struct member sender, uint64_t count)
{
    uint8_t body = (uint8_t)sender.node;

    deliver(fixture, sender, wire_build_normal(1, fixture->protocol, count, NOW, &body, 1));
}

static void deliver_sync(struct fixture *fixture, struct member sender, enum message_type type,
                         const struct epoch *epoch, const void *body, size_t body_size)
{
    deliver(fixture, sender, wire_build_sync(type, fixture->protocol, epoch, NOW, body, body_size));
}

/* An index as text: version, mtime, then inode (a digit) and digest (a letter) by turns. */
static GByteArray *make_index(uint64_t version, uint32_t mtime, const char *entries)
{
    uint32_t count = (uint32_t)strlen(entries) / 2;
    GByteArray *index = g_byte_array_new();
    uint8_t *to;

    g_byte_array_set_size(index, INDEX_HEADER_SIZE + count * INDEX_ENTRY_SIZE);
    to = index->data;
    put_le64(to, version);
    put_le64(to + 8, count > 0 ? (uint64_t)(entries[2 * count - 2] - '0') : 0);
    put_le32(to + 16, 1);
    put_le32(to + 20, mtime);
    put_le32(to + 24, count);
    put_le32(to + 28, index->len);
    to += INDEX_HEADER_SIZE;
    for (uint32_t i = 0; i < count; i++, to += INDEX_ENTRY_SIZE) {
        put_le64(to, (uint64_t)(entries[2 * i] - '0'));
        memset(to + 8, entries[2 * i + 1], DIGEST_SIZE);
    }
    return index;
}

static void deliver_index(struct fixture *fixture, struct member sender, uint64_t version,
                          uint32_t mtime, const char *entries)
{
    g_autoptr(GByteArray) index = make_index(version, mtime, entries);

    deliver_sync(fixture, sender, MESSAGE_STATE, &round_epoch, index->data, index->len);
}

static void deliver_update(struct fixture *fixture, struct member sender, uint64_t inode)
{
    struct entry *entry = entry_new(inode, 0, ENTRY_FILE, "name", 4, NULL, 0);

    deliver(fixture, sender, wire_build_update(&round_epoch, NOW, entry, NULL));
    entry_unref(entry);
}

/* Into START_SYNC with A, B, C and A's epoch. Nothing is left in the trace. */
static void start_round(struct fixture *fixture)
{
    change_members(fixture, "ABC", "ABC");
    deliver_sync(fixture, A, MESSAGE_SYNC_START, &round_epoch, NULL, 0);
    g_string_truncate(fixture->trace, 0);
    CHECK_MODE(fixture, MODE_START_SYNC);
}

static void become_synced(struct fixture *fixture)
{
    start_round(fixture);
    deliver_index(fixture, A, 5, 1, "0a1b");
    deliver_index(fixture, B, 5, 1, "0a1b");
    deliver_index(fixture, C, 5, 1, "0a1b");
    g_string_truncate(fixture->trace, 0);
    CHECK_MODE(fixture, MODE_SYNCED);
}

/* B and C are behind A. */
static void become_updating(struct fixture *fixture)
{
    start_round(fixture);
    deliver_index(fixture, A, 6, 1, "0a1b2c");
    deliver_index(fixture, B, 5, 1, "0x1b");
    deliver_index(fixture, C, 4, 1, "0y");
    g_string_truncate(fixture->trace, 0);
    CHECK_MODE(fixture, MODE_UPDATE);
}

static void complete(struct fixture *fixture)
{
    deliver_sync(fixture, A, MESSAGE_UPDATE_COMPLETE, &round_epoch, NULL, 0);
}

/* The table */

struct row {
    enum message_type type;
    enum machine_mode mode; /* afterwards */
    const char *trace;
};

static void enter(struct fixture *fixture, enum machine_mode mode)
{
    switch (mode) {
    case MODE_START:
        change_members(fixture, "AC", "AC"); /* others are there, but not yet B itself */
        break;
    case MODE_START_SYNC:
        start_round(fixture);
        break;
    case MODE_SYNCED:
        become_synced(fixture);
        break;
    default:
        become_updating(fixture);
    }
    CHECK(fixture, "");
    CHECK_MODE(fixture, mode);
}

/* The epoch that is current when enter(mode) is done. */
static struct epoch current_epoch(enum machine_mode mode)
{
    return mode == MODE_START ? (struct epoch){1, NOW, B.node, B.pid} : round_epoch;
}

static void deliver_type(struct fixture *fixture, enum message_type type, const struct epoch *epoch)
{
    g_autoptr(GByteArray) index = make_index(5, 1, "0a");
    struct entry *entry = entry_new(3, 0, ENTRY_FILE, "name", 4, NULL, 0);
    uint8_t verification[40] = {0};

    switch (type) {
    case MESSAGE_NORMAL:
        deliver_normal(fixture, A, 1);
        break;
    case MESSAGE_STATE:
        deliver_sync(fixture, A, type, epoch, index->data, index->len);
        break;
    case MESSAGE_UPDATE:
        deliver(fixture, A, wire_build_update(epoch, NOW, entry, NULL));
        break;
    case MESSAGE_VERIFY_REQUEST:
    case MESSAGE_VERIFY:
        deliver_sync(fixture, A, type, epoch, verification, type == MESSAGE_VERIFY ? 40 : 8);
        break;
    default:
        deliver_sync(fixture, A, type, epoch, NULL, 0);
    }
    entry_unref(entry);
}

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

#define UNKNOWN_TYPE ((enum message_type)7)

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
    machine_configuration(fixture.machine, given, 5, given, 1, NOW);
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
    machine_configuration(fixture.machine, members, 3, members, 1, NOW);
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
    machine_configuration(fixture.machine, members, 2, members, 1, NOW);
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

/* SYNC_START and STATE */

static void second_sync_start(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    const struct epoch other = {8, 80, 3, 30};
    g_autoptr(GByteArray) index = make_index(5, 1, "0a");

    (void)state;
    start_round(&fixture);
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
    assert_true(machine_next(fixture.machine, &action));
    assert_int_equal(action.type, ACTION_SEND_STATE);
    machine_deliver(fixture.machine, C, message);
    assert_true(machine_next(fixture.machine, &action));
    assert_int_equal(action.type, ACTION_LOG);
    assert_int_equal(action.priority, LOG_WARNING);
    buffer_unref(message);
}

static void second_state(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    start_round(&fixture);
    deliver_index(&fixture, A, 5, 1, "0a");
    deliver_index(&fixture, A, 5, 1, "0a");
    CHECK(&fixture, "error leave");
}

static void state_of_stranger(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    start_round(&fixture);
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
    FIXTURE(fixture, GROUP_CONFIGURATION, A);

    (void)state;
    start_round(&fixture);
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

/* Queues */

static void queue_order(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    start_round(&fixture);
    deliver_normal(&fixture, C, 5);
    deliver_normal(&fixture, A, 7);
    deliver_normal(&fixture, B, 5);
    deliver_normal(&fixture, A, 5);
    deliver_normal(&fixture, B, 1);
    deliver_normal(&fixture, C, 6);
    assert_int_equal(machine_queued(fixture.machine), 6);
    deliver_index(&fixture, A, 5, 1, "0a");
    deliver_index(&fixture, B, 5, 1, "0a");
    deliver_index(&fixture, C, 5, 1, "0a");
    CHECK(&fixture, "synced! apply(2:1)* apply(3:5) apply(2:5)* apply(1:5) apply(3:6) apply(1:7)");
    assert_int_equal(machine_queued(fixture.machine), 0);
}

/* Many of one count stay in order of arrival. */
static void queue_ties(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    const struct member senders[] = {A, B, C};
    g_autoptr(GString) expected = g_string_new("synced!");

    (void)state;
    start_round(&fixture);
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
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    start_round(&fixture);
    deliver_normal(&fixture, A, 0x100000001ull);
    deliver_normal(&fixture, C, 0xfffffffeull);
    deliver_normal(&fixture, A, 0x100000000ull);
    deliver_normal(&fixture, C, 0xffffffffull);
    deliver_normal(&fixture, B, 0x7ffffffffffffff9ull); /* only the low 32 bits count */
    deliver_index(&fixture, A, 5, 1, "0a");
    deliver_index(&fixture, B, 5, 1, "0a");
    deliver_index(&fixture, C, 5, 1, "0a");
    CHECK(&fixture, "synced! apply(2:4294967289)* apply(3:4294967294) apply(3:4294967295) "
                    "apply(1:0) apply(1:1)");
}

static void queue_of_departed(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    start_round(&fixture);
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

static void resending(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    start_round(&fixture);
    deliver_normal(&fixture, B, 9);
    deliver_normal(&fixture, A, 1);
    deliver_normal(&fixture, B, 8);
    deliver_normal(&fixture, C, 2);
    change_members(&fixture, "ABCX", "X");
    CHECK(&fixture, "resend(2:8) resend(2:9)");
    assert_int_equal(machine_queued(fixture.machine), 0);
    change_members(&fixture, "ABCX", "X");
    CHECK(&fixture, "");
}

/* Resent messages come before the SYNC_START of the lowest, so that everybody keeps them. */
static void resending_lowest(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, A);

    (void)state;
    start_round(&fixture);
    deliver_normal(&fixture, A, 3);
    change_members(&fixture, "ABCX", "X");
    CHECK(&fixture, "resend(1:3) start(2)");
}

static void resent_byte_for_byte(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    struct buffer *message =
        wire_build_normal(4, CONFIGURATION_PROTOCOL, 77, 12345, (const uint8_t *)"body", 4);
    const struct member members[] = {A, B, C};
    struct action action;

    (void)state;
    start_round(&fixture);
    machine_deliver(fixture.machine, B, message);
    machine_configuration(fixture.machine, members, 3, members, 1, NOW);
    while (machine_next(fixture.machine, &action) && action.type != ACTION_SEND)
        ;
    assert_int_equal(action.kind, SEND_SYNC);
    assert_int_equal(message_size(action.message), message_size(message));
    assert_memory_equal(action.message->data, message->data, message_size(message));
    buffer_unref(message);
}

/* UPDATE mode */

static void updating(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    start_round(&fixture);
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
    CHECK(&fixture, "commit(2) synced! apply(1:1) apply(1:2) apply(1:0) "
                    "apply(3:1) apply(2:1)* apply(3:2)");
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
    assert_int_equal(machine_queued(fixture.machine), 1);
    become_updating(&fixture);
    complete(&fixture);
    CHECK(&fixture, "commit(0) synced!");
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
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    const struct member members[] = {B};
    struct action action;

    (void)state;
    start_round(&fixture);
    deliver_normal(&fixture, B, 1);
    deliver_normal(&fixture, B, 2);
    machine_configuration(fixture.machine, members, 1, NULL, 0, NOW);
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

static void abandoning(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    struct buffer *message = wire_build_normal(1, CONFIGURATION_PROTOCOL, 1, NOW, NULL, 0);

    (void)state;
    become_synced(&fixture);
    machine_deliver(fixture.machine, A, message); /* its action is dropped */
    machine_abandon(fixture.machine, "no hope");
    drain(&fixture);
    CHECK(&fixture, "error out");
    CHECK_MODE(&fixture, MODE_ERROR);
    buffer_unref(message);
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
    machine_abandon(fixture.machine, "worse");
    drain(&fixture);
    CHECK(&fixture, "error out");
    CHECK_MODE(&fixture, MODE_ERROR);
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
    machine_configuration(fixture.machine, &B, 1, NULL, 0, NOW); /* its actions are not done */
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
    FIXTURE(fixture, GROUP_CONFIGURATION, B);
    g_autofree uint8_t *body = g_malloc0(1048576);
    struct buffer *message = wire_build_normal(1, CONFIGURATION_PROTOCOL, 1, NOW, body, 1048576);
    unsigned taken = 0;

    (void)state;
    start_round(&fixture);
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
        start_round(&fixture); /* the queue is resent */
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

/* Verification */

static const uint8_t other_digest[DIGEST_SIZE] = "another one of thirty-two bytes";

static void deliver_verify(struct fixture *fixture, uint64_t id, const uint8_t *digest)
{
    uint8_t body[8 + DIGEST_SIZE];

    put_le64(body, id);
    memcpy(body + 8, digest, DIGEST_SIZE);
    deliver_sync(fixture, A, MESSAGE_VERIFY, &round_epoch, body, sizeof(body));
}

static void deliver_request(struct fixture *fixture, struct member sender, uint64_t id)
{
    uint8_t body[8];

    put_le64(body, id);
    deliver_sync(fixture, sender, MESSAGE_VERIFY_REQUEST, &round_epoch, body, sizeof(body));
}

static void compute(struct fixture *fixture)
{
    machine_checksum(fixture->machine, some_digest, NOW);
    drain(fixture);
}

static void ask(struct fixture *fixture)
{
    machine_verify(fixture->machine, NOW);
    drain(fixture);
}

static void verification_asked_for(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, A);

    (void)state;
    ask(&fixture); /* START */
    start_round(&fixture);
    ask(&fixture);
    CHECK(&fixture, "");
    become_synced(&fixture);
    ask(&fixture);
    CHECK(&fixture, "request(1)");
    ask(&fixture); /* has not come back yet */
    CHECK(&fixture, "");
    deliver_request(&fixture, A, 1);
    CHECK(&fixture, "checksum");
    compute(&fixture);
    CHECK(&fixture, "verify(1)");
    compute(&fixture); /* nobody asked */
    CHECK(&fixture, "");
    deliver_verify(&fixture, 1, some_digest);
    CHECK(&fixture, "");
    CHECK_MODE(&fixture, MODE_SYNCED);
    ask(&fixture);
    CHECK(&fixture, "request(2)");
    /* It never comes back: the members changed. The ids go on, also over a restart. */
    become_synced(&fixture);
    ask(&fixture);
    CHECK(&fixture, "request(3)");
    machine_restart(fixture.machine, A);
    become_synced(&fixture);
    ask(&fixture);
    CHECK(&fixture, "request(4)");
}

static void verification_by_lowest_alone(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_synced(&fixture);
    ask(&fixture);
    CHECK(&fixture, "");
    change_members(&fixture, "B", "");
    ask(&fixture);
    CHECK(&fixture, "alone request(1)");
}

static void verification_of_another(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_synced(&fixture);
    deliver_verify(&fixture, 5, some_digest); /* nothing remembered */
    deliver_request(&fixture, A, 5);
    CHECK(&fixture, "checksum");
    compute(&fixture);
    CHECK(&fixture, ""); /* the one who asked sends it */
    deliver_verify(&fixture, 4, other_digest);
    deliver_verify(&fixture, 5, some_digest);
    CHECK_MODE(&fixture, MODE_SYNCED);
    CHECK(&fixture, "");
    deliver_verify(&fixture, 5, other_digest);
    CHECK(&fixture, "error leave");
}

/* Another's request is no answer to one's own, and what it asks for is sent by the other. */
static void verification_crossing(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, A);

    (void)state;
    become_synced(&fixture);
    ask(&fixture);
    CHECK(&fixture, "request(1)");
    deliver_request(&fixture, B, 1);
    compute(&fixture);
    CHECK(&fixture, "checksum");
    ask(&fixture);
    CHECK(&fixture, "");
    deliver_request(&fixture, A, 1);
    compute(&fixture);
    ask(&fixture);
    CHECK(&fixture, "checksum verify(1) request(2)");
}

static void verification_is_forgotten(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_synced(&fixture);
    deliver_request(&fixture, A, 5);
    compute(&fixture);
    become_synced(&fixture); /* the same epoch, since the test gives the same again */
    deliver_verify(&fixture, 5, other_digest);
    CHECK(&fixture, "");
    deliver_request(&fixture, A, 6);
    become_synced(&fixture);
    compute(&fixture);
    deliver_verify(&fixture, 6, other_digest);
    CHECK(&fixture, "");
    CHECK_MODE(&fixture, MODE_SYNCED);
}

static void malformed_verification(void **state)
{
    static const size_t lengths[] = {0, 7, 9, 39, 41};
    uint8_t body[48] = {0};

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++)
        for (enum message_type type = MESSAGE_VERIFY_REQUEST; type <= MESSAGE_VERIFY; type++) {
            FIXTURE(fixture, GROUP_CONFIGURATION, B);
            FIXTURE(updating, GROUP_CONFIGURATION, B);
            become_synced(&fixture);
            deliver_sync(&fixture, A, type, &round_epoch, body, lengths[i]);
            CHECK(&fixture, "error leave");
            become_updating(&updating);
            deliver_sync(&updating, A, type, &round_epoch, body, lengths[i]);
            CHECK(&updating, "");
        }
}

/* The status group */

static void deliver_log(struct fixture *fixture, struct member sender, uint32_t length,
                        uint32_t size)
{
    g_autofree uint8_t *log = g_malloc0(length + 8u);

    put_le32(log, size);
    deliver_sync(fixture, sender, MESSAGE_STATE, &round_epoch, log, length);
}

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
    FIXTURE(fixture, GROUP_STATUS, B);

    (void)state;
    start_round(&fixture);
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

static void status_resends(void **state)
{
    FIXTURE(fixture, GROUP_STATUS, A);

    (void)state;
    start_round(&fixture);
    deliver_normal(&fixture, A, 4);
    deliver_normal(&fixture, C, 4);
    change_members(&fixture, "ABC", "C");
    CHECK(&fixture, "resend(1:4) start(2)");
}

static void status_knows_no_verification(void **state)
{
    FIXTURE(fixture, GROUP_STATUS, A);

    (void)state;
    change_members(&fixture, "A", "A");
    ask(&fixture);
    CHECK(&fixture, "alone!");
    start_round(&fixture);
    deliver_log(&fixture, A, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
    deliver_log(&fixture, B, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
    deliver_log(&fixture, C, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
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
        cmocka_unit_test(table_start),
        cmocka_unit_test(table_start_sync),
        cmocka_unit_test(table_synced),
        cmocka_unit_test(table_update),
        cmocka_unit_test(other_epochs),
        cmocka_unit_test(alone),
        cmocka_unit_test(members_are_sorted),
        cmocka_unit_test(lowest_starts),
        cmocka_unit_test(lowest_by_node),
        cmocka_unit_test(own_epoch),
        cmocka_unit_test(not_a_member),
        cmocka_unit_test(change_restarts_round),
        cmocka_unit_test(alone_out_of_update),
        cmocka_unit_test(second_sync_start),
        cmocka_unit_test(wrong_starter_is_logged),
        cmocka_unit_test(second_state),
        cmocka_unit_test(state_of_stranger),
        cmocka_unit_test(choose),
        cmocka_unit_test(updates_before_changes),
        cmocka_unit_test(malformed_states),
        cmocka_unit_test(queue_order),
        cmocka_unit_test(queue_ties),
        cmocka_unit_test(queue_wraps_around),
        cmocka_unit_test(queue_of_departed),
        cmocka_unit_test(resending),
        cmocka_unit_test(resending_lowest),
        cmocka_unit_test(resent_byte_for_byte),
        cmocka_unit_test(updating),
        cmocka_unit_test(what_is_committed),
        cmocka_unit_test(commit_fails),
        cmocka_unit_test(commit_too_late),
        cmocka_unit_test(updates_are_forgotten),
        cmocka_unit_test(malformed_update),
        cmocka_unit_test(short_messages),
        cmocka_unit_test(strangers),
        cmocka_unit_test(newer_protocol),
        cmocka_unit_test(older_protocol),
        cmocka_unit_test(own_messages),
        cmocka_unit_test(failing),
        cmocka_unit_test(abandoning),
        cmocka_unit_test(failing_while_leaving),
        cmocka_unit_test(beyond),
        cmocka_unit_test(restarting),
        cmocka_unit_test(kept_messages_are_bounded),
        cmocka_unit_test(kept_messages_are_counted_down),
        cmocka_unit_test(verification_asked_for),
        cmocka_unit_test(verification_by_lowest_alone),
        cmocka_unit_test(verification_of_another),
        cmocka_unit_test(verification_crossing),
        cmocka_unit_test(verification_is_forgotten),
        cmocka_unit_test(malformed_verification),
        cmocka_unit_test(status_round),
        cmocka_unit_test(status_wrong_sizes),
        cmocka_unit_test(status_resends),
        cmocka_unit_test(status_knows_no_verification),
        cmocka_unit_test(status_newer_protocol),
        cmocka_unit_test(anything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
