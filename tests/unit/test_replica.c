/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of the replica on a real store: alone, in a group, with full disks, bad messages and many
 * threads. */
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

/* --- Alone --- */

static void start_local(struct node *node)
{
    *node = (struct node){0};
    node_start_local(node);
}

static void test_local(void **unused)
{
    struct node node;

    (void)unused;
    start_local(&node);
    struct replica_status status = node_status(&node);
    assert_int_equal(status.mode, MODE_SYNCED);
    assert_true(status.joined && status.quorate && !status.broken);
    assert_int_equal(node.quorum_changes, 1);
    assert_int_equal(node_mkdir(&node, "d"), 0);
    assert_int_equal(node_create(&node, "d/f"), 0);
    assert_int_equal(node_write(&node, "d/f", "text"), 0);
    assert_int_equal(node_create(&node, "d/f"), -EEXIST);
    assert_int_equal(node_version(&node), 4);
    const struct entry *entry = tree_entry(node.replica->committer.state->tree, 3);
    assert_int_equal(entry->writer, 0);
    assert_int_equal(entry->mtime, 1700000000);
    node_assert_stored(&node);
    node_close(&node);
    node_start_local(&node);
    assert_int_equal(node_version(&node), 4);
    node_assert_content(&node, "d/f", "text");
    node_free(&node);
}

/* Admission refuses before anything happens; a rename onto itself is done without a message. */
static void test_local_refusals(void **unused)
{
    struct node node;
    g_autofree char *name = g_strnfill(256, 'n');

    (void)unused;
    start_local(&node);
    assert_int_equal(node_create(&node, "f"), 0);
    assert_int_equal(node_create(&node, ".version"), -EACCES);
    assert_int_equal(node_create(&node, name), -ENAMETOOLONG);
    assert_int_equal(node_do(&node, (struct change){.operation = CHANGE_DELETE}), -EINVAL);
    struct change rename = {.operation = CHANGE_RENAME, .path = "f", .to = "f"};
    assert_int_equal(node_do(&node, rename), 0);
    rename.to = NULL;
    assert_int_equal(node_do(&node, rename), -EINVAL);
    assert_int_equal(node_version(&node), 2);
    assert_int_equal(node.published, 1);
    node_free(&node);
}

/* Publication comes before the answer, and is complete then. */
static void test_order(void **unused)
{
    struct node node;

    (void)unused;
    start_local(&node);
    node.keep_story = true;
    assert_int_equal(node_create(&node, "f"), 0);
    assert_string_equal(node.story->str, "publishing 1;published 1;answer 0;");
    g_string_truncate(node.story, 0);
    assert_int_equal(node_create(&node, "f"), -EEXIST);
    assert_string_equal(node.story->str, "answer -17;"); /* nothing happened */
    node_free(&node);
}

static struct asker batch[8];

/* Asks for many changes while the writer role is taken: they become one batch. */
static void ask_batch(struct asker *asker)
{
    static const char *const paths[] = {"b0", "b1", "b0", "x/b3", "b4"};

    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
        node_ask(asker->node, &batch[i],
                 (struct change){.operation = CHANGE_CREATE, .path = paths[i]});
    for (size_t i = 0; i < G_N_ELEMENTS(paths); i++)
        assert_int_equal(batch[i].answers, 0); /* no answer from inside */
}

static void test_batch(void **unused)
{
    struct node node;
    struct asker first = {.then = ask_batch};

    (void)unused;
    memset(batch, 0, sizeof(batch));
    start_local(&node);
    node.keep_story = true;
    node_ask(&node, &first, (struct change){.operation = CHANGE_CREATE, .path = "first"});
    assert_string_equal(node.story->str, "publishing 1;published 1;answer 0;"
                                         "publishing 3;published 3;"
                                         "answer 0;answer 0;answer -17;answer -2;answer 0;");
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(batch[i].answers, 1);
    assert_int_equal(node_status(&node).waiting, 0);
    node_assert_stored(&node);
    node_free(&node);
}

