/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of a replica that cannot go on as usual: quorum, connection and database lost, callers that
 * wait for all members, locks that expire. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "core/digest.h"
#include "core/index.h"
#include "core/limits.h"
#include "replica/internal.h"
#include "replicas.h"

/* --- Quorum --- */

static void set_quorum(struct node *node, bool quorate)
{
    replica_post(node->replica, event_quorum(quorate));
    replica_run(node->replica);
}

static void test_quorum(void **unused)
{
    struct group group;
    struct asker asker = {0};

    (void)unused;
    group_start_joined(&group, 2);
    struct node *node = &group.nodes[1];
    assert_int_equal(group_do(&group, 1, change_create("f")), 0);
    set_quorum(node, false);
    assert_int_equal(node->quorum_changes, 2);
    node_ask(node, &asker, change_create("g"));
    assert_int_equal(asker.result, -EACCES);
    asker = (struct asker){0};
    node_ask(node, &asker, (struct change){.operation = CHANGE_UNLOCK_REQUEST, .path = "f"});
    assert_int_equal(asker.result, -EACCES);
    assert_true(g_queue_is_empty(&group.sent.messages)); /* nothing was sent */
    node_assert_content(node, "f", "");                  /* reads go on */
    set_quorum(node, false);
    assert_int_equal(node->quorum_changes, 2);
    set_quorum(node, true);
    assert_int_equal(group_do(&group, 1, change_create("g")), 0);
    group_stop(&group);
}

/* A change that comes to a node without quorum is not applied, and the node leaves: of any kind,
 * and from the queue too. */
static void test_delivered_without_quorum(void **unused)
{
    static const uint8_t body[40] = "digest of thirty-two bytes......pathname";
    struct group group;

    (void)unused;
    for (int kind = 0; kind < 2; kind++) {
        group_start_joined(&group, 2);
        struct node *node = &group.nodes[1];
        set_quorum(node, false);
        if (kind == 0) {
            assert_int_equal(group_do(&group, 0, change_create("f")), 0);
            assert_false(node_has(node, "f"));
        } else {
            uint8_t request[41] = {0};
            memcpy(request, body, 40);
            group_inject(&group, group.nodes[0].self,
                         message_normal(CHANGE_UNLOCK_REQUEST, request, sizeof(request)));
            group_settle(&group);
        }
        assert_int_equal(node->left, 1);
        assert_int_equal(group.nodes[0].left, 0);
        group_stop(&group);
    }
}

/* What was delivered before quorum was lost is judged by the quorum of before, though it waits in
 * the same batch. */
static void test_quorum_in_a_batch(void **unused)
{
    struct group group;
    struct asker asker = {0};

    (void)unused;
    group_start_joined(&group, 1);
    struct node *node = &group.nodes[0];
    node->keep_story = true;
    node_ask(node, &asker, change_create("f"));
    struct sent *sent = sent_queue_take(&group.sent);
    replica_post(node->replica, event_message(sent->sender, sent->message));
    replica_post(node->replica, event_quorum(false));
    replica_run(node->replica);
    assert_int_equal(asker.result, 0);
    assert_int_equal(node->left, 0);
    assert_false(node->transport.leaving);
    assert_string_equal(node->story->str, "publishing 1;published 1;answer 0;quorum 0;");
    sent_free(sent);
    group_stop(&group);
}

static void test_disconnected(void **unused)
{
    struct group group;
    struct asker askers[3] = {0};

    (void)unused;
    group_start_joined(&group, 2);
    struct node *node = &group.nodes[0];
    for (size_t i = 0; i < 3; i++)
        node_ask(node, &askers[i], change_create(i == 0 ? "f" : "g"));
    node->transport.joined = false; /* corosync dies with messages under way */
    replica_post(node->replica, event_new(EVENT_DISCONNECTED));
    replica_run(node->replica);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(askers[i].answers, 1);
        assert_int_equal(askers[i].result, -EBUSY);
    }
    assert_false(node_status(node).quorate);
    assert_false(node_status(node).joined);
    struct asker refused = {0};
    node_ask(node, &refused, change_create("h"));
    assert_int_equal(refused.result, -EACCES);
    /* The others have them; connected again, so has this node, and nobody is answered twice. */
    group_join(&group, 0);
    group_settle(&group);
    group_assert_same(&group);
    assert_true(node_has(node, "f"));
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(askers[i].answers, 1);
    assert_int_equal(node->replica->waiters.under_way.entries, 0);
    group_stop(&group);
}

