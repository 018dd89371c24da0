/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unit tests of the change feed: order, look-up by version, what is forgotten, private paths,
 * synchronisations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "core/draft.h"
#include "status/feed.h"

#define REPLY_SIZE_MAX 1048576u

static struct effect *make_effect(uint64_t version, enum change_operation operation,
                                  const char *path, const char *to)
{
    struct effect *effect = effect_new(path, to);

    effect->version = version;
    effect->operation = operation;
    effect->time = 1700000000;
    effect->writer = 7;
    return effect;
}

static void add(struct feed *feed, uint64_t version)
{
    g_autoptr(GPtrArray) effects = draft_effects_new();
    g_autofree char *path = g_strdup_printf("f%" G_GUINT64_FORMAT, version);

    g_ptr_array_add(effects, make_effect(version, CHANGE_CREATE, path, NULL));
    feed_add(feed, effects, false);
}

static void add_resync(struct feed *feed, uint64_t version, unsigned count, const char *format)
{
    g_autoptr(GPtrArray) effects = draft_effects_new();

    if (count == 0) /* only the root differed */
        g_ptr_array_add(effects, make_effect(version, CHANGE_WRITE, NULL, NULL));
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *path = g_strdup_printf("%s%u", format, i);
        g_ptr_array_add(effects, make_effect(version, CHANGE_WRITE, path, NULL));
    }
    feed_add(feed, effects, true);
}

/* The versions of all records from `sequence` on: "5 6 7 ". */
static char *versions_from(const struct feed *feed, uint64_t sequence)
{
    GString *text = g_string_new(NULL);
    const struct feed_record *record;
    uint64_t missed;

    while ((record = feed_get(feed, &sequence, &missed))) {
        g_string_append_printf(text, "%" G_GUINT64_FORMAT " ", record->version);
        sequence++;
    }
    return g_string_free(text, FALSE);
}

static void assert_versions(const struct feed *feed, const char *expected)
{
    g_autofree char *text = versions_from(feed, 1);

    assert_string_equal(text, expected);
}

/* What is made here is known before what others made earlier: it waits for that. */
static void test_order(void **unused)
{
    struct feed *feed = feed_new();

    (void)unused;
    feed_start(feed, 4);
    add(feed, 7);
    add(feed, 8);
    assert_versions(feed, "");
    add(feed, 5);
    assert_versions(feed, "5 ");
    add(feed, 10);
    add(feed, 6);
    assert_versions(feed, "5 6 7 8 ");
    add(feed, 9);
    assert_versions(feed, "5 6 7 8 9 10 ");
    feed_free(feed);
}

/* A gap that never closes does not hold up the rest for ever, and what comes late after all does
 * not make later ones wait again. */
static void test_gap(void **unused)
{
    struct feed *feed = feed_new();

    (void)unused;
    feed_start(feed, 1);
    for (uint64_t version = 3; version < 3 + 4097; version++)
        add(feed, version);
    assert_int_equal(feed->early->len, 0);
    assert_int_equal(feed->version, 4099);
    add(feed, 2);
    add(feed, 4100);
    assert_int_equal(feed->early->len, 0);
    assert_int_equal(feed->version, 4100);
    feed_free(feed);
}

static void test_find(void **unused)
{
    struct feed *feed = feed_new();
    uint64_t missed;

    (void)unused;
    feed_start(feed, 100);
    assert_int_equal(feed_find(feed, 100, &missed), 1);
    assert_int_equal(missed, 0);
    assert_int_equal(feed_find(feed, 90, &missed), 1);
    assert_int_equal(missed, 10); /* made before this daemon started */
    for (uint64_t version = 101; version <= 110; version++)
        add(feed, version);
    assert_int_equal(feed_find(feed, 90, &missed), 1);
    assert_int_equal(missed, 10);
    assert_int_equal(feed_find(feed, 105, &missed), 6);
    assert_int_equal(missed, 0);
    assert_int_equal(feed_find(feed, 110, &missed), 11);
    assert_int_equal(feed_find(feed, 1000, &missed), 11);
    assert_int_equal(missed, 0);
    feed_free(feed);
}

static void test_forgetting(void **unused)
{
    struct feed *feed = feed_new();
    uint64_t missed;
    uint64_t sequence = 1;

    (void)unused;
    feed_start(feed, 1);
    for (uint64_t version = 2; version < 2 + FEED_RECORDS + 50; version++)
        add(feed, version);
    assert_int_equal(feed_get(feed, &sequence, &missed)->version, 52);
    assert_int_equal(sequence, 51);
    assert_int_equal(missed, 50);
    assert_int_equal(feed_find(feed, 1, &missed), 51);
    assert_int_equal(missed, 50);
    assert_int_equal(feed_find(feed, 51, &missed), 51);
    assert_int_equal(missed, 0);
    assert_int_equal(feed_find(feed, 52, &missed), 52);
    sequence = 51 + FEED_RECORDS;
    assert_null(feed_get(feed, &sequence, &missed));
    assert_int_equal(missed, 0);
    feed_free(feed);
}