/* A change that the disk does not take is undone, its caller told, and the node goes on. */
static void test_full_disk(void **unused)
{
    struct node node;
    g_autofree uint8_t *bytes = g_malloc(FILE_SIZE_MAX);

    (void)unused;
    start_local(&node);
    assert_int_equal(node_create(&node, "f"), 0);
    assert_int_equal(node_write(&node, "f", "before"), 0);
    uint64_t version = node_version(&node);
    struct buffer *before = node_index(&node);
    disk_full(&node, 0);
    int error = node_do(&node, change_fill("f", bytes, 100000, 'x'));
    if (error != -EIO && error != -ENOSPC)
        fail_msg("a full disk gives %d", error);
    assert_int_not_equal(node_create(&node, "g"), 0);
    assert_int_not_equal(node_delete(&node, "f"), 0);
    struct buffer *after = node_index(&node);
    assert_memory_equal(before->data, after->data, before->capacity);
    assert_int_equal(node_version(&node), version);
    node_assert_content(&node, "f", "before");
    assert_false(node_has(&node, "g"));
    assert_false(node_status(&node).broken);
    disk_free();
    node_assert_stored(&node);
    assert_int_equal(node_create(&node, "g"), 0);
    assert_int_equal(node_version(&node), version + 1);
    node_assert_stored(&node);
    buffer_unref(before);
    buffer_unref(after);
    node_free(&node);
}

static uint8_t large[FILE_SIZE_MAX];

static void ask_mixed_batch(struct asker *asker)
{
    struct node *node = asker->node;

    node_ask(node, &batch[0], (struct change){.operation = CHANGE_CREATE, .path = "small1"});
    node_ask(node, &batch[1], change_fill("f", large, FILE_SIZE_MAX, 'x'));
    node_ask(node, &batch[2], (struct change){.operation = CHANGE_CREATE, .path = "small2"});
    node_ask(node, &batch[3], (struct change){.operation = CHANGE_CREATE, .path = "small1"});
    disk_full(node, 100000);
}

/* One large change must not take the small ones of its batch down with it. */
static void test_full_disk_in_a_batch(void **unused)
{
    struct node node;
    struct asker first = {.then = ask_mixed_batch};

    (void)unused;
    memset(batch, 0, sizeof(batch));
    start_local(&node);
    node_ask(&node, &first, (struct change){.operation = CHANGE_CREATE, .path = "f"});
    disk_free();
    assert_int_equal(batch[0].result, 0);
    assert_true(batch[1].result == -EIO || batch[1].result == -ENOSPC);
    assert_int_equal(batch[2].result, 0);
    assert_int_equal(batch[3].result, -EEXIST);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(batch[i].answers, 1);
    node_assert_content(&node, "f", "");
    assert_true(node_has(&node, "small1"));
    assert_true(node_has(&node, "small2"));
    assert_int_equal(node_version(&node), 4);
    node_assert_stored(&node);
    node_free(&node);
}

static void test_local_unlock(void **unused)
{
    struct node node;

    (void)unused;
    start_local(&node);
    assert_int_equal(node_mkdir(&node, "priv"), 0);
    assert_int_equal(node_mkdir(&node, "priv/lock"), 0);
    assert_int_equal(node_mkdir(&node, "priv/lock/a"), 0);
    assert_int_equal(node_unlock(&node, "priv/lock/x"), -ENOENT);
    assert_int_equal(node_unlock(&node, "priv/lock/a"), -EACCES);
    node.milliseconds += 120000;
    assert_int_equal(node_unlock(&node, "priv/lock/a"), -EACCES); /* "over 120 s" */
    /* Renewed: the 120 s start anew. */
    assert_int_equal(node_do(&node, (struct change){.operation = CHANGE_MTIME,
                                                    .path = "priv/lock/a",
                                                    .offset = 1700000100}),
                     0);
    node.milliseconds += 1;
    assert_int_equal(node_unlock(&node, "priv/lock/a"), -EACCES);
    node.milliseconds += 120000;
    /* One with something in it stays, however old. */
    assert_int_equal(node_create(&node, "priv/lock/a/f"), 0);
    assert_int_equal(node_unlock(&node, "priv/lock/a"), -ENOTEMPTY);
    assert_int_equal(node_delete(&node, "priv/lock/a/f"), 0);
    assert_int_equal(node_unlock(&node, "priv/lock/a"), 0);
    assert_false(node_has(&node, "priv/lock/a"));
    assert_int_equal(node_unlock(&node, "priv/lock/a"), -ENOENT);
    node_assert_stored(&node);
    node_free(&node);
}