/* A message that the transport refuses, or gives up later. */
static void test_send_fails(void **unused)
{
    struct group group;
    struct asker asker = {0};

    (void)unused;
    group_start_joined(&group, 2);
    struct node *node = &group.nodes[0];
    node->transport.refuse = -ENOBUFS;
    node_ask(node, &asker, change_create("f"));
    assert_int_equal(asker.answers, 1);
    assert_int_equal(asker.result, -ENOBUFS);
    node->transport.refuse = 0;
    assert_int_equal(node->replica->waiters.under_way.entries, 0);
    asker = (struct asker){0};
    node_ask(node, &asker, change_create("f"));
    g_autofree struct sent *lost = g_queue_pop_tail(&group.sent.messages);
    buffer_unref(lost->message);
    replica_post(node->replica, event_send_failed(SEND_NORMAL, asker.caller.count));
    replica_post(node->replica, event_send_failed(SEND_NORMAL, 4711)); /* nobody's */
    replica_run(node->replica);
    assert_int_equal(asker.result, -EBUSY);
    assert_int_equal(asker.answers, 1);
    /* What keeps the group in step must go out, or the node leaves; a request for a verification
     * need not. */
    node->transport.refuse = -EBUSY;
    replica_post(node->replica, event_new(EVENT_VERIFY));
    replica_run(node->replica);
    assert_false(node->transport.leaving);
    replica_post(node->replica, event_send_failed(SEND_UPDATE, 0));
    replica_run(node->replica);
    assert_false(node->transport.leaving);
    node->transport.refuse = 0;
    guint sent = group.sent.messages.length;
    replica_post(node->replica, event_new(EVENT_VERIFY));
    replica_run(node->replica);
    assert_int_equal(group.sent.messages.length, sent + 1); /* the next one is asked for again */
    replica_post(node->replica, event_send_failed(SEND_UPDATE, 0));
    replica_post(node->replica, event_new(EVENT_VERIFY));
    replica_run(node->replica);
    assert_int_equal(group.sent.messages.length, sent + 2);
    replica_post(node->replica, event_send_failed(SEND_SYNC, 0));
    replica_run(node->replica);
    assert_true(node->transport.leaving);
    group_settle(&group);
    assert_int_equal(node->left, 1);
    group_stop(&group);
}

/* A state that cannot be sent, in the middle of a synchronisation. */
static void test_state_not_sent(void **unused)
{
    struct group group;

    (void)unused;
    group_start_joined(&group, 2);
    group.nodes[0].transport.refuse = -ENOBUFS;
    group_join(&group, 1); /* joins again: nodes[0] cannot say SYNC_START */
    group_settle(&group);
    assert_int_equal(group.nodes[0].left, 1);
    group.nodes[0].transport.refuse = 0;
    group_join(&group, 0);
    group_settle(&group);
    group_assert_same(&group);
    group_stop(&group);
}

/* --- Databases that fail in a cluster --- */

static void test_broken(void **unused)
{
    struct group group;
    struct asker own = {0};

    (void)unused;
    group_start_joined(&group, 3);
    group_fill(&group, 0, "f", 2);
    struct node *node = &group.nodes[1];
    node->fail_commits = 1;
    node_ask(node, &own, change_create("own"));
    group_settle(&group);
    assert_int_equal(own.answers, 1);
    assert_int_equal(own.result, -EBUSY); /* it is made, elsewhere */
    assert_int_equal(node->left, 1);
    assert_true(node_status(node).broken);
    assert_false(node_has(node, "own"));
    assert_true(node_has(&group.nodes[0], "own")); /* the others have it */
    node_assert_stored(node);
    node_assert_content(node, "f0", "f");
    struct asker refused = {0};
    node_ask(node, &refused, change_create("x"));
    assert_int_equal(refused.result, -EIO);
    /* As long as the disk is full it better stays out, and does not get in. */
    disk_full(node, 0);
    assert_false(replica_consumer(node->replica)->ready(replica_consumer(node->replica)));
    disk_free();
    struct group_consumer *consumer = replica_consumer(group.nodes[0].replica);
    assert_true(consumer->ready(consumer));
    group_join(&group, 1);
    group_settle(&group);
    assert_int_equal(node->left, 2);
    assert_true(node_status(node).broken);
    node->fail_commits = 0;
    assert_true(replica_consumer(node->replica)->ready(replica_consumer(node->replica)));
    assert_true(node_status(node).broken); /* until it is in sync */
    group_join(&group, 1);
    group_settle(&group);
    assert_false(node_status(node).broken);
    group_assert_same(&group);
    assert_true(node_has(node, "own"));
    assert_int_equal(group_do(&group, 1, change_create("x")), 0);
    group_stop(&group);
}

