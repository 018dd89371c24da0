/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of a replica in local mode, and of its many threads. */
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
    node.clock.milliseconds += 120000;
    assert_int_equal(node_unlock(&node, "priv/lock/a"), -EACCES); /* "over 120 s" */
    /* Renewed: the 120 s start anew. */
    assert_int_equal(node_do(&node, (struct change){.operation = CHANGE_MTIME,
                                                    .path = "priv/lock/a",
                                                    .offset = 1700000100}),
                     0);
    node.clock.milliseconds += 1;
    assert_int_equal(node_unlock(&node, "priv/lock/a"), -EACCES);
    node.clock.milliseconds += 120000;
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
        cmocka_unit_test(test_local),        cmocka_unit_test(test_local_refusals),
        cmocka_unit_test(test_order),        cmocka_unit_test(test_batch),
        cmocka_unit_test(test_full_disk),    cmocka_unit_test(test_full_disk_in_a_batch),
        cmocka_unit_test(test_local_unlock), cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_group_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