static void add_write(struct feed *feed, uint64_t version, const char *path, uint32_t writer)
{
    g_autoptr(GPtrArray) effects = draft_effects_new();
    struct effect *effect = make_effect(version, CHANGE_WRITE, path, NULL);

    effect->writer = writer;
    g_ptr_array_add(effects, effect);
    feed_add(feed, effects, false);
}

/* A file that is written piece by piece takes one place of the memory; who has read the first
 * pieces is told the last, and none is called missed. */
static void test_writes_in_a_row(void **unused)
{
    struct feed *feed = feed_new();
    uint64_t missed;
    uint64_t sequence = 1;

    (void)unused;
    feed_start(feed, 1);
    add_write(feed, 2, "a", 7);
    assert_int_equal(feed_get(feed, &sequence, &missed)->version, 2);
    sequence++;
    add_write(feed, 3, "a", 7);
    add_write(feed, 4, "a", 7);
    assert_versions(feed, "4 ");
    assert_int_equal(feed_get(feed, &sequence, &missed)->version, 4);
    assert_int_equal(missed, 0);
    assert_int_equal(sequence, 3);
    assert_int_equal(feed_find(feed, 1, &missed), 3); /* it tells of 2 and 3 as well */
    assert_int_equal(missed, 0);
    assert_int_equal(feed_find(feed, 3, &missed), 3);
    add_write(feed, 5, "a", 8); /* another node's */
    add_write(feed, 6, "b", 8); /* another file */
    add_write(feed, 7, "a", 8);
    assert_versions(feed, "4 5 6 7 ");
    add(feed, 8);
    add_write(feed, 9, "a", 8);
    assert_versions(feed, "4 5 6 7 8 9 ");
    for (uint64_t version = 10; version < 10 + 2 * FEED_RECORDS; version++)
        add_write(feed, version, "a", 8);
    sequence = 1;
    assert_int_equal(feed_get(feed, &sequence, &missed)->version, 4);
    assert_int_equal(missed, 0); /* nothing had to go */
    feed_free(feed);
}

static json_t *parse(const struct feed *feed, uint64_t sequence, bool all)
{
    uint64_t missed;
    const struct feed_record *record = feed_get(feed, &sequence, &missed);
    char *text = feed_record_text(record, "alpha", NULL, all);
    json_t *object = text ? json_loads(text, 0, NULL) : NULL;

    assert_true(!text || object);
    assert_null(text ? strchr(text, '\n') : NULL);
    assert_true(!text || strlen(text) + 24 <= REPLY_SIZE_MAX);
    free(text);
    return object;
}

static void test_record(void **unused)
{
    struct feed *feed = feed_new();
    g_autoptr(GPtrArray) effects = draft_effects_new();

    (void)unused;
    feed_start(feed, 1);
    g_ptr_array_add(effects, make_effect(2, CHANGE_RENAME, "a\"\xff", "b"));
    feed_add(feed, effects, false);
    json_t *object = parse(feed, 1, false);
    assert_int_equal(json_integer_value(json_object_get(object, "version")), 2);
    assert_int_equal(json_integer_value(json_object_get(object, "time")), 1700000000);
    assert_string_equal(json_string_value(json_object_get(object, "node")), "alpha");
    assert_string_equal(json_string_value(json_object_get(object, "operation")), "rename");
    assert_string_equal(json_string_value(json_object_get(object, "path")), "a\"\xef\xbf\xbd");
    assert_string_equal(json_string_value(json_object_get(object, "target")), "b");
    assert_int_equal(json_integer_value(json_object_get(object, "size")), 0);
    json_decref(object);
    feed_free(feed);
}

