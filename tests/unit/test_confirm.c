/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of confirmations (replica/confirm.h): their bytes, who answers whom, and what an answer
 * with --acknowledge=all waits for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "replica/confirm.h"
#include "replica/internal.h"
#include "replicas.h"

static const struct member members[] = {{1, 10}, {2, 20}, {3, 30}};

/* --- Bytes --- */

static struct header header_of(const struct buffer *message)
{
    struct header header;

    assert_int_equal(wire_parse_header(message->data, message_size(message), &header), 0);
    return header;
}

static void bytes(void **state)
{
    static const uint8_t expected[] = {6, 0, 0, 0, 1,   0,   0,   0,   7, 0, 0, 0, 0, 0, 0, 0,
                                       0, 0, 0, 0, 'c', 'n', 'f', 'm', 0, 0, 0, 0, 0, 0, 0, 0,
                                       2, 0, 0, 0, 20,  0,   0,   0,   5, 0, 0, 0, 0, 0, 0, 0};
    const struct confirmation one = {members[1], 5};
    struct buffer *message = wire_build_confirmation(&one, 1, 7);
    struct header header = header_of(message);
    uint64_t count;

    (void)state;
    assert_int_equal(message_size(message), sizeof(expected));
    assert_memory_equal(message->data, expected, sizeof(expected));
    assert_true(wire_is_confirmation(&header));
    assert_false(wire_is_confirm_request(&header));
    assert_int_equal(wire_parse_confirmation(header.body, header.body_size, members[1], &count), 0);
    assert_int_equal(count, 5);
    assert_int_equal(wire_parse_confirmation(header.body, header.body_size, members[0], &count), 0);
    assert_int_equal(count, 0);
    for (size_t size = 1; size < 16; size++)
        assert_int_equal(wire_parse_confirmation(header.body, size, members[1], &count), -EBADMSG);
    buffer_unref(message);
    message = wire_build_confirm_request(0x0102030405060708ull, 7);
    header = header_of(message);
    assert_true(wire_is_confirm_request(&header));
    assert_false(wire_is_confirmation(&header));
    assert_int_equal(header.body_size, 8); /* as long as any VERIFY_REQUEST */
    assert_int_equal(wire_parse_confirm_request(header.body, 8, &count), 0);
    assert_true(count == 0x0102030405060708ull);
    assert_int_equal(wire_parse_confirm_request(header.body, 7, &count), -EBADMSG);
    header.epoch.node = 1;
    assert_false(wire_is_confirm_request(&header)); /* a verification */
    buffer_unref(message);
}

/* A machine, of this release or of any that keeps to doc/cluster.md, takes no notice in any mode.
 */
static void others_ignore_them(void **state)
{
    struct machine *machine = machine_new(GROUP_CONFIGURATION, members[0]);
    struct buffer *messages[] = {wire_build_confirm_request(1, 7),
                                 wire_build_confirmation(NULL, 0, 7)};
    struct action action;

    (void)state;
    for (int mode = MODE_START; mode <= MODE_START_SYNC; mode++) {
        for (size_t i = 0; i < G_N_ELEMENTS(messages); i++) {
            machine_deliver(machine, members[1], messages[i]);
            assert_false(machine_next(machine, &action));
            assert_int_equal(machine_mode(machine), mode);
        }
        machine_configuration(machine, members, 3, true, 7);
        machine_end_batch(machine);
        while (machine_next(machine, &action))
            continue;
    }
    machine_configuration(machine, members, 1, false, 8); /* alone, in sync */
    while (machine_next(machine, &action))
        continue;
    for (size_t i = 0; i < G_N_ELEMENTS(messages); i++) {
        machine_deliver(machine, members[0], messages[i]);
        assert_false(machine_next(machine, &action));
        assert_int_equal(machine_mode(machine), MODE_SYNCED);
        buffer_unref(messages[i]);
    }
    machine_free(machine);
}

/* --- Who has confirmed what --- */

static void request(struct confirm *confirm, size_t sender, uint64_t count, bool synced)
{
    struct buffer *message = wire_build_confirm_request(count, 7);
    struct header header = header_of(message);

    confirm_take(confirm, members[sender], &header, synced);
    buffer_unref(message);
}

