/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of replicas in a group: changes and callers, synchronisations, changes while members come
 * and go. */
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

/* --- In a group --- */

static void test_group(void **unused)
{
    struct group group;

    (void)unused;
    group_start_joined(&group, 3);
    assert_int_equal(group_do(&group, 0, change_create("f")), 0);
    assert_int_equal(group_do(&group, 1, change_text("f", "two")), 0);
    assert_int_equal(group_do(&group, 2, change_create("f")), -EEXIST);
    assert_int_equal(group_do(&group, 2, change_mkdir("d")), 0);
    group_assert_same(&group);
    for (size_t i = 0; i < 3; i++) {
        node_assert_content(&group.nodes[i], "f", "two");
        assert_int_equal(group.nodes[i].left, 0);
    }
    const struct entry *entry = tree_entry(group.nodes[0].replica->committer.state->tree, 2);
    assert_int_equal(entry->writer, 2);
    /* An effect's origin is known where it was asked for, and nowhere else: see on_published(). */
    group_stop(&group);
}

/* What is published, and whether anybody can be given up while it is. */
static struct {
    unsigned own;
    unsigned anybodys;
    struct asker *given_up;
} publication;

static void note_publication(struct replica_listener *listener, const GPtrArray *effects,
                             bool rebuilt)
{
    struct node *node = container_of(listener, struct node, listener);

    (void)rebuilt;
    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = effects->pdata[i];
        publication.own += effect->origin != NULL;
        publication.anybodys += effect->origin == NULL;
    }
    assert_false(replica_cancel(node->replica, &publication.given_up->caller));
}

/* Who is killed while a change is stored has had the kernel forget what it knew, too early: so the
 * kernel is told of it as of another's. Afterwards, until the answer, nobody is given up. */
static void test_given_up_while_it_is_stored(void **unused)
{
    struct group group;
    struct asker askers[2] = {0};
    const char *const names[] = {"f", "g"};

    (void)unused;
    group_start_joined(&group, 1);
    struct node *node = &group.nodes[0];
    struct committer *committer = &node->replica->committer;
    for (size_t i = 0; i < 2; i++) {
        node_ask(node, &askers[i], change_create(names[i]));
        const struct outcome outcome = {.message = buffer_new(1),
                                        .change = change_create(names[i]),
                                        .count = askers[i].caller.count,
                                        .own = true};
        commit_apply(committer, &outcome);
        buffer_unref(outcome.message);
    }
    assert_true(replica_cancel(node->replica, &askers[0].caller));
    publication.given_up = &askers[1];
    node->listener.publishing = note_publication;
    assert_int_equal(commit_flush(committer), 0);
    assert_int_equal(publication.own, 1);
    assert_int_equal(publication.anybodys, 1);
    assert_int_equal(askers[0].answers, 0);
    assert_int_equal(askers[1].answers, 1);
    assert_int_equal(askers[1].result, 0);
    group_stop(&group);
}

/* A caller is answered when its change has come back, not sooner. */
static void test_waiting(void **unused)
{
    struct group group;
    struct asker asker = {0};
    struct asker other = {0};

    (void)unused;
    group_start_joined(&group, 2);
    node_ask(&group.nodes[0], &asker, change_create("f"));
    node_ask(&group.nodes[0], &other, change_create("g"));
    assert_int_equal(asker.answers, 0);
    assert_int_equal(node_status(&group.nodes[0]).waiting, 2);
    assert_int_equal(group.nodes[0].replica->waiters.under_way.entries, 2);
    assert_false(node_has(&group.nodes[0], "f"));
    assert_true(group_step(&group));
    assert_int_equal(asker.answers, 1);
    assert_int_equal(asker.result, 0);
    assert_int_equal(other.answers, 0);
    /* Taken back: the change is made all the same, and nobody is answered. */
    assert_true(replica_cancel(group.nodes[0].replica, &other.caller));
    assert_false(replica_cancel(group.nodes[0].replica, &other.caller));
    assert_false(replica_cancel(group.nodes[0].replica, &asker.caller));
    group_settle(&group);
    assert_int_equal(other.answers, 0);
    assert_true(node_has(&group.nodes[1], "g"));
    assert_int_equal(group.nodes[0].replica->waiters.under_way.entries, 0);
    group_assert_same(&group);
    group_stop(&group);
}

