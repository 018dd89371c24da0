/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Guest properties: what is parsed, and how often. (What is answered: tests/socket.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <glib.h>
#include <jansson.h>
#include <string.h>
#include <time.h>

#include "json_text.h"
#include "socket/properties.h"
#include "world.h"

#define GUESTS 50u

/* All that the properties know of a replica is its lock. */
struct replica {
    struct world world;
    bool locked;
};

const struct state *replica_read_lock(struct replica *replica)
{
    assert_false(replica->locked);
    replica->locked = true;
    return replica->world.state;
}

void replica_read_unlock(struct replica *replica)
{
    assert_true(replica->locked);
    replica->locked = false;
}

struct fixture {
    struct replica replica;
    struct properties *properties;
};

static int start(void **state)
{
    static const char *const directories[] = {"nodes", "nodes/a", "nodes/a/qemu-server",
                                              "nodes/a/lxc", NULL};
    struct fixture *fixture = g_new0(struct fixture, 1);
    struct world *world = &fixture->replica.world;

    world_start(world);
    world_make(world, directories);
    for (unsigned id = 100; id < 100 + GUESTS; id++) {
        g_autofree char *path = g_strdup_printf("nodes/a/qemu-server/%u.conf", id);
        g_autofree char *text = g_strdup_printf("name: n%u\nlock: l\n", id);
        world_file(world, path, text);
    }
    world_publish(world);
    fixture->properties = properties_new(&fixture->replica);
    *state = fixture;
    return 0;
}

static int stop(void **state)
{
    struct fixture *fixture = *state;

    properties_free(fixture->properties);
    world_stop(&fixture->replica.world);
    g_free(fixture);
    return 0;
}

static const char *const name_only[] = {"name", NULL};
static const char *const name_and_lock[] = {"name", "lock", NULL};

/* How many guests the answer has. `parsed`: configurations that had to be parsed for it. */
static size_t ask(struct fixture *fixture, const char *const *names, uint64_t parsed)
{
    uint64_t before = properties_parsed(fixture->properties);
    struct buffer *text = NULL;

    assert_int_equal(properties_get(fixture->properties, 0, names, &text), 0);
    assert_int_equal(properties_parsed(fixture->properties) - before, parsed);
    json_t *object = json_of_text(text);
    size_t count = json_object_size(object);
    json_decref(object);
    return count;
}

static void test_parses_what_changed(void **state)
{
    struct fixture *fixture = *state;
    struct world *world = &fixture->replica.world;

    assert_int_equal(ask(fixture, name_only, GUESTS), GUESTS);
    assert_int_equal(ask(fixture, name_only, 0), GUESTS);
    world_file(world, "other", "no guest's");
    world_publish(world);
    assert_int_equal(ask(fixture, name_only, 0), GUESTS);
    world_write(world, "nodes/a/qemu-server/100.conf", 0, "name: m");
    world_publish(world);
    assert_int_equal(ask(fixture, name_only, 1), GUESTS);
    assert_int_equal(ask(fixture, name_only, 0), GUESTS);
    world_delete(world, "nodes/a/qemu-server/101.conf");
    world_publish(world);
    assert_int_equal(ask(fixture, name_only, 0), GUESTS - 1);
    world_rename(world, "nodes/a/qemu-server/102.conf", "nodes/a/lxc/102.conf");
    world_publish(world);
    assert_int_equal(ask(fixture, name_only, 1), GUESTS - 1);
    world_file(world, "nodes/a/lxc/101.conf", "lock: l\n");
    world_delete(world, "nodes/a/qemu-server/103.conf");
    world_publish(world);
    assert_int_equal(ask(fixture, name_only, 1), GUESTS - 2);
    world->draft->rebuild = true; /* a synchronisation: every guest counts as changed */
    world_publish(world);
    assert_int_equal(ask(fixture, name_only, GUESTS - 1), GUESTS - 2);
}

static void test_lists_of_names_are_apart(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(ask(fixture, name_only, GUESTS), GUESTS);
    assert_int_equal(ask(fixture, name_and_lock, GUESTS), GUESTS);
    assert_int_equal(ask(fixture, name_only, 0), GUESTS);
    assert_int_equal(ask(fixture, name_and_lock, 0), GUESTS);
}

/* Lists that nobody asks for any more make room, those that are used stay. */
static void test_used_lists_stay(void **state)
{
    struct fixture *fixture = *state;

    ask(fixture, name_only, GUESTS);
    for (int i = 0; i < 40; i++) {
        g_autofree char *other = g_strdup_printf("x%d", i);
        const char *const names[] = {other, NULL};
        assert_int_equal(ask(fixture, names, GUESTS), 0);
        assert_int_equal(ask(fixture, name_only, 0), GUESTS);
    }
}

static void test_one_guest(void **state)
{
    struct fixture *fixture = *state;
    struct buffer *text = NULL;

    assert_int_equal(properties_get(fixture->properties, 99999, name_only, &text), -ENOENT);
    assert_int_equal(properties_get(fixture->properties, 120, name_and_lock, &text), 0);
    static const char expected[] = "{\"120\":{\"name\":\"n120\",\"lock\":\"l\"}}";
    assert_int_equal(text->capacity, strlen(expected));
    assert_memory_equal(text->data, expected, strlen(expected));
    buffer_unref(text);
    assert_int_equal(properties_parsed(fixture->properties), 1);
}

/* Nanoseconds of this thread's processor for a look at guest 100 for `count` names, if those are
 * fewer than *best. */
static void measure(struct fixture *fixture, unsigned count, int64_t *best)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    struct timespec begin;
    struct timespec end;
    struct buffer *text = NULL;

    for (unsigned i = 0; i < count; i++)
        g_ptr_array_add(names, g_strdup_printf("n%u", i));
    g_ptr_array_add(names, NULL);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
    assert_int_equal(
        properties_get(fixture->properties, 100, (const char *const *)names->pdata, &text), 0);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
    buffer_unref(text);
    *best = MIN(*best, (end.tv_sec - begin.tv_sec) * 1000000000LL + end.tv_nsec - begin.tv_nsec);
}

/* Whoever may read can ask for 255 names, of all guests and again and again: that costs little
 * more than one name (3 to 4 times; comparing each line with each name: 80 times). */
static void test_many_names_cost_little(void **state)
{
    struct fixture *fixture = *state;
    struct world *world = &fixture->replica.world;
    g_autoptr(GString) content = g_string_new(NULL);
    int64_t one = INT64_MAX;
    int64_t many = INT64_MAX;

    for (unsigned i = 0; i < 8000; i++)
        g_string_append_printf(content, "net%u: virtio=AA:BB:CC:DD:EE:FF,bridge=vmbr0\n", i % 60);
    world_write(world, "nodes/a/qemu-server/100.conf", 0, content->str);
    world_publish(world);
    for (int i = 0; i < 100 && (i < 3 || many >= 8 * one); i++) {
        measure(fixture, 1, &one);
        measure(fixture, 255, &many);
    }
    print_message("1 name: %d us, 255 names: %d us\n", (int)(one / 1000), (int)(many / 1000));
    assert_true(many < 8 * one);
}

#define WITH_GUESTS(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_GUESTS(test_parses_what_changed),    WITH_GUESTS(test_lists_of_names_are_apart),
        WITH_GUESTS(test_used_lists_stay),        WITH_GUESTS(test_one_guest),
        WITH_GUESTS(test_many_names_cost_little),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