static void confirmed(struct confirm *confirm, size_t sender, struct member of, uint64_t count)
{
    const struct confirmation one = {of, count};
    struct buffer *message = wire_build_confirmation(&one, of.node ? 1 : 0, 7);
    struct header header = header_of(message);

    confirm_take(confirm, members[sender], &header, true);
    buffer_unref(message);
}

static void announced(struct confirm *confirm, size_t sender)
{
    confirmed(confirm, sender, (struct member){0}, 0);
}

static void start(struct confirm *confirm)
{
    confirm_init(confirm, members[0]);
    confirm_configuration(confirm, members[0], members, 3);
}

static void all_must_confirm(void **state)
{
    struct confirm confirm;

    (void)state;
    start(&confirm);
    announced(&confirm, 1);
    announced(&confirm, 2);
    confirmed(&confirm, 1, members[0], 9); /* asked by nobody: it is not believed */
    request(&confirm, 0, 3, true);
    assert_int_equal(confirm_reached(&confirm), 0);
    confirmed(&confirm, 1, members[0], 3);
    assert_int_equal(confirm_reached(&confirm), 0);
    confirmed(&confirm, 2, members[1], 3); /* another's */
    assert_int_equal(confirm_reached(&confirm), 0);
    confirmed(&confirm, 2, members[0], 3);
    assert_int_equal(confirm_reached(&confirm), 3);
    request(&confirm, 0, 5, true);
    request(&confirm, 0, 6, true);
    confirmed(&confirm, 1, members[0], 6);
    confirmed(&confirm, 2, members[0], 5);
    assert_int_equal(confirm_reached(&confirm), 5);
    confirm_destroy(&confirm);
}

static void who_cannot_is_left_out(void **state)
{
    struct confirm confirm;
    struct member restarted[] = {members[0], {2, 21}, members[2]};

    (void)state;
    start(&confirm);
    announced(&confirm, 2);
    assert_true(confirm_is_able(&confirm, &members[0]));
    assert_false(confirm_is_able(&confirm, &members[1]));
    request(&confirm, 0, 3, true);
    assert_int_equal(confirm_reached(&confirm), 0);
    confirmed(&confirm, 2, members[0], 3);
    assert_int_equal(confirm_reached(&confirm), 3);
    announced(&confirm, 1);
    assert_int_equal(confirm_reached(&confirm), 0);
    /* Of one that stays it is remembered; of another process on the same node it is not known. */
    confirm_configuration(&confirm, members[0], restarted, 3);
    assert_false(confirm_is_able(&confirm, &restarted[1]));
    assert_false(confirm_is_able(&confirm, &members[1]));
    assert_true(confirm_is_able(&confirm, &members[2]));
    assert_int_equal(confirm_reached(&confirm), 0);
    confirm_destroy(&confirm);
}

/* Many requests of many members are answered by one message; those of before a change of
 * membership, of strangers, and those that came while this node was not in sync, by none. */
static void one_answer_for_many(void **state)
{
    struct confirm confirm;
    uint64_t count;

    (void)state;
    start(&confirm);
    assert_null(confirm_answer(&confirm, 8));
    for (uint64_t i = 1; i <= 5; i++) {
        request(&confirm, 1, i, true);
        request(&confirm, 2, 10 * i, true);
        request(&confirm, 0, i, true);
    }
    struct buffer *message = confirm_answer(&confirm, 8);
    struct header header = header_of(message);
    assert_int_equal(header.body_size, 2 * 16);
    assert_int_equal(wire_parse_confirmation(header.body, header.body_size, members[1], &count), 0);
    assert_int_equal(count, 5);
    assert_int_equal(wire_parse_confirmation(header.body, header.body_size, members[2], &count), 0);
    assert_int_equal(count, 50);
    buffer_unref(message);
    assert_null(confirm_answer(&confirm, 8));
    confirm_again(&confirm); /* it could not be sent */
    message = confirm_answer(&confirm, 8);
    header = header_of(message);
    assert_int_equal(header.body_size, 2 * 16);
    buffer_unref(message);
    assert_null(confirm_answer(&confirm, 8));
    request(&confirm, 1, 6, false);
    assert_null(confirm_answer(&confirm, 8));
    request(&confirm, 1, 7, true);
    confirm_configuration(&confirm, members[0], members, 1);
    confirm_again(&confirm);
    assert_null(confirm_answer(&confirm, 8));
    request(&confirm, 1, 8, true); /* has left */
    assert_null(confirm_answer(&confirm, 8));
    confirm_destroy(&confirm);
}

