/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Key/value status: what is accepted, versions, and the lines of .rrd. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "status/key_values.h"

static int check(const char *name, const void *value, size_t size)
{
    enum key_kind kind;

    return key_value_check(name, value, size, &kind);
}

static void test_names(void **state)
{
    g_autofree char *longest = g_strnfill(255, 'n');
    g_autofree char *longer = g_strnfill(256, 'n');
    enum key_kind kind;

    (void)state;
    assert_int_equal(check("", "x", 1), -EINVAL);
    assert_int_equal(check(longest, "x", 1), 0);
    assert_int_equal(check(longer, "x", 1), -EINVAL);
    assert_int_equal(key_value_check("nodeips", "x", 1, &kind), 0);
    assert_int_equal(kind, KEY_PLAIN);
    assert_int_equal(key_value_check("rrd", "x", 1, &kind), 0);
    assert_int_equal(kind, KEY_PLAIN);
    assert_int_equal(key_value_check("rrd/", "x", 2, &kind), 0);
    assert_int_equal(kind, KEY_RRD);
    assert_string_equal(key_rrd_key("rrd/pve2-node/a"), "pve2-node/a");
    assert_int_equal(key_value_check("nodeip", "x", 2, &kind), 0);
    assert_int_equal(kind, KEY_ADDRESS);
    assert_int_equal(key_value_check("pmxcfs-release", "1", 2, &kind), 0);
    assert_int_equal(kind, KEY_RELEASE);
    assert_int_equal(key_value_check("pmxcfs-releases", "1", 2, &kind), 0);
    assert_int_equal(kind, KEY_PLAIN);
}

static void test_sizes(void **state)
{
    g_autofree char *bytes = g_strnfill(KEY_VALUE_MAX + 1, 'v');

    (void)state;
    assert_int_equal(check("plain", bytes, 0), 0);
    assert_int_equal(check("plain", bytes, KEY_VALUE_MAX), 0);
    assert_int_equal(check("plain", bytes, KEY_VALUE_MAX + 1), -EFBIG);
    assert_int_equal(check("nodeip", bytes, KEY_VALUE_MAX + 1), -EFBIG);
    assert_int_equal(check("rrd/x", bytes, KEY_VALUE_MAX + 1), -EFBIG);

    /* nodeip and rrd/ are text with one NUL, at the end */
    assert_int_equal(check("nodeip", "", 0), -EINVAL);
    assert_int_equal(check("nodeip", "", 1), -EINVAL);
    assert_int_equal(check("nodeip", "10.0.0.1", 8), -EINVAL);
    assert_int_equal(check("nodeip", "10.0.0.1", 9), 0);
    assert_int_equal(check("nodeip", "10.0\0.1", 8), -EINVAL);
    assert_int_equal(check("pmxcfs-release", "", 1), -EINVAL);
    assert_int_equal(check("pmxcfs-release", "1.0", 3), -EINVAL);
    assert_int_equal(check("pmxcfs-release", bytes, 65), -EINVAL);
    assert_int_equal(check("rrd/x", "", 0), -EINVAL);
    assert_int_equal(check("rrd/x", "", 1), 0);
    assert_int_equal(check("rrd/x", "1:2", 3), -EINVAL);
    assert_int_equal(check("rrd/x", "1:2\0", 5), -EINVAL);
    bytes[254] = 0;
    assert_int_equal(check("nodeip", bytes, 255), 0);
    bytes[254] = 'v';
    bytes[255] = 0;
    assert_int_equal(check("nodeip", bytes, 256), -EINVAL);
    bytes[255] = 'v';
    bytes[4094] = 0;
    assert_int_equal(check("rrd/x", bytes, 4095), 0);
    bytes[4094] = 'v';
    bytes[4095] = 0;
    assert_int_equal(check("rrd/x", bytes, 4096), -EINVAL);
}

static void test_versions(void **state)
{
    struct node_values *values = node_values_new();

    (void)state;
    assert_null(node_values_get(values, "key"));
    assert_int_equal(node_values_set(values, "key", "one", 3), 0);
    assert_int_equal(node_values_get(values, "key")->version, 0);
    assert_int_equal(node_values_set(values, "key", "two!", 4), 0);
    assert_int_equal(node_values_set(values, "key", "two!", 4), 0);
    const struct key_value *value = node_values_get(values, "key");
    assert_int_equal(value->version, 2);
    assert_int_equal(value->value->capacity, 4);
    assert_memory_equal(value->value->data, "two!", 4);
    assert_true(values->bytes > 3 + 4);
    assert_int_equal(node_values_set(values, "key", NULL, 0), 0);
    assert_int_equal(node_values_set(values, "key", NULL, 0), 0);
    assert_null(node_values_get(values, "key"));
    assert_int_equal(values->bytes, 0);
    assert_int_equal(node_values_set(values, "key", "three", 5), 0);
    assert_int_equal(node_values_get(values, "key")->version, 0);
    node_values_free(values);
}

static void test_names_are_sorted_copies(void **state)
{
    struct node_values *values = node_values_new();

    (void)state;
    node_values_set(values, "b", "1", 1);
    node_values_set(values, "c", "1", 1);
    node_values_set(values, "a", "1", 1);
    GPtrArray *names = node_values_names(values);
    node_values_free(values);
    assert_int_equal(names->len, 3);
    assert_string_equal(g_ptr_array_index(names, 0), "a");
    assert_string_equal(g_ptr_array_index(names, 1), "b");
    assert_string_equal(g_ptr_array_index(names, 2), "c");
    g_ptr_array_unref(names);
}