/* What is under way counts for the limits, and no longer when it is done. */
static void test_reserve(void **unused)
{
    struct node node;

    (void)unused;
    start_local(&node);
    assert_int_equal(node_create(&node, "f"), 0);
    assert_int_equal(node_write(&node, "f", "text"), 0);
    assert_int_equal(node_create(&node, "f"), -EEXIST);
    assert_int_equal(node_write(&node, "x/f", "text"), -ENOENT);
    assert_int_equal(node.replica->waiters.under_way.bytes, 0);
    assert_int_equal(node.replica->waiters.under_way.entries, 0);
    node_free(&node);
}

/* --- In a group --- */

static struct change make_directory(const char *path)
{
    return (struct change){.operation = CHANGE_MKDIR, .path = path};
}

static void test_group(void **unused)
{
    struct group group;

    (void)unused;
    group_start_joined(&group, 3);
    assert_int_equal(group_do(&group, 0, change_create("f")), 0);
    assert_int_equal(group_do(&group, 1, change_text("f", "two")), 0);
    assert_int_equal(group_do(&group, 2, change_create("f")), -EEXIST);
    assert_int_equal(group_do(&group, 2, make_directory("d")), 0);
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
    node->milliseconds += 10000;
    node_ask(node, &late, change_create("g"));
    replica_expire(node->replica, 20000);
    assert_int_equal(asker.answers, 0);
    node->milliseconds += 10000;
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

/* Fills a node by itself: `count` files and a guest configuration directory. */
static void fill(struct group *group, unsigned index, const char *prefix, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *path = g_strdup_printf("%s%u", prefix, i);
        assert_int_equal(group_do(group, index, change_create(path)), 0);
        assert_int_equal(group_do(group, index, change_text(path, prefix)), 0);
    }
}