/* --- In a group --- */

static void start_group(struct group *group, unsigned nodes)
{
    group_start(group, nodes);
    group->nodes[0].replica->committer.parts.acknowledge_all = true;
    for (unsigned i = 0; i < nodes; i++)
        group_join(group, i);
    group_settle(group);
}

/* Corosync delivers a node its own messages at once; the others may lack them. */
static void deliver_own(struct group *group)
{
    struct sent *sent;

    while ((sent = sent_queue_take(&group->sent))) {
        assert_int_equal(sent->sender.node, 1);
        replica_post(group->nodes[0].replica, event_message(sent->sender, sent->message));
        replica_run(group->nodes[0].replica);
        sent_free(sent);
    }
}

/* What only this node has is not answered for; when the others have gone on it is taken away, and
 * its caller knows that it cannot rely on it. */
static void alone_with_a_change(void **state)
{
    struct group group;
    struct asker asker = {0};

    (void)state;
    start_group(&group, 3);
    struct node *node = &group.nodes[0];
    node_ask(node, &asker, change_create("f"));
    deliver_own(&group); /* the change and the request for confirmation */
    assert_true(node_has(node, "f"));
    assert_int_equal(asker.answers, 0);
    replica_post(node->replica, event_quorum(false));
    struct member alone = node->self;
    replica_post(node->replica, event_configuration(&alone, 1, NULL, 0));
    replica_run(node->replica);
    assert_int_equal(node_status(node).mode, MODE_SYNCED);
    assert_int_equal(asker.answers, 0); /* alone and without quorum: nothing is known */
    node->transport.joined = false;
    struct member others[] = {group.nodes[1].self, group.nodes[2].self};
    for (size_t i = 1; i < 3; i++) {
        replica_post(group.nodes[i].replica, event_configuration(others, 2, NULL, 0));
        replica_run(group.nodes[i].replica);
    }
    group_settle(&group);
    for (unsigned i = 0; i < 3; i++) {
        g_autofree char *path = g_strdup_printf("other%u", i);
        assert_int_equal(group_do(&group, 1, change_create(path)), 0);
    }
    assert_int_equal(asker.answers, 0);
    node->transport.joined = true;
    replica_post(node->replica, event_quorum(true));
    struct member all[] = {node->self, others[0], others[1]};
    for (size_t i = 0; i < 3; i++) {
        replica_post(group.nodes[i].replica, event_configuration(all, 3, &node->self, 1));
        replica_run(group.nodes[i].replica);
    }
    group_settle(&group);
    assert_int_equal(asker.answers, 1);
    assert_int_equal(asker.result, -EBUSY);
    assert_false(node_has(node, "f"));
    group_assert_same(&group);
    group_stop(&group);
}

/* A member that leaves is waited for no longer, and one that comes is. */
static void members_change_meanwhile(void **state)
{
    struct group group;
    struct asker asker = {0};

    (void)state;
    start_group(&group, 3);
    node_ask(&group.nodes[0], &asker, change_create("f"));
    assert_true(group_step(&group));            /* the change; the request is under way */
    group.nodes[2].transport.refuse = -ENOBUFS; /* its confirmation gets nowhere */
    group_settle(&group);
    assert_int_equal(asker.answers, 0);
    group.nodes[2].transport.refuse = 0;
    group_leave(&group, 2);
    assert_int_equal(asker.answers, 0); /* until the rest is in sync, and has confirmed */
    group_settle(&group);
    assert_int_equal(asker.answers, 1);
    assert_int_equal(asker.result, 0);
    asker = (struct asker){0};
    node_ask(&group.nodes[0], &asker, change_create("g"));
    assert_true(group_step(&group));
    group.nodes[1].transport.refuse = -ENOBUFS;
    group_settle(&group);
    assert_int_equal(asker.answers, 0);
    group.nodes[1].transport.refuse = 0;
    group_join(&group, 2);
    group_settle(&group);
    assert_int_equal(asker.answers, 1);
    assert_int_equal(asker.result, 0);
    assert_true(node_has(&group.nodes[2], "g"));
    group_assert_same(&group);
    group_stop(&group);
}