static void test_expire(void **unused)
{
    struct group group;
    struct asker asker = {0};
    struct asker late = {0};

    (void)unused;
    group_start_joined(&group, 2);
    struct node *node = &group.nodes[0];
    node_ask(node, &asker, change_create("f"));
    node->clock.milliseconds += 10000;
    node_ask(node, &late, change_create("g"));
    replica_expire(node->replica, 20000);
    assert_int_equal(asker.answers, 0);
    node->clock.milliseconds += 10000;
    replica_expire(node->replica, 20000);
    assert_int_equal(asker.result, -EBUSY);
    assert_int_equal(late.answers, 0);
    group_settle(&group);
    assert_int_equal(asker.answers, 1);
    assert_int_equal(late.result, 0);
    assert_true(node_has(node, "f")); /* it was made all the same */
    group_assert_same(&group);
    group_stop(&group);
}

/* An empty database joins; one that is older; then the leader goes and comes back older. */
static void test_join(void **unused)
{
    struct group group;

    (void)unused;
    group_start(&group, 3);
    group_join(&group, 0);
    group_fill(&group, 0, "a", 5);
    group_join(&group, 1); /* empty */
    group_settle(&group);
    group_assert_same(&group);
    assert_int_equal(group.nodes[1].rebuilt, 1);
    group_leave(&group, 0);
    assert_int_equal(group_do(&group, 1, (struct change){.operation = CHANGE_DELETE, .path = "a1"}),
                     0);
    assert_int_equal(group_do(&group, 1, change_text("a2", "newer")), 0);
    assert_int_equal(group_do(&group, 1, change_mkdir("d")), 0);
    group_join(&group, 0); /* older, and of the lowest id */
    group_join(&group, 2); /* empty */
    group_settle(&group);
    group_assert_same(&group);
    node_assert_content(&group.nodes[0], "a2", "newer");
    assert_false(node_has(&group.nodes[0], "a1"));
    assert_int_equal(group.nodes[1].rebuilt, 1);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(group.nodes[i].left, 0);
    group_stop(&group);
}

/* Two nodes that went their own ways: the higher version wins, at equal versions the later time;
 * what is taken away is kept beside the database. */
static void test_diverged(void **unused)
{
    for (int equal = 0; equal < 2; equal++) {
        struct group group;
        (void)unused;
        group_start_joined(&group, 2);
        group_fill(&group, 0, "both", 2);
        group_leave(&group, 1);
        group_fill(&group, 0, "first", 3);
        group_leave(&group, 0);
        group_join(&group, 1);
        group.nodes[1].clock.seconds += 100;
        group_fill(&group, 1, "second", equal ? 3 : 2);
        group_join(&group, 0);
        group_settle(&group);
        group_assert_same(&group);
        assert_int_equal(node_has(&group.nodes[0], "second0"), equal);
        assert_int_equal(node_has(&group.nodes[0], "first0"), !equal);
        assert_true(node_has(&group.nodes[0], "both1"));
        assert_int_equal(node_count_copies(&group.nodes[!equal]), 1);
        assert_int_equal(node_count_copies(&group.nodes[equal]), 0);
        group_stop(&group);
    }
}

/* A large tree is sent in windows, and a node in sync goes on writing meanwhile; what it writes
 * does not leak into what is sent. */
