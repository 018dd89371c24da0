/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of nodes whose copy differs, in memory or on disk: they get in sync by joining again, say
 * what differed, and keep what was taken away. And of the words for what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/wire.h"
#include "core/limits.h"
#include "replica/internal.h"
#include "replicas.h"

/* --- What is logged (to stderr here) --- */

static int kept_stderr = -1;
static int captured = -1;

static void log_begin(void)
{
    kept_stderr = dup(STDERR_FILENO);
    captured = memfd_create("log", 0);
    assert_true(kept_stderr >= 0 && captured >= 0);
    dup2(captured, STDERR_FILENO);
}

/* What was logged since log_begin(); g_free() it. */
static char *log_end(void)
{
    dup2(kept_stderr, STDERR_FILENO);
    close(kept_stderr);
    off_t size = lseek(captured, 0, SEEK_END);
    char *text = g_malloc0((gsize)size + 1);
    assert_int_equal(pread(captured, text, (size_t)size, 0), size);
    close(captured);
    return text;
}

static unsigned count_in(const char *text, const char *wanted)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, wanted)); at++)
        count++;
    return count;
}

static void assert_says(const char *text, const char *wanted, unsigned times)
{
    if (count_in(text, wanted) != times)
        fail_msg("not %u times '%s' in:\n%s", times, wanted, text);
}

/* --- A group --- */

static void put(struct group *group, const char *path, const char *text)
{
    assert_int_equal(group_do(group, 0, change_create(path)), 0);
    assert_int_equal(group_do(group, 0, change_text(path, text)), 0);
}

/* The only safety copy of a node: a database that loads, for its owner alone. store_close() it. */
static struct tree *load_copy(const struct node *node)
{
    GDir *directory = g_dir_open(node->place.directory, 0, NULL);
    struct store_options options = {0};
    struct store *store;
    struct tree *tree;
    struct stat status;
    g_autofree char *message = NULL;
    g_autofree char *path = NULL;
    const char *name;

    while ((name = g_dir_read_name(directory))) {
        if (!g_str_has_prefix(name, "config.db.kept-"))
            continue;
        assert_null(path);
        path = g_build_filename(node->place.directory, name, NULL);
    }
    g_dir_close(directory);
    assert_non_null(path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    if (store_open(path, &options, &store, &tree, &message))
        fail_msg("%s", message);
    store_close(store);
    return tree;
}

static void assert_copy_has(const struct node *node, const char *path, const char *text)
{
    struct tree *tree = load_copy(node);
    int error;
    const struct entry *entry = tree_lookup(tree, path, &error);

    assert_non_null(entry);
    assert_int_equal(entry->size, strlen(text));
    assert_memory_equal(entry->content->data, text, strlen(text));
    tree_free(tree);
}

static struct entry *find(struct node *node, const char *path)
{
    int error;

