/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Suggestions for names that are not known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/suggest.h"

static void test_distance(void **state)
{
    static const struct {
        const char *first;
        const char *second;
        unsigned int distance;
    } cases[] = {
        {"", "", 0},
        {"", "abc", 3},
        {"node3", "node3", 0},
        {"nod3", "node3", 1},
        {"noed3", "node3", 1},
        {"NODE3", "node3", 0},
        {"node4", "node3", 1},
        {"node33", "node3", 1},
        {"abc", "xyz", 3},
        {"statsu", "status", 1},
        {"kitten", "sitting", 3},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        assert_int_equal(suggest_distance(cases[i].first, cases[i].second), cases[i].distance);
        assert_int_equal(suggest_distance(cases[i].second, cases[i].first), cases[i].distance);
    }
}

static void test_long_names(void **state)
{
    g_autofree char *longest = g_strnfill(100000, 'x');

    (void)state;
    assert_int_equal(suggest_distance(longest, "x"), 254);
    assert_int_equal(suggest_distance(longest, longest), 0);
}

static void test_suggest(void **state)
{
    static const char *const names[] = {"node1", "node2", "node3", "status", "verify", "x"};
    g_autoptr(GPtrArray) known = g_ptr_array_new();

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        g_ptr_array_add(known, (gpointer)names[i]);
    assert_string_equal(suggest("nod3", known), "node3");
    assert_string_equal(suggest("nod", known), "node1");
    assert_string_equal(suggest("statsu", known), "status");
    assert_string_equal(suggest("ver", known), "verify");
    assert_null(suggest("typo", known));
    assert_null(suggest("", known));
    assert_null(suggest("y", known)); /* nothing of it would be right */
    g_autofree char *text = suggest_text("nod3", known);
    assert_string_equal(text, "; did you mean 'node3'?");
    g_autofree char *none = suggest_text("typo", known);
    assert_string_equal(none, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distance),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_suggest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
