/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What application takes, by whomever it was sent, everything takes by which it comes back: the
 * database, the journal of a killed daemon, a synchronisation, the tools. Application must refuse
 * nothing that other implementations apply, or the copies drift apart. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "cluster/wire.h"
#include "collector.h"
#include "core/admit.h"
#include "ctl/tools/check.h"
#include "journal/read.h"
#include "journal/replay.h"
#include "store_node.h"

#define LONG 1025u            /* bytes of a name: more than any mount sends */
#define ENDLESS (100u * 1024) /* more than the 16 bits of a journal's record */
#define DEEP 5000u            /* levels */

/* ---- The ways back ---- */

/* As a member's message, which is built, parsed, applied and stored. */
static void take(struct node *node, struct change change)
{
    struct buffer *message;
    struct header header;
    struct change parsed;

    assert_int_equal(wire_build_change(&change, &message), 0);
    assert_int_equal(wire_parse_header(message->data, message->capacity, &header), 0);
    assert_int_equal(wire_parse_change(header.subtype, header.body, header.body_size, &parsed), 0);
    assert_int_equal(node_apply(node, parsed), 0);
    assert_int_equal(node_commit(node), 0);
    buffer_unref(message);
}

static void take_path(struct node *node, enum change_operation operation, const char *path)
{
    take(node, (struct change){.operation = operation, .path = path});
}

/* The journal that a killed daemon leaves; `waits`: the last change is in it. */
static void assert_journal_takes(const struct node *node, bool waits)
{
    g_autofree char *path = node_beside(node, ".journal");
    g_autofree char *message = NULL;
    struct replay replay;
    GByteArray *bytes;

    assert_int_equal(journal_read(path, &bytes, &message), 0);
    replay_read(&replay, bytes->data, bytes->len);
    assert_int_equal(replay_generation(&replay) > 0, waits);
    replay_clear(&replay);
    g_byte_array_unref(bytes);
    node_assert_survives(node);
}

static void assert_load_takes(struct node *node)
{
    struct node left;

    node_crash(node, &left);
    node_open(&left);
    node_close(&left); /* folds */
    node_open_with(&left, NULL);
    node_assert_same_state(node, &left);
    node_stop(&left);
}

/* Each entry as a message of the leader's, put into the draft of a follower that has nothing. */
static void assert_synchronisation_takes(const struct node *node)
{
    static const struct epoch epoch;
    g_autoptr(GPtrArray) sorted = tree_sorted(node->state->tree);
    g_autofree char *problem = NULL;
    struct node follower;

    node_start(&follower, FOLD_DELAY_LONG);
    for (guint i = 0; i < sorted->len; i++) {
        struct buffer *message = wire_build_update(&epoch, 1, sorted->pdata[i], NULL);
        struct header header;
        struct entry *entry;
        assert_int_equal(wire_parse_header(message->data, message->capacity, &header), 0);
        assert_int_equal(wire_check_update(header.body, header.body_size), 0);
        assert_int_equal(wire_parse_update(header.body, header.body_size, &entry), 0);
        draft_put(follower.draft, entry);
        buffer_unref(message);
    }
    follower.draft->root = node->state->tree->root;
    follower.draft->rebuild = true;
    if (draft_check(follower.draft, &problem))
        fail_msg("%s", problem);
    assert_int_equal(node_commit(&follower), 0);
    node_assert_same_state(node, &follower);
    node_stop(&follower);
}

/* `words`: what a check says, which refuses nothing; "": nothing. */
static void assert_check_takes(const struct node *node, const char *words)
{
    struct collector collector;
    struct node left;

    node_crash(node, &left);
    node_open(&left);
    node_close(&left);
    collector_start(&collector);
    assert_int_equal(tools_check(left.place.path, NULL, &collector.checker), 0);
    if (*words && !strstr(collector.text->str, words))
        fail_msg("%s", collector.text->str);
    g_string_free(collector.text, TRUE);
    place_stop(&left.place);
}

static void assert_all_take(struct node *node, bool by_journal, const char *words)
{
    assert_journal_takes(node, by_journal);
    assert_load_takes(node);
    assert_synchronisation_takes(node);
    assert_check_takes(node, words);
}

/* Nobody asks for it here. */
static void assert_not_admitted(const struct node *node, struct change change, int error)
{
    const struct admit_reserve under_way = {0};
    struct admit_reserve reserve;
    const char *reason;

    assert_int_equal(admit(node->state, &change, &under_way, &reserve, &reason), error);
}

/* ---- Names ---- */

static void take_names(struct node *node, uint32_t length, bool by_journal)
{
    g_autofree char *name = g_strnfill(length, 'n');
    g_autofree char *other = g_strnfill(length, 'o');
    g_autofree char *below = g_strconcat(other, "/f", NULL);

    assert_not_admitted(node, (struct change){.operation = CHANGE_CREATE, .path = name},
                        -ENAMETOOLONG);
    take_path(node, CHANGE_CREATE, name);
    assert_all_take(node, by_journal, "no mount shows");
    take(node, (struct change){
                   .operation = CHANGE_WRITE, .path = name, .size = 1, .data = (uint8_t *)"x"});
    assert_all_take(node, by_journal, "no mount shows");
    take_path(node, CHANGE_MKDIR, "d");
    take(node, (struct change){.operation = CHANGE_RENAME, .path = "d", .to = other});
    take_path(node, CHANGE_CREATE, below);
    assert_all_take(node, by_journal, "no mount shows");
    take_path(node, CHANGE_DELETE, name);
    take(node, (struct change){.operation = CHANGE_RENAME, .path = below, .to = "f"});
    take_path(node, CHANGE_DELETE, other);
    node_assert_survives(node);
}