/* An empty database joins; one that is older; then the leader goes and comes back older. */
static void test_join(void **unused)
{
    struct group group;

    (void)unused;
    group_start(&group, 3);
    group_join(&group, 0);
    fill(&group, 0, "a", 5);
    group_join(&group, 1); /* empty */
    group_settle(&group);
    group_assert_same(&group);
    assert_int_equal(group.nodes[1].rebuilt, 1);
    group_leave(&group, 0);
    assert_int_equal(group_do(&group, 1, (struct change){.operation = CHANGE_DELETE, .path = "a1"}),
                     0);
    assert_int_equal(group_do(&group, 1, change_text("a2", "newer")), 0);
    assert_int_equal(group_do(&group, 1, make_directory("d")), 0);
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

static unsigned count_copies(const struct node *node)
{
    GDir *directory = g_dir_open(node->directory, 0, NULL);
    unsigned copies = 0;
    const char *name;

    while ((name = g_dir_read_name(directory)))
        copies += strstr(name, ".kept-") != NULL;
    g_dir_close(directory);
    return copies;
}

/* Two nodes that went their own ways: the higher version wins, at equal versions the later time;
 * what is taken away is kept beside the database. */
static void test_diverged(void **unused)
{
    for (int equal = 0; equal < 2; equal++) {
        struct group group;
        (void)unused;
        group_start_joined(&group, 2);
        fill(&group, 0, "both", 2);
        group_leave(&group, 1);
        fill(&group, 0, "first", 3);
        group_leave(&group, 0);
        group_join(&group, 1);
        group.nodes[1].seconds += 100;
        fill(&group, 1, "second", equal ? 3 : 2);
        group_join(&group, 0);
        group_settle(&group);
        group_assert_same(&group);
        assert_int_equal(node_has(&group.nodes[0], "second0"), equal);
        assert_int_equal(node_has(&group.nodes[0], "first0"), !equal);
        assert_true(node_has(&group.nodes[0], "both1"));
        assert_int_equal(count_copies(&group.nodes[!equal]), 1);
        assert_int_equal(count_copies(&group.nodes[equal]), 0);
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
    assert_true(group.update_bytes_max < 64 * 1024 + 21000);
    assert_true(group.update_bytes_max > 32 * 1024);
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
        struct delivery *next = g_queue_peek_head(&group.queue);
        if (next && get_le16(next->message->data) == MESSAGE_UPDATE && lost == 0) {
            lost++;
            g_queue_pop_head(&group.queue);
            replica_post(group.nodes[0].replica,
                         event_send_failed(SEND_UPDATE, next->message->capacity));
            replica_run(group.nodes[0].replica);
            buffer_unref(next->message);
            g_free(next);
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
    assert_int_equal(count_copies(node), 0); /* nothing was taken away */
    group_join(group, 0);
    group_settle(group);
    assert_int_equal(group_do(group, 0, make_directory("after")), 0);
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
    fill(&group, 0, "own", 3);
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
    fill(&group, 0, "own", 3);
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
    assert_int_equal(count_copies(node), 1);
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
    fill(&group, 0, "a", 20);
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

static struct buffer *normal(uint16_t subtype, const void *body, size_t size)
{
    return wire_build_normal(subtype, 1, 1, 5, body, size);
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
    fill(&group, 0, "f", 2);
    struct member sender = group.nodes[0].self;
    assert_leaves(&group, sender, buffer_copy(body, 3));
    assert_leaves(&group, sender, normal(99, body, 20));
    assert_leaves(&group, sender, normal(0, body, 20));
    assert_leaves(&group, sender, normal(CHANGE_CREATE, body, 19));
    assert_leaves(&group, sender, normal(CHANGE_CREATE, body, 21)); /* a byte too many */
    put_le32(body + 8, 5);
    assert_leaves(&group, sender, normal(CHANGE_CREATE, body, 24)); /* a path cut off */
    memcpy(body + 20, "abcde", 5);
    assert_leaves(&group, sender, normal(CHANGE_CREATE, body, 25)); /* without its NUL */
    put_le32(body + 8, 0xffffffff);
    assert_leaves(&group, sender, normal(CHANGE_CREATE, body, 25));
    assert_leaves(&group, sender, normal(CHANGE_UNLOCK, body, 32)); /* without a path */
    assert_leaves(&group, sender, normal(CHANGE_UNLOCK_REQUEST, body, 31));
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
        group_inject(&group, group.nodes[0].self, normal(subtype, body, sizeof(body)));
    group_settle(&group);
    assert_int_equal(group.nodes[0].left + group.nodes[1].left, 0);
    assert_int_equal(node_version(&group.nodes[1]), version);
    group_assert_same(&group);
    group_stop(&group);
}

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
    assert_true(g_queue_is_empty(&group.queue)); /* nothing was sent */
    node_assert_content(node, "f", "");          /* reads go on */
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
                         normal(CHANGE_UNLOCK_REQUEST, request, sizeof(request)));
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
    struct delivery *delivery = g_queue_pop_head(&group.queue);
    replica_post(node->replica, event_message(delivery->sender, delivery->message));
    replica_post(node->replica, event_quorum(false));
    replica_run(node->replica);
    assert_int_equal(asker.result, 0);
    assert_int_equal(node->left, 0);
    assert_false(node->leaving);
    assert_string_equal(node->story->str, "publishing 1;published 1;answer 0;quorum 0;");
    buffer_unref(delivery->message);
    g_free(delivery);
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
    node->member = false; /* corosync dies with messages under way */
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
    node->refuse = -ENOBUFS;
    node_ask(node, &asker, change_create("f"));
    assert_int_equal(asker.answers, 1);
    assert_int_equal(asker.result, -ENOBUFS);
    node->refuse = 0;
    assert_int_equal(node->replica->waiters.under_way.entries, 0);
    asker = (struct asker){0};
    node_ask(node, &asker, change_create("f"));
    g_autofree struct delivery *lost = g_queue_pop_tail(&group.queue);
    buffer_unref(lost->message);
    replica_post(node->replica, event_send_failed(SEND_NORMAL, asker.caller.count));
    replica_post(node->replica, event_send_failed(SEND_NORMAL, 4711)); /* nobody's */
    replica_run(node->replica);
    assert_int_equal(asker.result, -EBUSY);
    assert_int_equal(asker.answers, 1);
    /* What keeps the group in step must go out, or the node leaves; a request for a verification
     * need not. */
    node->refuse = -EBUSY;
    replica_post(node->replica, event_new(EVENT_VERIFY));
    replica_run(node->replica);
    assert_false(node->leaving);
    replica_post(node->replica, event_send_failed(SEND_UPDATE, 0));
    replica_run(node->replica);
    assert_false(node->leaving);
    node->refuse = 0;
    replica_post(node->replica, event_send_failed(SEND_SYNC, 0));
    replica_run(node->replica);
    assert_true(node->leaving);
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
    group.nodes[0].refuse = -ENOBUFS;
    group_join(&group, 1); /* joins again: nodes[0] cannot say SYNC_START */
    group_settle(&group);
    assert_int_equal(group.nodes[0].left, 1);
    group.nodes[0].refuse = 0;
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
    fill(&group, 0, "f", 2);
    struct node *node = &group.nodes[1];
    node->fail_commits = 1;
    node_ask(node, &own, change_create("own"));
    group_settle(&group);
    assert_int_equal(own.answers, 1);
    assert_true(own.result == -EIO || own.result == -ENOSPC);
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
    struct delivery *delivery;
    while ((delivery = g_queue_pop_head(&group.queue))) {
        replica_post(node->replica, event_message(delivery->sender, delivery->message));
        buffer_unref(delivery->message);
        g_free(delivery);
    }
    replica_post(node->replica, event_new(EVENT_VERIFY)); /* asks for a checksum of it all */
    disk_full(node, 0);
    replica_run(node->replica);
    disk_free();
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(askers[i].answers, 1);
    assert_true(askers[0].result == -EIO || askers[0].result == -ENOSPC);
    assert_true(askers[1].result == -EIO || askers[1].result == -ENOSPC);
    assert_int_equal(askers[2].result, -EEXIST);
    assert_true(node->leaving);
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
    assert_int_equal(node_status(node).waiting, 0);
    uint64_t version = node_version(node);
    assert_true(group_step(&group));
    assert_int_equal(first.answers, 1);
    assert_int_equal(first.result, 0);
    assert_int_equal(node_version(node), version); /* the marker changed nothing */
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
    node->member = false;
    replica_post(node->replica, event_new(EVENT_DISCONNECTED));
    replica_run(node->replica);
    assert_int_equal(second.result, -EBUSY);
    assert_int_equal(g_hash_table_size(node->replica->waiters.rounds), 0);
    group_join(&group, 0);
    group_settle(&group);
    assert_int_equal(second.answers, 1);
    assert_int_equal(group.nodes[1].left, 0); /* a node without the option bears it */
    group_assert_same(&group);
    group_stop(&group);
}

/* --- Verification --- */

static void test_verification(void **unused)
{
    struct group group;

    (void)unused;
    group_start_joined(&group, 3);
    fill(&group, 0, "f", 2);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < 3; i++) { /* only the lowest asks */
            replica_post(group.nodes[i].replica, event_new(EVENT_VERIFY));
            replica_run(group.nodes[i].replica);
        }
        assert_int_equal(g_queue_get_length(&group.queue), 1);
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
    struct delivery *delivery;

    (void)unused;
    group_start_joined(&group, 2);
    node_ask(&group.nodes[0], &asker, change_create("f"));
    replica_post(group.nodes[0].replica, event_new(EVENT_VERIFY));
    replica_run(group.nodes[0].replica);
    assert_int_equal(g_queue_get_length(&group.queue), 2);
    while ((delivery = g_queue_pop_head(&group.queue))) {
        replica_post(group.nodes[0].replica, event_message(delivery->sender, delivery->message));
        replica_post(group.nodes[1].replica, event_message(delivery->sender, delivery->message));
        replica_run(group.nodes[1].replica); /* one by one */
        buffer_unref(delivery->message);
        g_free(delivery);
    }
    replica_run(group.nodes[0].replica); /* at once */
    assert_int_equal(g_queue_get_length(&group.queue), 1);
    group_settle(&group);
    assert_int_equal(group.nodes[1].left, 0);
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
    assert_int_equal(group_do(&group, 0, make_directory("priv")), 0);
    assert_int_equal(group_do(&group, 0, make_directory("priv/lock")), 0);
    assert_int_equal(group_do(&group, 1, make_directory("priv/lock/a")), 0);
    assert_int_equal(group_do(&group, 2, ask), -EACCES);
    /* Only the clock of the lowest node counts. */
    group.nodes[1].milliseconds += 1000000;
    group.nodes[2].milliseconds += 1000000;
    assert_int_equal(group_do(&group, 2, ask), -EACCES);
    assert_true(node_has(&group.nodes[2], "priv/lock/a"));
    group.nodes[0].milliseconds += 120001;
    /* The request, and then the mtime, which still finds the lock; then it is gone. */
    assert_int_equal(group_do(&group, 2, ask), -EACCES);
    for (size_t i = 0; i < 3; i++)
        assert_false(node_has(&group.nodes[i], "priv/lock/a"));
    assert_int_equal(group_do(&group, 2, ask), -ENOENT);
    assert_int_equal(group_do(&group, 2, make_directory("priv/lock/a")), 0);
    group_assert_same(&group);
    /* Its age survives that another node joins, and that the lowest goes: node 2's clock. */
    group.nodes[0].milliseconds += 100000;
    group.nodes[1].milliseconds += 130000;
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
    const struct delivery *next = g_queue_peek_head(&group->queue);

    assert_non_null(next);
    return get_le16(next->message->data) == type;
}

/* Changes asked for in the middle of a synchronisation are kept, and sent again when one more node
 * joins: each is applied once, everywhere, and answered once. */
static void test_changes_in_between(void **unused)
{
    struct group group;
    struct asker askers[4] = {0};

    (void)unused;
    group_start(&group, 4);
    group_join(&group, 0);
    group_join(&group, 1);
    group_settle(&group);
    fill(&group, 0, "f", 3);
    group.nodes[2].member = false;
    group_join(&group, 2); /* and before anything is delivered: */
    node_ask(&group.nodes[0], &askers[0], change_create("a"));
    node_ask(&group.nodes[1], &askers[1], change_create("b"));
    node_ask(&group.nodes[2], &askers[2], change_create("c"));
    /* Others may send in the middle of it, whatever we do. */
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
    fourth->member = true;
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
    assert_true(node_has(fourth, "z"));
    assert_int_equal(node_version(fourth), 1 + 6 + 6);
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
    fill(&group, 0, "f", 3);
    group_join(&group, 1);
    struct node *node = &group.nodes[1];
    node_ask(node, &early, change_create("early"));
    while (node_status(node).mode != MODE_SYNCED) {
        assert_int_equal(early.answers, 0);
        for (GList *link = group.queue.head; link; link = link->next) {
            const struct delivery *delivery = link->data;
            if (delivery->sender.node == node->self.node)
                assert_int_not_equal(get_le16(delivery->message->data), MESSAGE_NORMAL);
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
    node->member = false;
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

/* --- Many threads --- */

struct worker {
    pthread_t thread;
    struct node *node;
    unsigned number;
    unsigned changes;
    unsigned succeeded;
    unsigned cancelled;
    atomic_bool *stop;
};

/* A thread's answer is given by whichever thread is the writer. */
static void wait_for(struct asker *asker)
{
    for (unsigned i = 0; i < 600000 && !atomic_load(&asker->done); i++)
        usleep(100);
    assert_true(atomic_load(&asker->done));
}

static void *work(void *pointer)
{
    struct worker *worker = pointer;

    for (unsigned i = 0; i < worker->changes; i++) {
        struct asker asker = {0};
        g_autofree char *path = g_strdup_printf("w%u-%u", worker->number, i / 2);
        node_ask(worker->node, &asker, i % 2 ? change_text(path, "text") : change_create(path));
        wait_for(&asker);
        worker->succeeded += asker.result == 0;
    }
    return NULL;
}

static void *read_all(void *pointer)
{
    struct worker *worker = pointer;

    while (!atomic_load(worker->stop)) {
        const struct state *state = replica_read_lock(worker->node->replica);
        const struct entry *child;
        uint32_t count = 0;
        for (uint64_t at = 0; (child = tree_next_child(state->tree, 0, at)); at = child->inode) {
            count++;
            if (child->content && memcmp(child->content->data, "text", 4) != 0)
                count = 0;
        }
        bool right = count + 1 == tree_entry_count(state->tree);
        replica_read_unlock(worker->node->replica);
        assert_true(right);
        struct replica_status status;
        replica_get_status(worker->node->replica, &status);
        worker->changes++;
        usleep(50);
    }
    return NULL;
}

#define WORKERS 4

static void test_threads(void **unused)
{
    struct node node;
    struct worker workers[WORKERS] = {0};
    atomic_bool stop = false;
    struct worker reader = {.node = &node, .stop = &stop};

    (void)unused;
    start_local(&node);
    pthread_create(&reader.thread, NULL, read_all, &reader);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.node = &node, .number = i, .changes = 200};
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].succeeded, 200);
    }
    atomic_store(&stop, true);
    pthread_join(reader.thread, NULL);
    assert_true(reader.changes > 0);
    replica_settle(node.replica);
    assert_int_equal(node_version(&node), 1 + WORKERS * 200);
    assert_int_equal(node_status(&node).waiting, 0);
    node_assert_stored(&node);
    node_free(&node);
}