    return (struct entry *)tree_lookup(node->replica->committer.state->tree, path, &error);
}

/* A bit of a file flips in one node's memory, long after its digest was made: the verification
 * finds it, and the node comes back with the others' content. */
static void test_failed_verification(void **unused)
{
    struct group group;
    struct node *node = &group.nodes[2];

    (void)unused;
    group_start_joined(&group, 3);
    put(&group, "altered", "right");
    put(&group, "untouched", "newer");
    find(node, "altered")->content->data[0] = 'R';
    log_begin();
    replica_post(group.nodes[0].replica, event_new(EVENT_VERIFY));
    replica_run(group.nodes[0].replica);
    group_settle(&group);
    assert_int_equal(node->left, 1);
    assert_int_equal(group.nodes[0].left + group.nodes[1].left, 0);
    group_join(&group, 2);
    group_settle(&group);
    g_autofree char *log = log_end();
    node_assert_content(node, "altered", "right");
    group_assert_same(&group);
    assert_says(log, "data verification failed", 1);
    assert_says(log, "differed from the others: 'altered' (is replaced)", 1);
    assert_says(log, "untouched", 0);
    assert_copy_has(node, "altered", "Right");
    log_begin();
    replica_post(group.nodes[0].replica, event_new(EVENT_VERIFY));
    replica_run(group.nodes[0].replica);
    group_settle(&group);
    g_autofree char *after = log_end();
    assert_says(after, "data verification successful", 3);
    assert_int_equal(node->left, 1);
    group_stop(&group);
}

/* An old entry differs at equal versions (a database that somebody has edited): it is kept,
 * although everything newer is the same on all nodes. */
static void test_old_entry_differs(void **unused)
{
    struct group group;
    struct node *node = &group.nodes[1];

    (void)unused;
    group_start_joined(&group, 2);
    put(&group, "old", "right");
    for (int i = 0; i < 5; i++) {
        g_autofree char *path = g_strdup_printf("new%d", i);
        put(&group, path, "same");
    }
    group_leave(&group, 1);
    struct entry *old = find(node, "old");
    memcpy(old->content->data, "WRONG", 5);
    old->has_digest = false;
    put(&group, "meanwhile", "text");
    log_begin();
    group_join(&group, 1);
    group_settle(&group);
    g_autofree char *log = log_end();
    group_assert_same(&group);
    node_assert_content(node, "old", "right");
    assert_says(log, "differed from the others: 'old' (is replaced)", 1);
    assert_says(log, "differed from the others: 'meanwhile' (was missing here)", 1);
    assert_says(log, "taken away: old", 1);
    assert_copy_has(node, "old", "WRONG");
    group_stop(&group);
}

/* A node that was merely away has nothing to keep. */
static void test_merely_away(void **unused)
{
    struct group group;

    (void)unused;
    group_start_joined(&group, 2);
    put(&group, "a", "1");
    put(&group, "b", "1");
    group_leave(&group, 1);
    assert_int_equal(group_do(&group, 0, (struct change){.operation = CHANGE_DELETE, .path = "a"}),
                     0);
    put(&group, "c", "1");
    log_begin();
    group_join(&group, 1);
    group_settle(&group);
    g_autofree char *log = log_end();
    group_assert_same(&group);
    assert_says(log, "differed from the others: 'a' (is deleted)", 1);
    assert_says(log, "taken away", 0);
    group_stop(&group);
}

/* Made and deleted while a node was away: only the version differs, and listeners learn it. */
static void test_root_differs(void **unused)
{
    struct group group;
    struct node *node = &group.nodes[1];

    (void)unused;
    group_start_joined(&group, 2);
    group_leave(&group, 1);
    assert_int_equal(group_do(&group, 0, change_create("a")), 0);
    assert_int_equal(group_do(&group, 0, (struct change){.operation = CHANGE_DELETE, .path = "a"}),
                     0);
    node->keep_story = true;
    group_join(&group, 1);
    group_settle(&group);
    group_assert_same(&group);
    assert_non_null(strstr(node->story->str, "published 1;"));
    group_stop(&group);
}

static bool is_ready(struct node *node)
{
    struct group_consumer *consumer = replica_consumer(node->replica);

    return consumer->ready(consumer);
}

/* Ten copies of long ago. */
static void make_old_copies(const struct node *node)
{
    for (int i = 0; i < 10; i++) {
        g_autofree char *path =
            g_strdup_printf("%s/config.db.kept-20010101-00000%d-5", node->place.directory, i);
        assert_true(g_file_set_contents(path, "old", 3, NULL));
    }
}

static bool has_old_copy(const struct node *node, int number)
{
    g_autofree char *path =
        g_strdup_printf("%s/config.db.kept-20010101-00000%d-5", node->place.directory, number);

    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* A disk that takes small commits, and no synchronisation's: the pauses between attempts double,
 * and they leave one copy of what none of them took away, at no other's expense. */
static void test_commit_fails_again_and_again(void **unused)
{
    static uint8_t content[FILE_SIZE_MAX];
    struct group group;
    struct node *node = &group.nodes[1];
    uint64_t pause = 1000;

    (void)unused;
    group_start_joined(&group, 2);
    node->replica->synchronisation.rejoin_delay = pause;
    put(&group, "old", "right");
    group_leave(&group, 1);
    struct entry *old = find(node, "old");
    memcpy(old->content->data, "WRONG", 5);
    old->has_digest = false;
    for (char name[] = "large0"; name[5] < '4';
         name[5]++) { /* each attempt makes SQLite's log longer */
        assert_int_equal(group_do(&group, 0, change_create(name)), 0);
        assert_int_equal(group_do(&group, 0, change_fill(name, content, FILE_SIZE_MAX, 'x')), 0);
    }
    make_old_copies(node);
    node->fail_commits = 1;
    node->fail_room = 256 << 10;
    for (unsigned attempt = 1; attempt <= 10; attempt++) {
        assert_true(is_ready(node));
        group_join(&group, 1);
        group_settle(&group);
        assert_int_equal(node->left, attempt);
        assert_int_equal(node_count_copies(node), 11);
        pause = MIN(2 * pause, SYNCHRONISE_PAUSE_MAX);
        assert_false(is_ready(node));
        node->clock.milliseconds += pause - 1;
        assert_false(is_ready(node));
        node->clock.milliseconds += 1;
        node->clock.seconds += pause / 1000;
    }
    assert_int_equal(pause, SYNCHRONISE_PAUSE_MAX);
    assert_int_equal(counter_get(&replica_metrics(node->replica)->safety_copies), 1);
    node_assert_content(node, "old", "WRONG");
    node->fail_commits = 0;
    assert_true(is_ready(node));
    group_join(&group, 1);
    group_settle(&group);
    group_assert_same(&group);
    assert_int_equal(node_count_copies(node), 10);
    assert_false(has_old_copy(node, 0));
    assert_true(has_old_copy(node, 1));
    assert_int_equal(node->replica->synchronisation.failures, 0);
    group_stop(&group);
}

/* What the leader sends is never what its index says: the attempts become rare, too. */
static void test_leader_is_unsound(void **unused)
{
    struct group group;
    struct node *node = &group.nodes[1];
    uint64_t pause = 0;

    (void)unused;
    group_start_joined(&group, 2);
    node->replica->synchronisation.rejoin_delay = 1000;
    group_leave(&group, 1);
    put(&group, "fresh", "right");
    buffer_unref(node_index(&group.nodes[0])); /* makes the digests */
    find(&group.nodes[0], "fresh")->content->data[0] = 'R';
    for (unsigned attempt = 1; attempt <= 8; attempt++) {
        assert_true(is_ready(node));
        group_join(&group, 1);
        group_settle(&group);
        assert_int_equal(node->left, attempt);
        assert_false(node_status(node).broken);
        assert_int_equal(is_ready(node), pause == 0);
        node->clock.milliseconds += MAX(pause, 1) - 1;
        assert_int_equal(is_ready(node), pause == 0);
        node->clock.milliseconds += 1;
        pause = MIN(MAX(2 * pause, 2000), SYNCHRONISE_PAUSE_SHORT_MAX);
    }
    assert_int_equal(pause, SYNCHRONISE_PAUSE_SHORT_MAX);
    find(&group.nodes[0], "fresh")->content->data[0] = 'r';
    assert_true(is_ready(node));
    group_join(&group, 1);
    group_settle(&group);
    group_assert_same(&group);
    assert_true(is_ready(node));
    assert_int_equal(node->replica->synchronisation.failures, 0);
    group_stop(&group);
}

/* Each attempt would take something else away: one copy, of what the last one took. */
static void test_copy_of_the_last_attempt(void **unused)
{
    static uint8_t content[FILE_SIZE_MAX];
    struct group group;
    struct node *node = &group.nodes[1];

    (void)unused;
    group_start_joined(&group, 2);
    put(&group, "old", "right");
    put(&group, "other", "right");
    assert_int_equal(group_do(&group, 0, change_create("large")), 0);
    group_leave(&group, 1);
    struct entry *old = find(node, "old");
    memcpy(old->content->data, "WRONG", 5);
    old->has_digest = false;
    assert_int_equal(group_do(&group, 0, change_fill("large", content, FILE_SIZE_MAX, 'x')), 0);
    node->fail_commits = 1;
    node->fail_room = 256 << 10;
    group_join(&group, 1);
    group_settle(&group);
    assert_copy_has(node, "old", "WRONG");
    struct entry *other = find(node, "other");
    memcpy(other->content->data, "wrong", 5);
    other->has_digest = false;
    node->clock.seconds += 10;
    group_join(&group, 1);
    group_settle(&group);
    assert_int_equal(node->left, 2);
    node->fail_commits = 0;
    assert_true(is_ready(node));
    group_join(&group, 1);
    group_settle(&group);
    group_assert_same(&group);
    assert_copy_has(node, "old", "WRONG"); /* the only copy, too */
    assert_copy_has(node, "other", "wrong");
    group_stop(&group);
}

/* --- Words --- */

/* A member with a newer protocol: this node stays out, and says at each refusal what to do. */
static void test_newer_protocol(void **unused)
{
    struct group group;
    struct node *node = &group.nodes[1];
    const struct epoch epoch = {1, 1, 1, 1};

    (void)unused;
    group_start_joined(&group, 2);
    put(&group, "f", "text");
    log_begin();
    group_inject(
        &group, group.nodes[0].self,
        wire_build_sync(MESSAGE_SYNC_START, CONFIGURATION_PROTOCOL + 1, &epoch, 5, NULL, 0));
    group_settle(&group);
    for (int i = 0; i < 10; i++) {
        struct asker asker = {0};
        node_ask(node, &asker, change_create("x"));
        assert_int_equal(asker.result, -EBUSY);
    }
    g_autofree char *log = log_end();
    assert_true(node->transport.stays_out);
    node_assert_content(node, "f", "text");
    assert_says(log, "newer version of the protocol", 3); /* by both nodes, and one refusal */
    assert_says(log, "refused to change 'x'", 1);
    assert_says(log, "update", 3);
    group_stop(&group);
}

/* Each cause once in ten seconds, with the number of those that were not told. */
static void test_rate(void **unused)
{
    struct group group;
    struct node *node = &group.nodes[0];

    (void)unused;
    group_start_joined(&group, 1);
    replica_post(node->replica, event_quorum(false));
    replica_run(node->replica);
    log_begin();
    for (int i = 0; i < 100; i++) {
        struct asker asker = {0};
        node_ask(node, &asker, change_create("d/file"));
        assert_int_equal(asker.result, -EACCES);
    }
    node->clock.milliseconds += 10000;
    struct asker asker = {0};
    node_ask(node, &asker, change_create("d/other"));
    g_autofree char *log = log_end();
    assert_says(log, "refused to change 'd/file': there is no quorum", 1);
    assert_says(log, "refused to change 'd/other': there is no quorum", 1);
    assert_says(log, "(and 99 times before, not logged)", 1);
    assert_says(log, "corosync-quorumtool", 2);
    group_stop(&group);
}

static void test_not_joined(void **unused)
{
    struct group group;
    struct asker asker = {0};

    (void)unused;
    group_start(&group, 1);
    replica_post(group.nodes[0].replica, event_quorum(true));
    replica_run(group.nodes[0].replica);
    log_begin();
    node_ask(&group.nodes[0], &asker, change_create("file"));
    g_autofree char *log = log_end();
    assert_int_equal(asker.result, -EBUSY);
    assert_says(log, "refused to change 'file': this node has not joined", 1);
    group_stop(&group);
}

/* Without a cluster a full disk is told at each cause with the path, too. */
static void test_full_disk(void **unused)
{
    struct node node = {0};

    (void)unused;
    node_start_local(&node);
    assert_int_equal(node_create(&node, "f"), 0);
    log_begin();
    disk_full(&node, 0);
    for (int i = 0; i < 50; i++) {
        int error = node_create(&node, "d");
        if (error != -EIO && error != -ENOSPC) {
            disk_free();
            fail_msg("%d", error);
        }
    }
    disk_free();
    g_autofree char *log = log_end();
    assert_says(log, "refused to change 'd': the database did not take it", 1);
    assert_says(log, "full or failing disk", 1);
    assert_int_equal(node_create(&node, "d"), 0);
    node_free(&node);
}

static void set_version(struct node *node, uint64_t version)
{
    node->replica->committer.state->tree->root.version = version;
    draft_restart(node->replica->committer.draft);
}

/* The last version that is admitted is stored and loads again; what others deliver is applied. */
static void test_end_of_versions(void **unused)
{
    struct node node = {0};

    (void)unused;
    node_start_local(&node);
    set_version(&node, VERSION_MAX_ADMITTED - 1);
    log_begin();
    assert_int_equal(node_create(&node, "last"), 0);
    assert_int_equal(node_create(&node, "over"), -EOVERFLOW);
    assert_int_equal(node_delete(&node, "last"), -EOVERFLOW);
    g_autofree char *log = log_end();
    assert_says(log, "refused to change 'over': the global version is at the end", 1);
    assert_says(log, "pmxcfsctl db export", 2); /* with the warning */
    assert_false(node_has(&node, "over"));
    node_assert_stored(&node);
    node_close(&node);
    log_begin();
    node_start_local(&node);
    g_autofree char *again = log_end();
    assert_says(again, "the global version is 9223372036853727231, and its range ends", 1);
    assert_true(node_has(&node, "last"));
    assert_int_equal(node_create(&node, "over"), -EOVERFLOW);
    node_free(&node);
}

/* Once where it begins, and not with each change. */
static void test_warning_of_versions(void **unused)
{
    struct node node = {0};

    (void)unused;
    node_start_local(&node);
    set_version(&node, VERSION_WARNED - 2);
    log_begin();
    assert_int_equal(node_create(&node, "a"), 0);
    g_autofree char *before = log_end();
    assert_says(before, "its range ends", 0);
    log_begin();
    for (int i = 0; i < 10; i++)
        assert_int_equal(node_write(&node, "a", "text"), 0);
    set_version(&node, VERSION_WARNED + (1ull << 48) - 1);
    assert_int_equal(node_write(&node, "a", "text"), 0);
    g_autofree char *log = log_end();
    assert_says(log, "its range ends", 2);
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_verification),
        cmocka_unit_test(test_old_entry_differs),
        cmocka_unit_test(test_merely_away),
        cmocka_unit_test(test_root_differs),
        cmocka_unit_test(test_commit_fails_again_and_again),
        cmocka_unit_test(test_leader_is_unsound),
        cmocka_unit_test(test_copy_of_the_last_attempt),
        cmocka_unit_test(test_newer_protocol),
        cmocka_unit_test(test_rate),
        cmocka_unit_test(test_not_joined),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_end_of_versions),
        cmocka_unit_test(test_warning_of_versions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