static bool shown_as_confirming(struct node *node, guint position)
{
    g_autoptr(GArray) shown = replica_members(node->replica);

    return g_array_index(shown, struct replica_member, position).confirms;
}

/* Nobody gets confirmations of that node; how many there were. */
static unsigned settle_without_confirmations(struct group *group, uint32_t node)
{
    const struct sent *next;
    unsigned dropped = 0;

    do {
        while ((next = g_queue_peek_head(&group->sent.messages)) && next->sender.node == node) {
            struct header header = header_of(next->message);
            if (!wire_is_confirmation(&header))
                break;
            sent_free(sent_queue_take(&group->sent));
            dropped++;
        }
    } while (group_step(group));
    return dropped;
}

/* A member of another kind, or of an older release, says nothing: it is not waited for, and shown
 * as what it is. */
static void a_member_that_cannot(void **state)
{
    struct group group;
    struct asker asker = {0};
    struct sent *sent;
    unsigned dropped = 0;

    (void)state;
    group_start(&group, 3);
    group.nodes[0].replica->committer.parts.acknowledge_all = true;
    for (unsigned i = 0; i < 3; i++) {
        group_join(&group, i);
        dropped += settle_without_confirmations(&group, 2);
    }
    assert_true(dropped > 0);
    struct node *node = &group.nodes[0];
    assert_true(shown_as_confirming(node, 0) && shown_as_confirming(node, 2));
    assert_false(shown_as_confirming(node, 1));
    node_ask(node, &asker, change_create("f"));
    assert_true(group_step(&group)); /* the change */
    assert_true(group_step(&group)); /* the request */
    assert_int_equal(asker.answers, 0);
    while ((sent = sent_queue_take(&group.sent))) {
        if (sent->sender.node == 3) {
            replica_post(node->replica, event_message(sent->sender, sent->message));
            replica_run(node->replica);
        }
        sent_free(sent);
    }
    assert_int_equal(asker.answers, 1);
    assert_int_equal(asker.result, 0);
    group_stop(&group);
}

/* What a member could not store it does not confirm. */
static void not_before_it_is_stored(void **state)
{
    struct group group;
    struct asker asker = {0};

    (void)state;
    start_group(&group, 2);
    assert_int_equal(group_do(&group, 0, change_create("f")), 0);
    group.nodes[1].fail_commits = 1;
    node_ask(&group.nodes[0], &asker, change_text("f", "more than the disk takes"));
    assert_true(group_step(&group)); /* the other one wants to leave */
    assert_true(group.nodes[1].transport.leaving);
    assert_int_equal(asker.answers, 0);
    group_settle(&group);
    assert_int_equal(group.nodes[1].left, 1);
    assert_int_equal(asker.answers, 1); /* alone, with quorum: as its members are, all have it */
    assert_int_equal(asker.result, 0);
    group_stop(&group);
}

/* The others cannot be asked: the change is made all the same, so the answer is not that it is not.
 */
static void cannot_ask(void **state)
{
    struct group group;
    struct asker asker = {0};

    (void)state;
    start_group(&group, 3);
    node_ask(&group.nodes[0], &asker, change_create("f"));
    group.nodes[0].transport.refuse = -ENOBUFS; /* the outbox is full when the request is due */
    assert_true(group_step(&group));
    group.nodes[0].transport.refuse = 0;
    group_settle(&group);
    assert_int_equal(asker.answers, 1);
    assert_int_equal(asker.result, -EBUSY);
    assert_true(node_has(&group.nodes[2], "f"));
    group_stop(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes),
        cmocka_unit_test(cannot_ask),
        cmocka_unit_test(others_ignore_them),
        cmocka_unit_test(all_must_confirm),
        cmocka_unit_test(who_cannot_is_left_out),
        cmocka_unit_test(one_answer_for_many),
        cmocka_unit_test(alone_with_a_change),
        cmocka_unit_test(members_change_meanwhile),
        cmocka_unit_test(a_member_that_cannot),
        cmocka_unit_test(not_before_it_is_stored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