/* Alone in the group nobody else has it: the error is what it says. */
static void test_broken_alone(void **unused)
{
    struct group group;
    struct asker own = {0};

    (void)unused;
    group_start(&group, 1);
    group_join(&group, 0);
    group.nodes[0].fail_commits = 1;
    node_ask(&group.nodes[0], &own, change_create("own"));
    group_settle(&group);
    group.nodes[0].fail_commits = 0;
    assert_true(own.result == -EIO || own.result == -ENOSPC);
    assert_int_equal(group.nodes[0].left, 1);
    assert_false(node_has(&group.nodes[0], "own"));
    group_stop(&group);
}

/* The database fails in the middle of a list of actions: what came behind is not applied on top. */
static void test_broken_in_a_batch(void **unused)
{
    struct group group;
    struct asker askers[3] = {0};

    (void)unused;
    group_start_joined(&group, 2);
    struct node *node = &group.nodes[0];
    node_ask(node, &askers[0], change_create("a"));
    node_ask(node, &askers[1], change_create("b"));
    node_ask(node, &askers[2], change_create("a"));
    struct sent *sent;
    while ((sent = sent_queue_take(&group.sent))) {
        replica_post(node->replica, event_message(sent->sender, sent->message));
        sent_free(sent);
    }
    replica_post(node->replica, event_new(EVENT_VERIFY)); /* asks for a checksum of it all */
    disk_full(node, 0);
    replica_run(node->replica);
    disk_free();
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(askers[i].answers, 1);
    assert_int_equal(askers[0].result, -EBUSY);
    assert_int_equal(askers[1].result, -EBUSY);
    assert_int_equal(askers[2].result, -EEXIST);
    assert_true(node->transport.leaving);
    assert_int_equal(node_version(node), 1);
    assert_int_equal(node->replica->committer.outcomes->len, 0);
    assert_true(draft_is_empty(node->replica->committer.draft));
    node_assert_stored(node);
    group_stop(&group);
}

/* --- Acknowledged by all --- */

static void test_acknowledge_all(void **unused)
{
    struct group group;
    struct asker first = {0};
    struct asker failed = {0};
    struct asker second = {0};

    (void)unused;
    group_start(&group, 2);
    group.nodes[0].replica->committer.parts.acknowledge_all = true;
    group_join(&group, 0);
    group_join(&group, 1);
    group_settle(&group);
    struct node *node = &group.nodes[0];
    node_ask(node, &first, change_create("f"));
    node_ask(node, &failed, change_create("x/y"));
    assert_true(group_step(&group));
    assert_true(node_has(node, "f"));
    assert_int_equal(first.answers, 0); /* a second round */
    assert_true(group_step(&group));
    assert_int_equal(failed.result, -ENOENT); /* nothing to wait for */
    assert_int_equal(first.answers, 0);
    assert_int_equal(node_status(node).waiting, 1);
    uint64_t version = node_version(node);
    assert_true(group_step(&group)); /* corosync has delivered this node its own request ... */
    assert_int_equal(first.answers, 0);
    assert_true(group_step(&group)); /* ... and the other one has confirmed it */
    assert_int_equal(first.answers, 1);
    assert_int_equal(first.result, 0);
    assert_int_equal(node_version(node), version);
    assert_false(group_step(&group));
    /* Taken back, or lost, in the second round. */
    node_ask(node, &second, change_create("g"));
    assert_true(group_step(&group));
    assert_true(replica_cancel(node->replica, &second.caller));
    group_settle(&group);
    assert_int_equal(second.answers, 0);
    second = (struct asker){0};
    node_ask(node, &second, change_create("h"));
    assert_true(group_step(&group));
    node->transport.joined = false;
    replica_post(node->replica, event_new(EVENT_DISCONNECTED));
    replica_run(node->replica);
    assert_int_equal(second.result, -EBUSY);
    assert_int_equal(node->replica->waiters.stored.length, 0);
    group_join(&group, 0);
    group_settle(&group);
    assert_int_equal(second.answers, 1);
    assert_int_equal(group.nodes[1].left, 0); /* a node without the option bears it */
    group_assert_same(&group);
    group_stop(&group);
}