static void test_window(void **unused)
{
    struct group group;
    g_autofree uint8_t *bytes = g_malloc(FILE_SIZE_MAX);
    struct asker askers[40] = {0};
    unsigned asked = 0;
    unsigned steps = 0;

    (void)unused;
    group_start(&group, 2);
    group_join(&group, 0);
    for (unsigned i = 0; i < 40; i++) {
        g_autofree char *path = g_strdup_printf("f%u", i);
        assert_int_equal(group_do(&group, 0, change_create(path)), 0);
        assert_int_equal(group_do(&group, 0, change_fill(path, bytes, 20000, (uint8_t)i)), 0);
    }
    group_join(&group, 1);
    while (group_step(&group)) {
        if (++steps % 3 == 0 && asked < G_N_ELEMENTS(askers)) {
            g_autofree char *path = g_strdup_printf("f%u", asked);
            node_ask(&group.nodes[0], &askers[asked], change_text(path, "meanwhile"));
            asked++;
        }
    }
    assert_true(asked > 12); /* the synchronisation was under way for as long */
    for (unsigned i = 0; i < asked; i++) {
        assert_int_equal(askers[i].answers, 1);
        assert_int_equal(askers[i].result, 0);
    }
    assert_true(group.sent.update_bytes_max < 256 * 1024 + 21000);
    assert_true(group.sent.update_bytes_max > 128 * 1024);
    group_assert_same(&group);
    node_assert_content(&group.nodes[1], "f0", "meanwhile");
    assert_int_equal(group.nodes[1].left, 0);
    group_stop(&group);
}

/* Files larger than the window go through, one by one. */
static void test_large_entries(void **unused)
{
    struct group group;
    g_autofree uint8_t *bytes = g_malloc(FILE_SIZE_MAX);

    (void)unused;
    group_start(&group, 2);
    group_join(&group, 0);
    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *path = g_strdup_printf("f%u", i);
        assert_int_equal(group_do(&group, 0, change_create(path)), 0);
        assert_int_equal(group_do(&group, 0, change_fill(path, bytes, FILE_SIZE_MAX, 'x')), 0);
    }
    group_join(&group, 1);
    group_settle(&group);
    group_assert_same(&group);
    group_stop(&group);
}

/* An UPDATE that was taken but not sent: the synchronisation comes to its end all the same, and the
 * follower finds out. */
static void test_lost_update(void **unused)
{
    struct group group;
    g_autofree uint8_t *bytes = g_malloc(FILE_SIZE_MAX);
    unsigned lost = 0;

    (void)unused;
    group_start(&group, 2);
    group_join(&group, 0);
    for (unsigned i = 0; i < 3; i++) {
        g_autofree char *path = g_strdup_printf("f%u", i);
        assert_int_equal(group_do(&group, 0, change_create(path)), 0);
        assert_int_equal(group_do(&group, 0, change_fill(path, bytes, 500000, 'x')), 0);
    }
    group_join(&group, 1);
    while (group.nodes[1].left == 0) {
        struct sent *next = g_queue_peek_head(&group.sent.messages);
        if (next && get_le16(next->message->data) == MESSAGE_UPDATE && lost == 0) {
            lost++;
            sent_queue_take(&group.sent);
            replica_post(group.nodes[0].replica,
                         event_send_failed(SEND_UPDATE, next->message->capacity));
            replica_run(group.nodes[0].replica);
            sent_free(next);
            continue;
        }
        assert_true(group_step(&group)); /* it does not stand still */
    }
    assert_int_equal(lost, 1);
    assert_int_equal(node_version(&group.nodes[1]), 1); /* nothing of it was taken over */
    node_assert_stored(&group.nodes[1]);
    group_join(&group, 1);
    group_settle(&group);
    group_assert_same(&group);
    group_stop(&group);
}

/* --- Changes while members come and go --- */

/* A change in a member's name that its replica did not make. */
static void inject_create(struct group *group, const struct node *sender, const char *path)
{
    struct change change = change_create(path);
    struct buffer *message;

    assert_int_equal(wire_build_change(&change, &message), 0);
    wire_number(message, 1000, 5);
    group_inject(group, sender->self, message);
}

