/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of what a replica takes from others: synchronisations and messages of any kind,
 * verification. */
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

/* --- What others may send --- */

static const struct member stranger = {9, 999};

/* Makes a stranger a member that leads: node 0 gets an index that it follows. */
static struct epoch follow(struct group *group, struct node *node, const struct buffer *index)
{
    struct member members[] = {node->self, stranger};
    struct epoch epoch = {77, 1, stranger.node, stranger.pid};
    struct buffer *start = wire_build_sync(MESSAGE_SYNC_START, 1, &epoch, 5, NULL, 0);
    struct buffer *state =
        wire_build_sync(MESSAGE_STATE, 1, &epoch, 5, index->data, index->capacity);

    replica_post(node->replica, event_configuration(members, 2, &stranger, 1));
    replica_run(node->replica);
    group_settle(group); /* its own SYNC_START is answered by its own STATE */
    group_inject(group, stranger, start);
    group_settle(group);
    group_inject(group, stranger, state);
    group_settle(group);
    return epoch;
}

static void send_entry(struct group *group, const struct epoch *epoch, const struct entry *entry,
                       const struct root *root)
{
    group_inject(group, stranger, wire_build_update(epoch, 5, entry, root));
}

/* A foreign state whose index is as it says, but which no node may take over. */
static void assert_not_taken(struct group *group, struct state *foreign, unsigned left_out)
{
    struct node *node = &group->nodes[0];
    struct draft *draft = draft_new(foreign);
    struct buffer *index = index_build(draft);
    g_autoptr(GPtrArray) sorted = draft_sorted(draft);
    struct buffer *before = node_index(node);
    unsigned left = node->left;

    struct epoch epoch = follow(group, node, index);
    assert_int_equal(node_status(node).mode, MODE_UPDATE);
    for (guint i = left_out; i < sorted->len; i++)
        send_entry(group, &epoch, sorted->pdata[i], NULL);
    send_entry(group, &epoch, NULL, &draft->root);
    group_inject(group, stranger, wire_build_sync(MESSAGE_UPDATE_COMPLETE, 1, &epoch, 5, NULL, 0));
    group_settle(group);
    assert_int_equal(node->left, left + 1);
    assert_int_equal(node_status(node).mode, MODE_LEAVE);
    assert_false(node_status(node).joined);
    struct buffer *after = node_index(node);
    assert_int_equal(before->capacity, after->capacity);
    assert_memory_equal(before->data, after->data, before->capacity);
    node_assert_stored(node);
    assert_int_equal(node_count_copies(node), 0); /* nothing was taken away */
    group_join(group, 0);
    group_settle(group);
    assert_int_equal(group_do(group, 0, change_mkdir("after")), 0);
    assert_int_equal(
        group_do(group, 0, (struct change){.operation = CHANGE_DELETE, .path = "after"}), 0);
    buffer_unref(after);
    buffer_unref(before);
    buffer_unref(index);
    draft_free(draft);
    state_free(foreign);
}

static struct entry *foreign_entry(uint64_t inode, uint64_t parent, uint8_t type, const char *name)
{
    struct entry *entry = entry_new(inode, parent, type, name, strlen(name), NULL, 0);

    entry->version = inode;
    entry->writer = 9;
    return entry;
}

/* nodes/a/lxc and nodes/b/lxc, to be spoilt. */
static struct state *foreign_state(void)
{
    struct state *state = state_new(tree_new(), 0);

    tree_put(state->tree, foreign_entry(1002, 0, ENTRY_DIRECTORY, "nodes"));
    tree_put(state->tree, foreign_entry(1003, 1002, ENTRY_DIRECTORY, "a"));
    tree_put(state->tree, foreign_entry(1004, 1002, ENTRY_DIRECTORY, "b"));
    tree_put(state->tree, foreign_entry(1005, 1003, ENTRY_DIRECTORY, "lxc"));
    tree_put(state->tree, foreign_entry(1006, 1004, ENTRY_DIRECTORY, "lxc"));
    state->tree->root = (struct root){.version = 2000, .writer = 9, .mtime = 5};
    return state;
}