/* --- Locks in a group --- */

static void test_unlock(void **unused)
{
    struct group group;
    struct change ask = {.operation = CHANGE_UNLOCK_REQUEST, .path = "priv/lock/a"};

    (void)unused;
    group_start_joined(&group, 3);
    assert_int_equal(group_do(&group, 0, change_mkdir("priv")), 0);
    assert_int_equal(group_do(&group, 0, change_mkdir("priv/lock")), 0);
    assert_int_equal(group_do(&group, 1, change_mkdir("priv/lock/a")), 0);
    assert_int_equal(group_do(&group, 2, ask), -EACCES);
    /* Only the clock of the lowest node counts. */
    group.nodes[1].clock.milliseconds += 1000000;
    group.nodes[2].clock.milliseconds += 1000000;
    assert_int_equal(group_do(&group, 2, ask), -EACCES);
    assert_true(node_has(&group.nodes[2], "priv/lock/a"));
    group.nodes[0].clock.milliseconds += 120001;
    /* The request, and then the mtime, which still finds the lock; then it is gone. */
    assert_int_equal(group_do(&group, 2, ask), -EACCES);
    for (size_t i = 0; i < 3; i++)
        assert_false(node_has(&group.nodes[i], "priv/lock/a"));
    assert_int_equal(group_do(&group, 2, ask), -ENOENT);
    assert_int_equal(group_do(&group, 2, change_mkdir("priv/lock/a")), 0);
    group_assert_same(&group);
    /* Its age survives that another node joins, and that the lowest goes: node 2's clock. */
    group.nodes[0].clock.milliseconds += 100000;
    group.nodes[1].clock.milliseconds += 130000;
    group_leave(&group, 2);
    group_join(&group, 2);
    group_settle(&group);
    assert_int_equal(group_do(&group, 1, ask), -EACCES);
    assert_true(node_has(&group.nodes[0], "priv/lock/a"));
    group_leave(&group, 0);
    assert_int_equal(group_do(&group, 2, ask), -EACCES); /* its own: a time too old */
    assert_false(node_has(&group.nodes[1], "priv/lock/a"));
    group_stop(&group);
}

/* A change arrives while members are brought into sync, and somebody else joins: it is not sent
 * again, and its caller hears that nobody knows. */
static void test_queued_at_a_join(void **unused)
{
    struct group group;
    struct asker asker = {0};
    struct member members[] = {{1, 1}, {2, 1}, {8, 8}, {9, 9}};

    (void)unused;
    group_start_joined(&group, 2);
    struct node *node = &group.nodes[0];
    members[0] = node->self;
    members[1] = group.nodes[1].self;
    node_ask(node, &asker, change_create("f"));
    replica_post(node->replica, event_configuration(members, 3, &members[2], 1));
    replica_run(node->replica);
    struct sent *sent = sent_queue_take(&group.sent);
    replica_post(node->replica, event_message(sent->sender, sent->message));
    replica_run(node->replica);
    sent_free(sent);
    assert_int_equal(node_status(node).queued, 1);
    assert_int_equal(asker.answers, 0);
    replica_post(node->replica, event_configuration(members, 4, &members[3], 1));
    replica_run(node->replica);
    assert_int_equal(asker.result, -EBUSY);
    assert_int_equal(node_status(node).queued, 0);
    while ((sent = sent_queue_take(&group.sent))) {
        assert_int_not_equal(get_le16(sent->message->data), MESSAGE_NORMAL);
        sent_free(sent);
    }
    group_stop(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quorum),
        cmocka_unit_test(test_delivered_without_quorum),
        cmocka_unit_test(test_quorum_in_a_batch),
        cmocka_unit_test(test_disconnected),
        cmocka_unit_test(test_send_fails),
        cmocka_unit_test(test_state_not_sent),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_broken_alone),
        cmocka_unit_test(test_broken_in_a_batch),
        cmocka_unit_test(test_acknowledge_all),
        cmocka_unit_test(test_unlock),
        cmocka_unit_test(test_queued_at_a_join),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
