/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The recorder when it falls behind: what waits is bounded, what is left out is counted and said,
 * and what the tree has is found afterwards (history/recorder.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "core/apply.h"
#include "core/publish.h"
#include "core/state.h"
#include "history/askers.h"
#include "history/reader.h"
#include "history/recorder.h"
#include "store_place.h"

#define QUEUE_BYTES 200000u
#define FILE_BYTES 10000u

struct fixture {
    struct place place;
    char *path;
    struct state *state;
    struct draft *draft;
    struct recorder *recorder;
    uint32_t time;
};

static int start(void **state)
{
    struct fixture *fixture = g_new0(struct fixture, 1);
    struct recorder_options options = {
        .limits = {.bytes = 64 << 20, .age = 400 * 86400, .deleted_age = 30 * 86400},
        .delay = 3600000, /* only what is asked for */
        .queue_bytes = QUEUE_BYTES};

    place_start(&fixture->place);
    fixture->path = g_build_filename(fixture->place.directory, HISTORY_FILE, NULL);
    fixture->state = state_new(tree_new(), 0);
    fixture->draft = draft_new(fixture->state);
    options.directory = fixture->place.directory;
    fixture->recorder = recorder_start(&options);
    assert_non_null(fixture->recorder);
    *state = fixture;
    return 0;
}

static int stop(void **state)
{
    struct fixture *fixture = *state;

    recorder_stop(fixture->recorder);
    draft_free(fixture->draft);
    state_free(fixture->state);
    place_stop(&fixture->place);
    g_free(fixture->path);
    g_free(fixture);
    return 0;
}

/* As the writer makes a file of FILE_BYTES and publishes that. */
static void make(struct fixture *fixture, unsigned number)
{
    g_autofree char *path = g_strdup_printf("file%u", number);
    g_autofree char *text = g_strnfill(FILE_BYTES, (char)('a' + number % 26));
    struct change change = {.operation = CHANGE_CREATE, .path = path, .time = ++fixture->time};

    assert_int_equal(apply(fixture->draft, &change, NULL), 0);
    change.operation = CHANGE_WRITE;
    change.data = (uint8_t *)text;
    change.size = FILE_BYTES;
    assert_int_equal(apply(fixture->draft, &change, NULL), 0);
    g_autoptr(GPtrArray) effects = draft_take_effects(fixture->draft);
    state_publish(fixture->state, fixture->draft, 0);
    if (recorder_wants_tree(fixture->recorder))
        recorder_take_tree(fixture->recorder, fixture->state->tree, effects, false);
    else
        recorder_take(fixture->recorder, effects);
}

static struct recorder_status settled(struct fixture *fixture)
{
    struct recorder_status status;

    recorder_settle(fixture->recorder, fixture->state->tree->root.version);
    recorder_get_status(fixture->recorder, &status);
    return status;
}

static void until_failing(struct fixture *fixture)
{
    struct recorder_status status;

    do {
        recorder_ask(fixture->recorder);
        g_usleep(1000);
        recorder_get_status(fixture->recorder, &status);
    } while (!status.failing);
}

static void test_nothing_is_lost_that_has_room(void **state)
{
    struct fixture *fixture = *state;

    /* More than the queue holds, in all. */
    for (unsigned i = 0; i < 100; i++) {
        make(fixture, i);
        if (i % 10 == 9) {
            struct recorder_status status = settled(fixture);
            assert_false(status.failing);
            assert_int_equal(status.waiting_bytes, 0);
            assert_int_equal(status.left_out, 0);
        }
    }
}

static void assert_gap(struct fixture *fixture, uint64_t left_out)
{
    struct history_reader *reader;
    struct history_summary summary;
    g_autofree char *message = NULL;
    GPtrArray *changes;
    unsigned gaps = 0;

    assert_int_equal(history_open(fixture->path, &reader, &message), 0);
    assert_int_equal(history_summary(reader, &summary), 0);
    assert_int_equal(summary.left_out, left_out);
    assert_int_equal(history_list(reader, &(struct history_filter){0}, &changes), 0);
    for (guint i = 0; i < changes->len; i++)
        gaps += ((struct history_change *)changes->pdata[i])->operation == HISTORY_GAP;
    assert_int_equal(gaps, 1);
    g_ptr_array_unref(changes);
    assert_int_equal(history_tree(reader, HISTORY_NOW, NULL, &changes), 0);
    assert_int_equal(changes->len, tree_entry_count(fixture->state->tree) - 1);
    for (guint i = 0; i < changes->len; i++)
        assert_int_equal(((struct history_change *)changes->pdata[i])->after.size, FILE_BYTES);
    g_ptr_array_unref(changes);
    history_close(reader);
}

static void test_what_has_no_room_is_counted(void **state)
{
    struct fixture *fixture = *state;
    struct recorder_status status;

    assert_int_equal(mkdir(fixture->path, 0700), 0); /* nothing can be written */
    make(fixture, 0);
    until_failing(fixture);
    for (unsigned i = 1; i < 100; i++)
        make(fixture, i);
    recorder_get_status(fixture->recorder, &status);
    assert_true(status.waiting_bytes <= QUEUE_BYTES);
    assert_in_range(status.left_out, 100, 199);
    uint64_t left_out = status.left_out;
    assert_int_equal(rmdir(fixture->path), 0);
    while (settled(fixture).written < status.taken)
        g_usleep(1000);
    status = settled(fixture);
    assert_int_equal(status.waiting_bytes, 0);
    assert_int_equal(status.left_out, left_out);
    /* The next change has it compared with the tree: what there is is in it after all. */
    make(fixture, 100);
    settled(fixture);
    assert_gap(fixture, left_out);
}

/* A thread of its own reads command lines; what is written down waits for it. */
static void test_who_asked_is_known_when_it_is_written(void **state)
{
    struct history_actor actor = {.known = false};
    struct askers *askers = askers_start();

    (void)state;
    assert_non_null(askers);
    askers_settle(askers);
    uint32_t number = askers_note(askers, getpid(), getuid());
    askers_settle(askers);
    assert_true(askers_get(askers, number, &actor));
    assert_non_null(strstr(actor.command, "test_history_recorder"));
    assert_int_equal(actor.pid, getpid());
    askers_stop(askers);
}

/* What is stored, and not published yet, cannot be in the history: who folds it is told. */
static void test_what_is_not_published_is_not_settled(void **state)
{
    struct fixture *fixture = *state;

    make(fixture, 0);
    uint64_t version = fixture->state->tree->root.version;
    assert_true(recorder_settle(fixture->recorder, version));
    assert_false(recorder_settle(fixture->recorder, version + 1));
    make(fixture, 1);
    assert_true(recorder_settle(fixture->recorder, version + 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_is_lost_that_has_room, start, stop),
        cmocka_unit_test_setup_teardown(test_what_has_no_room_is_counted, start, stop),
        cmocka_unit_test(test_who_asked_is_known_when_it_is_written),
        cmocka_unit_test_setup_teardown(test_what_is_not_published_is_not_settled, start, stop),
    };

    place_use_memory();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    place_leave_memory();
    return failed;
}