static void test_commit_refused(void **unused)
{
    struct group group;

    (void)unused;
    group_start_joined(&group, 1);
    group_fill(&group, 0, "own", 3);
    /* A guest twice. */
    struct state *state = foreign_state();
    tree_put(state->tree, foreign_entry(1007, 1005, ENTRY_FILE, "100.conf"));
    tree_put(state->tree, foreign_entry(1008, 1006, ENTRY_FILE, "100.conf"));
    assert_not_taken(&group, state, 0);
    /* Another index than the leader's: an entry is missing. */
    assert_not_taken(&group, foreign_state(), 1);
    assert_not_taken(&group, foreign_state(), 5);
    /* An entry comes that this node has, but otherwise. */
    struct state *other = foreign_state();
    tree_put(other->tree, foreign_entry(2, 0, ENTRY_FILE, "own0"));
    assert_not_taken(&group, other, 1);
    /* No tree at all. */
    state = foreign_state();
    tree_put(state->tree, foreign_entry(1007, 1999, ENTRY_FILE, "orphan"));
    assert_not_taken(&group, state, 0);
    state = foreign_state();
    tree_put(state->tree, foreign_entry(1007, 1003, ENTRY_DIRECTORY, "lxc")); /* a name twice */
    assert_not_taken(&group, state, 0);
    state = foreign_state();
    tree_put(state->tree, foreign_entry(1007, 1008, ENTRY_DIRECTORY, "ring"));
    tree_put(state->tree, foreign_entry(1008, 1007, ENTRY_DIRECTORY, "ring"));
    assert_not_taken(&group, state, 0);
    state = foreign_state();
    tree_put(state->tree, foreign_entry(1007, 1003, ENTRY_FILE, ".."));
    assert_not_taken(&group, state, 0);
    node_assert_content(&group.nodes[0], "own0", "own");
    group_stop(&group);
}

/* And one that it takes: the helper above must be able to fail. */
static void test_commit_taken(void **unused)
{
    struct group group;

    (void)unused;
    group_start_joined(&group, 1);
    group_fill(&group, 0, "own", 3);
    struct node *node = &group.nodes[0];
    struct state *state = foreign_state();
    struct draft *draft = draft_new(state);
    struct buffer *index = index_build(draft);
    g_autoptr(GPtrArray) sorted = draft_sorted(draft);
    struct epoch epoch = follow(&group, node, index);
    for (guint i = sorted->len; i-- > 0;) /* children before their parents */
        send_entry(&group, &epoch, sorted->pdata[i], NULL);
    send_entry(&group, &epoch, NULL, &draft->root);
    group_inject(&group, stranger, wire_build_sync(MESSAGE_UPDATE_COMPLETE, 1, &epoch, 5, NULL, 0));
    group_settle(&group);
    assert_int_equal(node_status(node).mode, MODE_SYNCED);
    struct buffer *taken = node_index(node);
    assert_int_equal(taken->capacity, index->capacity);
    assert_memory_equal(taken->data, index->data, index->capacity);
    node_assert_stored(node);
    assert_int_equal(node_count_copies(node), 1);
    buffer_unref(taken);
    buffer_unref(index);
    draft_free(draft);
    state_free(state);
    group_stop(&group);
}

/* A node's database that does not take a commit: rolled back, and the group is left. */
static void test_commit_on_a_full_disk(void **unused)
{
    struct group group;

    (void)unused;
    group_start(&group, 2);
    group_join(&group, 0);
    group_fill(&group, 0, "a", 20);
    struct node *node = &group.nodes[1];
    node->fail_commits = 1;
    group_join(&group, 1);
    group_settle(&group);
    node->fail_commits = 0;
    assert_int_equal(node->left, 1);
    assert_true(node_status(node).broken);
    assert_int_equal(node_version(node), 1);
    node_assert_stored(node);
    struct asker asker = {0};
    node_ask(node, &asker, change_create("x"));
    assert_int_equal(asker.result, -EIO);
    group_join(&group, 1);
    group_settle(&group);
    assert_false(node_status(node).broken);
    group_assert_same(&group);
    assert_int_equal(group_do(&group, 1, change_create("x")), 0);
    group_stop(&group);
}

static void assert_leaves(struct group *group, struct member sender, struct buffer *message)
{
    struct node *node = &group->nodes[1];
    struct asker asker = {0};
    unsigned left = node->left;
    struct buffer *before = node_index(node);

    group_inject(group, sender, message);
    node_ask(node, &asker, change_create("never-applied-here")); /* waits behind it */
    group_settle(group);
    assert_int_equal(node->left, left + 1);
    assert_int_equal(asker.answers, 1);
    assert_int_equal(asker.result, -EBUSY);
    struct buffer *after = node_index(node);
    assert_memory_equal(before->data, after->data, before->capacity);
    assert_false(node_status(node).joined);
    struct asker refused = {0};
    node_ask(node, &refused, change_create("x"));
    assert_int_equal(refused.result, -EBUSY);
    group_join(group, 0);
    group_join(group, 1);
    group_settle(group);
    group_assert_same(group);
    if (node_has(node, "never-applied-here"))
        assert_int_equal(
            group_do(group, 1,
                     (struct change){.operation = CHANGE_DELETE, .path = "never-applied-here"}),
            0);
    buffer_unref(before);
    buffer_unref(after);
}