static void test_long_names(void **state)
{
    take_names(*state, LONG, true);
}

static void test_endless_names(void **state)
{
    struct node *node = *state;
    g_autofree char *name = g_strnfill(ENDLESS, 'n');

    /* They do not go by the journal, nor does what changes such an entry. */
    take_path(node, CHANGE_CREATE, name);
    assert_all_take(node, false, "no mount shows");
    take_path(node, CHANGE_CREATE, "f");
    take_path(node, CHANGE_MTIME, name);
    assert_all_take(node, false, "no mount shows");
    take_path(node, CHANGE_DELETE, name);
    node_assert_survives(node);
}

/* Any bytes but a slash and a zero. */
static void test_odd_names(void **state)
{
    struct node *node = *state;
    char name[256];

    for (int i = 1; i < 256; i++)
        name[i - 1] = i == '/' ? 'x' : (char)i;
    name[255] = '\0';
    take_path(node, CHANGE_CREATE, name);
    take_path(node, CHANGE_CREATE, "__version__");
    take_path(node, CHANGE_MKDIR, "...");
    take_path(node, CHANGE_MKDIR, " ");
    take_path(node, CHANGE_CREATE, ".version");
    take_path(node, CHANGE_CREATE, ".../\xff");
    assert_all_take(node, true, "");
}

/* ---- Levels ---- */

static void test_deep_directories(void **state)
{
    struct node *node = *state;
    g_autoptr(GString) path = g_string_new("d");

    for (unsigned level = 1; level <= DEEP; level++, g_string_append(path, "/d")) {
        struct change change = {.operation = CHANGE_MKDIR, .path = path->str};
        assert_int_equal(node_apply(node, change), 0);
    }
    assert_int_equal(node_commit(node), 0);
    take_path(node, CHANGE_CREATE, path->str);
    assert_all_take(node, true, "");
}

/* ---- Guests ---- */

static void test_file_in_the_place_of_guests(void **state)
{
    struct node *node = *state;
    struct change change = {.operation = CHANGE_CREATE, .path = "nodes/a/lxc"};

    take_path(node, CHANGE_MKDIR, "nodes");
    take_path(node, CHANGE_MKDIR, "nodes/a");
    assert_not_admitted(node, change, -EACCES);
    take(node, change);
    assert_all_take(node, true, "where a directory of guests should be");
    take_path(node, CHANGE_CREATE, "f");
    take(node, (struct change){.operation = CHANGE_RENAME, .path = "f", .to = "nodes/a/openvz"});
    assert_all_take(node, true, "where a directory of guests should be");
}

static void test_directory_in_the_place_of_a_guest(void **state)
{
    struct node *node = *state;

    take_path(node, CHANGE_MKDIR, "nodes");
    take_path(node, CHANGE_MKDIR, "nodes/a");
    take_path(node, CHANGE_MKDIR, "nodes/a/lxc");
    take_path(node, CHANGE_CREATE, "nodes/a/lxc/100.conf");
    take_path(node, CHANGE_MKDIR, "nodes/a/qemu-server");
    take_path(node, CHANGE_MKDIR, "nodes/a/qemu-server/100.conf");
    assert_all_take(node, true, "");
}

/* ---- Numbers and sizes ---- */

static void test_ends_of_ranges(void **state)
{
    struct node *node = *state;
    g_autofree uint8_t *most = g_malloc0(FILE_SIZE_MAX);

    node->writer = UINT32_MAX;
    node->time = UINT32_MAX - 2;
    take_path(node, CHANGE_CREATE, "f");
    take(node, (struct change){.operation = CHANGE_MTIME, .path = "f", .offset = UINT32_MAX});
    take(node, (struct change){
                   .operation = CHANGE_WRITE, .path = "f", .size = FILE_SIZE_MAX, .data = most});
    assert_all_take(node, true, "");
    node->time = 0;
    node->writer = 0;
    take(node, (struct change){.operation = CHANGE_MTIME, .path = "f", .offset = 0});
    take(node,
         (struct change){
             .operation = CHANGE_WRITE, .path = "f", .offset = FILE_SIZE_MAX, .truncate = true});
    take_path(node, CHANGE_MKDIR, "d");
    assert_all_take(node, true, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_long_names, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_endless_names, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_odd_names, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_deep_directories, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_file_in_the_place_of_guests, node_set_up,
                                        node_tear_down),
        cmocka_unit_test_setup_teardown(test_directory_in_the_place_of_a_guest, node_set_up,
                                        node_tear_down),
        cmocka_unit_test_setup_teardown(test_ends_of_ranges, node_set_up, node_tear_down),
    };

    log_detach(); /* warnings are expected */
    place_use_memory();
    int failures = cmocka_run_group_tests_name("taken", tests, NULL, NULL);
    place_leave_memory();
    return failures;
}