/* Takes every other request back as soon as it can: answered or given back, never both, never
 * neither. */
static void *work_and_cancel(void *pointer)
{
    struct worker *worker = pointer;

    for (unsigned i = 0; i < worker->changes; i++) {
        struct asker asker = {0};
        g_autofree char *path = g_strdup_printf("w%u-%u", worker->number, i);
        node_ask(worker->node, &asker, change_create(path));
        if (i % 2 && replica_cancel(worker->node->replica, &asker.caller)) {
            assert_int_equal(asker.answers, 0);
            worker->cancelled++;
            continue;
        }
        wait_for(&asker);
        assert_int_equal(asker.answers, 1);
        worker->succeeded += asker.result == 0;
    }
    return NULL;
}

/* Several threads ask on two nodes while another delivers, a third lets them expire, and members
 * come and go. */
static void test_group_threads(void **unused)
{
    struct group group;
    struct worker workers[WORKERS] = {0};
    unsigned running = WORKERS;

    (void)unused;
    group_start_joined(&group, 2);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.node = &group.nodes[i % 2], .number = i, .changes = 150};
        pthread_create(&workers[i].thread, NULL, work_and_cancel, &workers[i]);
    }
    while (running > 0) {
        if (!group_step(&group))
            usleep(100);
        replica_expire(group.nodes[0].replica, 1000000);
        if (pthread_tryjoin_np(workers[running - 1].thread, NULL) == 0)
            running--;
    }
    group_settle(&group);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_int_equal(workers[i].succeeded + workers[i].cancelled, 150);
    assert_int_equal(node_version(&group.nodes[0]), 1 + WORKERS * 150);
    assert_int_equal(node_status(&group.nodes[0]).waiting, 0);
    assert_int_equal(group.nodes[0].replica->waiters.under_way.entries, 0);
    group_assert_same(&group);
    group_stop(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local),
        cmocka_unit_test(test_local_refusals),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_full_disk_in_a_batch),
        cmocka_unit_test(test_local_unlock),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_group),
        cmocka_unit_test(test_waiting),
        cmocka_unit_test(test_expire),
        cmocka_unit_test(test_join),
        cmocka_unit_test(test_diverged),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_large_entries),
        cmocka_unit_test(test_lost_update),
        cmocka_unit_test(test_commit_refused),
        cmocka_unit_test(test_commit_taken),
        cmocka_unit_test(test_commit_on_a_full_disk),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_no_path),
        cmocka_unit_test(test_quorum),
        cmocka_unit_test(test_delivered_without_quorum),
        cmocka_unit_test(test_quorum_in_a_batch),
        cmocka_unit_test(test_disconnected),
        cmocka_unit_test(test_send_fails),
        cmocka_unit_test(test_state_not_sent),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_broken_in_a_batch),
        cmocka_unit_test(test_acknowledge_all),
        cmocka_unit_test(test_verification),
        cmocka_unit_test(test_verification_in_a_batch),
        cmocka_unit_test(test_unlock),
        cmocka_unit_test(test_changes_in_between),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_group_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