static bool is_next(struct group *group, uint16_t type)
{
    const struct sent *next = g_queue_peek_head(&group->sent.messages);

    assert_non_null(next);
    return get_le16(next->message->data) == type;
}

/* Changes asked for in the middle of a synchronisation are held until its end, however many join:
 * each is applied once, everywhere, and answered once. What has arrived already when one more joins
 * nobody makes. */
static void test_changes_in_between(void **unused)
{
    struct group group;
    struct asker askers[4] = {0};

    (void)unused;
    group_start(&group, 4);
    group_join(&group, 0);
    group_join(&group, 1);
    group_settle(&group);
    group_fill(&group, 0, "f", 3);
    group.nodes[2].transport.joined = false;
    group_join(&group, 2); /* and before anything is delivered: */
    node_ask(&group.nodes[0], &askers[0], change_create("a"));
    node_ask(&group.nodes[1], &askers[1], change_create("b"));
    node_ask(&group.nodes[2], &askers[2], change_create("c"));
    /* Sent before, and arrived now. */
    for (size_t i = 0; i < 3; i++)
        inject_create(&group, &group.nodes[i], (const char *const[]){"x", "y", "z"}[i]);
    while (!is_next(&group, MESSAGE_STATE))
        assert_true(group_step(&group)); /* SYNC_START, and changes that are kept */
    assert_int_equal(askers[0].answers + askers[1].answers + askers[2].answers, 0);
    assert_true(node_status(&group.nodes[1]).queued >= 3);
    /* Now one more, without waiting for the end. */
    struct node *fourth = &group.nodes[3];
    replica_post(fourth->replica, event_connected(fourth->self));
    replica_post(fourth->replica, event_quorum(true));
    fourth->transport.joined = true;
    struct member members[4];
    for (size_t i = 0; i < 4; i++)
        members[i] = group.nodes[i].self;
    for (size_t i = 0; i < 4; i++) {
        replica_post(group.nodes[i].replica, event_configuration(members, 4, &fourth->self, 1));
        replica_run(group.nodes[i].replica);
    }
    group_settle(&group);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(askers[i].answers, 1);
        assert_int_equal(askers[i].result, 0);
    }
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(group.nodes[i].left, 0);
    group_assert_same(&group);
    assert_true(node_has(fourth, "c"));
    assert_false(node_has(fourth, "x") || node_has(fourth, "y") || node_has(fourth, "z"));
    assert_int_equal(node_version(fourth), 1 + 6 + 3);
    group_stop(&group);
}

/* A node that is not in sync holds its changes back: members that are would apply them before it
 * takes their state over, and it would apply them again. */
static void test_held(void **unused)
{
    struct group group;
    struct asker early = {0};
    struct asker gone = {0};

    (void)unused;
    group_start(&group, 2);
    group_join(&group, 0);
    group_fill(&group, 0, "f", 3);
    group_join(&group, 1);
    struct node *node = &group.nodes[1];
    node_ask(node, &early, change_create("early"));
    while (node_status(node).mode != MODE_SYNCED) {
        assert_int_equal(early.answers, 0);
        for (GList *link = group.sent.messages.head; link; link = link->next) {
            const struct sent *sent = link->data;
            if (sent->sender.node == node->self.node)
                assert_int_not_equal(get_le16(sent->message->data), MESSAGE_NORMAL);
        }
        assert_true(group_step(&group));
    }
    group_settle(&group);
    assert_int_equal(early.answers, 1);
    assert_int_equal(early.result, 0);
    group_assert_same(&group);
    /* Held, and the node leaves: its caller hears of it, once, and nothing is sent later. */
    group_leave(&group, 1);
    group_join(&group, 1);
    node_ask(node, &gone, change_create("gone"));
    node->transport.joined = false;
    replica_post(node->replica, event_new(EVENT_DISCONNECTED));
    replica_run(node->replica);
    assert_int_equal(gone.result, -EBUSY);
    group_join(&group, 1);
    group_settle(&group);
    assert_int_equal(gone.answers, 1);
    assert_false(node_has(&group.nodes[0], "gone"));
    group_assert_same(&group);
    group_stop(&group);
}