static void test_malformed(void **unused)
{
    struct group group;
    uint8_t body[64] = {0};

    (void)unused;
    group_start_joined(&group, 2);
    group_fill(&group, 0, "f", 2);
    struct member sender = group.nodes[0].self;
    assert_leaves(&group, sender, buffer_copy(body, 3));
    assert_leaves(&group, sender, message_normal(99, body, 20));
    assert_leaves(&group, sender, message_normal(0, body, 20));
    assert_leaves(&group, sender, message_normal(CHANGE_CREATE, body, 19));
    assert_leaves(&group, sender, message_normal(CHANGE_CREATE, body, 21)); /* a byte too many */
    put_le32(body + 8, 5);
    assert_leaves(&group, sender, message_normal(CHANGE_CREATE, body, 24)); /* a path cut off */
    memcpy(body + 20, "abcde", 5);
    assert_leaves(&group, sender, message_normal(CHANGE_CREATE, body, 25)); /* without its NUL */
    put_le32(body + 8, 0xffffffff);
    assert_leaves(&group, sender, message_normal(CHANGE_CREATE, body, 25));
    assert_leaves(&group, sender, message_normal(CHANGE_UNLOCK, body, 32)); /* without a path */
    assert_leaves(&group, sender, message_normal(CHANGE_UNLOCK_REQUEST, body, 31));
    struct epoch epoch = {0};
    put_le32(body, 1);
    assert_leaves(&group, sender, wire_build_normal(5, 2, 1, 5, body, 20)); /* a newer protocol */
    (void)epoch;
    group_stop(&group);
}

/* Well-formed, but without a path: an error as its result, and no more. */
static void test_no_path(void **unused)
{
    struct group group;
    uint8_t body[20] = {0};

    (void)unused;
    group_start_joined(&group, 2);
    uint64_t version = node_version(&group.nodes[0]);
    for (uint16_t subtype = CHANGE_WRITE; subtype <= CHANGE_MTIME; subtype++)
        group_inject(&group, group.nodes[0].self, message_normal(subtype, body, sizeof(body)));
    group_settle(&group);
    assert_int_equal(group.nodes[0].left + group.nodes[1].left, 0);
    assert_int_equal(node_version(&group.nodes[1]), version);
    group_assert_same(&group);
    group_stop(&group);
}

/* --- Verification --- */

static void test_verification(void **unused)
{
    struct group group;

    (void)unused;
    group_start_joined(&group, 3);
    group_fill(&group, 0, "f", 2);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 3; i++) { /* only the lowest asks */
            replica_post(group.nodes[i].replica, event_new(EVENT_VERIFY));
            replica_run(group.nodes[i].replica);
        }
        assert_int_equal(g_queue_get_length(&group.sent.messages), 1);
        group_settle(&group);
        group_assert_same(&group);
    }
    /* A byte in one node's memory. */
    struct node *node = &group.nodes[2];
    tree_entry(node->replica->committer.state->tree, 2)->content->data[0] ^= 1;
    replica_post(group.nodes[0].replica, event_new(EVENT_VERIFY));
    replica_run(group.nodes[0].replica);
    group_settle(&group);
    assert_int_equal(node->left, 1);
    assert_int_equal(group.nodes[0].left + group.nodes[1].left, 0);
    group_stop(&group);
}

/* The checksum is that of all that was delivered before the request, also in one batch with it. */
static void test_verification_in_a_batch(void **unused)
{
    struct group group;
    struct asker asker = {0};
    struct sent *sent;

    (void)unused;
    group_start_joined(&group, 2);
    node_ask(&group.nodes[0], &asker, change_create("f"));
    replica_post(group.nodes[0].replica, event_new(EVENT_VERIFY));
    replica_run(group.nodes[0].replica);
    assert_int_equal(g_queue_get_length(&group.sent.messages), 2);
    while ((sent = sent_queue_take(&group.sent))) {
        replica_post(group.nodes[0].replica, event_message(sent->sender, sent->message));
        replica_post(group.nodes[1].replica, event_message(sent->sender, sent->message));
        replica_run(group.nodes[1].replica); /* one by one */
        sent_free(sent);
    }
    replica_run(group.nodes[0].replica); /* at once */
    assert_int_equal(g_queue_get_length(&group.sent.messages), 1);
    group_settle(&group);
    assert_int_equal(group.nodes[1].left, 0);
    group_assert_same(&group);
    group_stop(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_commit_refused),
        cmocka_unit_test(test_commit_taken),
        cmocka_unit_test(test_commit_on_a_full_disk),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_no_path),
        cmocka_unit_test(test_verification),
        cmocka_unit_test(test_verification_in_a_batch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
