/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A node joins, and after each message of that in turn members go, come, or both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "replicas.h"

enum { LEADER, OTHER, JOINER, THIRD, MEMBERS };

/* What happens after some messages, one after the other and nothing in between. */
struct story {
    const char *name;
    int cut[3];  /* who goes; -1: nobody more */
    int join[3]; /* and who comes then */
    bool alone;  /* the joiner is for a while, with the quorum that everybody has here: what it then
                    acknowledges it loses to the others */
};

static const struct story stories[] = {
    {"the leader goes", {LEADER, -1}, {-1}, false},
    {"one that is in sync goes", {OTHER, -1}, {-1}, false},
    {"the joiner goes", {JOINER, -1}, {-1}, false},
    {"the joiner goes and comes", {JOINER, -1}, {JOINER, -1}, false},
    {"another one comes", {-1}, {THIRD, -1}, false},
    {"the leader goes, another one comes", {LEADER, -1}, {THIRD, -1}, false},
    {"the leader goes and comes", {LEADER, -1}, {LEADER, -1}, false},
    {"the leader and the joiner change places with two",
     {LEADER, JOINER, -1},
     {THIRD, LEADER, -1},
     false},
    {"nobody is left who is in sync", {LEADER, OTHER, -1}, {-1}, true},
    {"nobody is left who is in sync, and they come back",
     {LEADER, OTHER, -1},
     {OTHER, LEADER, -1},
     true},
};

/* Three in sync, of which one goes, and misses a few changes. */
static void make_group(struct group *group)
{
    group_start(group, MEMBERS);
    for (unsigned i = 0; i < THIRD; i++)
        group_join(group, i);
    group_fill(group, LEADER, "file", 3);
    group_leave(group, JOINER);
    assert_int_equal(group_do(group, LEADER, change_text("file0", "new")), 0);
    assert_int_equal(group_do(group, OTHER, change_create("made")), 0);
    assert_int_equal(
        group_do(group, OTHER, (struct change){.operation = CHANGE_DELETE, .path = "file1"}), 0);
}

static void tell(struct group *group, const struct story *story)
{
    for (size_t i = 0; i < G_N_ELEMENTS(story->cut) && story->cut[i] >= 0; i++)
        group_cut(group, (unsigned)story->cut[i]);
    for (size_t i = 0; i < G_N_ELEMENTS(story->join) && story->join[i] >= 0; i++)
        group_add(group, (unsigned)story->join[i]);
}

static void bring_all(struct group *group)
{
    for (unsigned i = 0; i < MEMBERS; i++) {
        if (!group->nodes[i].transport.joined)
            group_join(group, i);
    }
    group_settle(group);
}

/* All are alike at the end, have what was acknowledged, and nobody had to be thrown out. */
static void check(struct group *group, const struct asker askers[MEMBERS], bool alone)
{
    group_assert_same(group);
    for (unsigned i = 0; i < MEMBERS; i++) {
        g_autofree char *path = g_strdup_printf("asked%u", i);
        assert_int_equal(group->nodes[i].left, 0);
        node_assert_content(&group->nodes[i], "file0", "new");
        assert_true(node_has(&group->nodes[i], "made"));
        assert_false(node_has(&group->nodes[i], "file1"));
        assert_int_equal(askers[i].answers, i != THIRD);
        if (askers[i].result == 0 && i != THIRD && !(alone && i == JOINER))
            assert_true(node_has(&group->nodes[LEADER], path));
    }
}

/* False: the join was over before so many messages. */
static bool try(const struct story *story, unsigned messages)
{
    struct group group;
    struct asker askers[MEMBERS] = {0};
    bool under_way = true;

    make_group(&group);
    group_add(&group, JOINER);
    for (unsigned i = 0; i < THIRD; i++) {
        g_autofree char *path = g_strdup_printf("asked%u", i);
        node_ask(&group.nodes[i], &askers[i], change_create(path));
    }
    for (unsigned i = 0; i < messages && under_way; i++)
        under_way = group_step(&group);
    tell(&group, story);
    group_settle(&group);
    bring_all(&group);
    check(&group, askers, story->alone);
    group_stop(&group);
    return under_way;
}

static void test_after_each_message(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < G_N_ELEMENTS(stories); i++) {
        unsigned messages = 0;
        while (try(&stories[i], messages))
            messages++;
        print_message("%s: after each of %u messages\n", stories[i].name, messages);
        assert_in_range(messages, 10, 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_after_each_message),
    };

    /* Hundreds of databases are made, and none has to outlive anything. */
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