/* A node waits for updates; callers of its changes are taken back, or have waited too long. Another
 * node makes newer changes, and is told so: the older ones do not come after them. */
static void test_held_and_given_up(void **unused)
{
    struct group group;
    struct asker killed = {0};
    struct asker late = {0};
    struct asker waiting = {0};
    struct asker newer[2] = {0};

    (void)unused;
    group_start_joined(&group, 2);
    group_fill(&group, 0, "f", 2);
    struct node *node = &group.nodes[1];
    group_leave(&group, 1);
    assert_int_equal(group_do(&group, 0, change_create("meanwhile")), 0);
    group_join(&group, 1);
    while (node_status(node).mode != MODE_UPDATE)
        assert_true(group_step(&group));
    node_ask(node, &late, change_text("f0", "STALE"));
    node->clock.milliseconds += 20000;
    node_ask(node, &killed, change_text("f1", "STALE"));
    node_ask(node, &waiting, change_create("waiting"));
    replica_expire(node->replica, 20000);
    assert_int_equal(late.result, -EBUSY);
    assert_true(replica_cancel(node->replica, &killed.caller));
    assert_int_equal(node_status(node).held, 1);
    node_ask(&group.nodes[0], &newer[0], change_text("f0", "NEWER"));
    node_ask(&group.nodes[0], &newer[1], change_text("f1", "NEWER"));
    group_settle(&group);
    assert_int_equal(newer[0].result, 0);
    assert_int_equal(newer[1].result, 0);
    assert_int_equal(waiting.result, 0);
    assert_int_equal(late.answers, 1);
    assert_int_equal(killed.answers, 0);
    for (size_t i = 0; i < 2; i++) {
        node_assert_content(&group.nodes[i], "f0", "NEWER");
        node_assert_content(&group.nodes[i], "f1", "NEWER");
    }
    group_assert_same(&group);
    group_stop(&group);
}

/* However many ask while a node waits for the others: what is held has an end, and who comes later
 * hears so at once. */
static void test_held_to_the_brim(void **unused)
{
    struct group group;
    struct asker askers[40] = {0};
    g_autofree uint8_t *bytes = g_malloc(FILE_SIZE_MAX);
    unsigned held = 0;

    (void)unused;
    group_start_joined(&group, 2);
    struct node *node = &group.nodes[1];
    assert_int_equal(group_do(&group, 1, change_create("f")), 0);
    group_leave(&group, 1);
    assert_int_equal(group_do(&group, 0, change_create("meanwhile")), 0);
    group_join(&group, 1);
    for (unsigned i = 0; i < G_N_ELEMENTS(askers); i++) {
        node_ask(node, &askers[i], change_fill("f", bytes, FILE_SIZE_MAX, (uint8_t)i));
        held += askers[i].answers == 0;
        assert_true(askers[i].answers == 0 || askers[i].result == -EBUSY);
    }
    assert_int_equal(held, 32); /* MiB */
    assert_true(replica_cancel(node->replica, &askers[0].caller));
    assert_true(replica_cancel(node->replica, &askers[1].caller));
    askers[0] = (struct asker){0};
    node_ask(node, &askers[0], change_text("f", "room again"));
    assert_int_equal(askers[0].answers, 0);
    group_settle(&group);
    assert_int_equal(askers[0].result, 0);
    node_assert_content(&group.nodes[0], "f", "room again");
    assert_int_equal(node_status(node).held, 0);
    assert_int_equal(node->replica->outbox.held_bytes, 0);
    group_assert_same(&group);
    group_stop(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group),
        cmocka_unit_test(test_given_up_while_it_is_stored),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_expire),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_diverged),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_large_entries),
        cmocka_unit_test(test_lost_update),
        cmocka_unit_test(test_changes_in_between),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_held_and_given_up),
        cmocka_unit_test(test_held_to_the_brim),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