/* Neither a private path nor a move across the border is told to those who may not read it. */
static void test_private(void **unused)
{
    static const struct {
        const char *path;
        const char *to;
        bool seen;
    } cases[] = {
        {"priv/key", NULL, false},    {"nodes/a/priv/key", NULL, false},
        {"private", NULL, true},      {"x", "priv/x", false},
        {"priv/x", "x", false},       {"x", "y", true},
        {"nodes/a/qemu", NULL, true},
    };
    struct feed *feed = feed_new();

    (void)unused;
    feed_start(feed, 1);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GPtrArray) effects = draft_effects_new();
        g_ptr_array_add(effects, make_effect(2 + i, cases[i].to ? CHANGE_RENAME : CHANGE_CREATE,
                                             cases[i].path, cases[i].to));
        feed_add(feed, effects, false);
        json_t *seen = parse(feed, 1 + i, false);
        assert_int_equal(seen != NULL, cases[i].seen);
        json_decref(seen);
        seen = parse(feed, 1 + i, true);
        assert_non_null(seen);
        json_decref(seen);
    }
    feed_free(feed);
}

static void assert_resync(const struct feed *feed, uint64_t sequence, bool all, int64_t from,
                          int64_t version, size_t paths, int64_t more)
{
    json_t *object = parse(feed, sequence, all);

    assert_string_equal(json_string_value(json_object_get(object, "operation")), "resync");
    assert_int_equal(json_integer_value(json_object_get(object, "from")), from);
    assert_int_equal(json_integer_value(json_object_get(object, "version")), version);
    assert_int_equal(json_array_size(json_object_get(object, "paths")), paths);
    assert_int_equal(json_integer_value(json_object_get(object, "more")), more);
    assert_null(json_object_get(object, "path"));
    json_decref(object);
}

static void test_resync(void **unused)
{
    struct feed *feed = feed_new();
    uint64_t missed;

    (void)unused;
    feed_start(feed, 10);
    add_resync(feed, 20, 3, "d/f");
    assert_resync(feed, 1, false, 10, 20, 3, 0);
    assert_int_equal(feed_find(feed, 9, &missed), 1);
    assert_int_equal(missed, 1);
    assert_int_equal(feed_find(feed, 15, &missed), 1);
    assert_int_equal(missed, 0); /* the record tells it all */
    assert_int_equal(feed_find(feed, 20, &missed), 2);
    add_resync(feed, 25, 2, "priv/f");
    assert_resync(feed, 2, false, 20, 25, 0, 0);
    assert_resync(feed, 2, true, 20, 25, 2, 0);
    add(feed, 26);
    assert_versions(feed, "20 25 26 ");
    feed_free(feed);
}

/* Something was made and deleted while this node was away: no path differs, but the version. What
 * comes next is told at once. */
static void test_resync_of_the_root(void **unused)
{
    struct feed *feed = feed_new();

    (void)unused;
    feed_start(feed, 10);
    add_resync(feed, 14, 0, NULL);
    assert_resync(feed, 1, false, 10, 14, 0, 0);
    add(feed, 15);
    assert_versions(feed, "14 15 ");
    feed_free(feed);
}

/* A change made here after a synchronisation can be known before it. */
static void test_resync_after_its_successor(void **unused)
{
    struct feed *feed = feed_new();

    (void)unused;
    feed_start(feed, 10);
    add(feed, 12); /* 11 never comes: the synchronisation has it */
    add(feed, 21);
    add_resync(feed, 20, 1, "f");
    assert_versions(feed, "12 20 21 ");
    add(feed, 22);
    assert_versions(feed, "12 20 21 22 ");
    feed_free(feed);
}

/* However many and long the paths, the event fits a reply; how many are left out is told. */
static void test_large_resync(void **unused)
{
    struct feed *feed = feed_new();
    g_autofree char *name = g_strnfill(1000, '\x01');
    g_autofree char *private_name = g_strconcat("priv/", name, NULL);

    (void)unused;
    feed_start(feed, 1);
    add_resync(feed, 10, 5000, "f");
    assert_resync(feed, 1, false, 1, 10, 2000, 3000);
    add_resync(feed, 20, 5000, name);
    json_t *object = parse(feed, 2, false);
    size_t told = json_array_size(json_object_get(object, "paths"));
    assert_true(told > 100 && told < 200);
    assert_int_equal(json_integer_value(json_object_get(object, "more")), 5000 - told);
    json_decref(object);
    add_resync(feed, 30, 5000, private_name);
    assert_resync(feed, 3, false, 20, 30, 0, 0);
    object = parse(feed, 3, true);
    assert_true(json_integer_value(json_object_get(object, "more")) > 4800);
    json_decref(object);
    feed_free(feed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_forgetting),
        cmocka_unit_test(test_writes_in_a_row),
        cmocka_unit_test(test_record),
        cmocka_unit_test(test_private),
        cmocka_unit_test(test_resync),
        cmocka_unit_test(test_resync_of_the_root),
        cmocka_unit_test(test_resync_after_its_successor),
        cmocka_unit_test(test_large_resync),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