static void test_all_values_are_bounded(void **state)
{
    struct node_values *values = node_values_new();
    g_autofree char *bytes = g_strnfill(KEY_VALUE_MAX, 'v');
    int error = 0;
    unsigned stored = 0;

    (void)state;
    while (!error && stored < 10000) {
        g_autofree char *name = g_strdup_printf("%u", stored);
        error = node_values_set(values, name, bytes, KEY_VALUE_MAX);
        stored += !error;
    }
    assert_int_equal(error, -ENOSPC);
    assert_in_range(stored, 2000, 2048);
    /* there is room for what does not grow, and again when something went away */
    assert_int_equal(node_values_set(values, "5", bytes, KEY_VALUE_MAX), 0);
    assert_int_equal(node_values_set(values, "5", NULL, 0), 0);
    assert_int_equal(node_values_set(values, "new", bytes, KEY_VALUE_MAX), 0);
    assert_true(values->bytes <= KEY_VALUES_BYTES_MAX);
    node_values_free(values);
}

/* Short ones cost more than their bytes: a hundred in the tables. */
static void test_small_values_cost_more(void **state)
{
    struct node_values *values = node_values_new();
    struct rrd_values *rrd = rrd_values_new();

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        g_autofree char *name = g_strdup_printf("%u", i);
        assert_int_equal(node_values_set(values, name, "x", 1), 0);
        assert_int_equal(rrd_values_set(rrd, name, "", 1000), 0);
    }
    assert_in_range(values->bytes, 96000, 128000);
    assert_in_range(rrd->bytes, 96000, 128000);
    node_values_free(values);
    rrd_values_free(rrd);
}

static void test_address(void **state)
{
    struct node_values *values = node_values_new();

    (void)state;
    assert_null(values->address);
    assert_true(node_values_set_address(values, "10.0.0.1"));
    assert_false(node_values_set_address(values, "10.0.0.1"));
    assert_true(node_values_set_address(values, "10.0.0.2"));
    assert_string_equal(values->address, "10.0.0.2");
    node_values_free(values);
}

static void expect_lines(struct rrd_values *rrd, uint64_t now, const char *expected)
{
    GPtrArray *lines = rrd_values_lines(rrd, now);
    struct buffer *text = rrd_lines_text(lines);

    assert_int_equal(text->capacity, strlen(expected));
    assert_memory_equal(text->data, expected, strlen(expected));
    buffer_unref(text);
    g_ptr_array_unref(lines);
}

static void test_rrd_lines(void **state)
{
    struct rrd_values *rrd = rrd_values_new();

    (void)state;
    expect_lines(rrd, 0, "");
    assert_int_equal(rrd_values_set(rrd, "pve2-node/b", "1:2:3", 1000), 0);
    assert_int_equal(rrd_values_set(rrd, "pve2-node/a", "4:5", 2000), 0);
    expect_lines(rrd, 2000, "pve2-node/a:4:5\npve2-node/b:1:2:3\n");
    assert_int_equal(rrd_values_set(rrd, "pve2-node/a", "6", 3000), 0);
    expect_lines(rrd, 301000, "pve2-node/a:6\npve2-node/b:1:2:3\n");
    expect_lines(rrd, 301001, "pve2-node/a:6\n");
    /* a value set after `now` was read is not old */
    assert_int_equal(rrd_values_set(rrd, "pve2-node/a", "7\n8\n", 303002), 0);
    expect_lines(rrd, 303001, "pve2-node/a:7 8 \n");
    expect_lines(rrd, 700000, "");
    assert_int_equal(rrd->bytes, 0);
    rrd_values_free(rrd);
}

static void test_rrd_values_are_bounded(void **state)
{
    struct rrd_values *rrd = rrd_values_new();
    g_autofree char *text = g_strnfill(4000, '1');
    int error = 0;
    unsigned stored = 0;

    (void)state;
    while (!error && stored < 100000) {
        g_autofree char *key = g_strdup_printf("%u", stored);
        error = rrd_values_set(rrd, key, text, 1000);
        stored += !error;
    }
    assert_int_equal(error, -ENOSPC);
    assert_true(stored > 15000);
    assert_int_equal(rrd_values_set(rrd, "7", text, 1000), 0);
    /* what is there does not grow beyond it either */
    assert_int_equal(rrd_values_set(rrd, "7", "short", 1000), 0);
    for (error = 0; !error; stored++) {
        g_autofree char *key = g_strdup_printf("%u", stored);
        error = rrd_values_set(rrd, key, "short", 1000);
    }
    assert_int_equal(error, -ENOSPC);
    assert_int_equal(rrd_values_set(rrd, "7", text, 1000), -ENOSPC);
    assert_true(rrd->bytes <= KEY_VALUES_BYTES_MAX);
    /* old values make room */
    assert_int_equal(rrd_values_set(rrd, "later", text, 400000), 0);
    assert_int_equal(g_hash_table_size(rrd->by_key), 1);
    rrd_values_free(rrd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_names_are_sorted_copies),
        cmocka_unit_test(test_all_values_are_bounded),
        cmocka_unit_test(test_small_values_cost_more),
        cmocka_unit_test(test_address),
        cmocka_unit_test(test_rrd_lines),
        cmocka_unit_test(test_rrd_values_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
