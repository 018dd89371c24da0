/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Differences of texts, as diff -u shows them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/text_diff.h"

static void check(const char *a, const char *b, enum text_diff_style style, const char *expected)
{
    g_autoptr(GString) out = g_string_new(NULL);

    text_diff(out, a, strlen(a), b, strlen(b), style);
    assert_string_equal(out->str, expected);
}

static void test_small(void **state)
{
    (void)state;
    check("", "", TEXT_DIFF_PLAIN, "");
    check("a\nb\n", "a\nb\n", TEXT_DIFF_PLAIN, "");
    check("", "a\n", TEXT_DIFF_PLAIN, "@@ -0,0 +1 @@\n+a\n");
    check("a\nb\n", "", TEXT_DIFF_PLAIN, "@@ -1,2 +0,0 @@\n-a\n-b\n");
    check("a\nb\nc\n", "a\nx\nc\n", TEXT_DIFF_PLAIN, "@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n");
    check("a", "a\n", TEXT_DIFF_PLAIN, "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n");
    check("1\n2\n3\n4\n5\n6\n", "1\n2\n3\n4\n5\n6\n7\n", TEXT_DIFF_PLAIN,
          "@@ -4,3 +4,4 @@\n 4\n 5\n 6\n+7\n");
}

static void test_hunks(void **state)
{
    (void)state;
    /* Six lines between two changes are one hunk, seven are two. */
    check("a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n", TEXT_DIFF_PLAIN,
          "@@ -1,8 +1,8 @@\n-a\n+A\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+B\n");
    check("a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n", TEXT_DIFF_PLAIN,
          "@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+B\n");
}

static void check_origins(const char *a, const char *b, const int *expected, guint count)
{
    GArray *origins = text_diff_origins(a, strlen(a), b, strlen(b));

    assert_int_equal(origins->len, count);
    for (guint i = 0; i < count; i++)
        assert_int_equal(g_array_index(origins, int, i), expected[i]);
    g_array_unref(origins);
}

static void test_origins(void **state)
{
    (void)state;
    check_origins("", "", NULL, 0);
    check_origins("a\n", "", NULL, 0);
    check_origins("", "a\nb\n", (const int[]){-1, -1}, 2);
    check_origins("a\nb\nc\n", "a\nb\nc\n", (const int[]){0, 1, 2}, 3);
    check_origins("a\nb\nc\n", "new\na\nC\nc\nend", (const int[]){-1, 0, -1, 2, -1}, 5);
    check_origins("a\nb\nc\nd\n", "d\n", (const int[]){3}, 1);
    /* With and without a newline are two lines. */
    check_origins("a\nb", "a\nb\n", (const int[]){0, -1}, 2);
}

static void test_styles(void **state)
{
    (void)state;
    check("a\tb\n", "\033[31m\n", TEXT_DIFF_SHOWN, "@@ -1 +1 @@\n-a\tb\n+\\x1b[31m\n");
    /* CSI in one character, and what turns the direction of writing; others stay. */
    check("x\n",
          "\t\u00e4\t\t\xc2\x9b"
          "31m\u202e\t\n",
          TEXT_DIFF_SHOWN, "@@ -1 +1 @@\n-x\n+\t\u00e4\t\t\\xc2\\x9b31m\\xe2\\x80\\xae\t\n");
    check("a\tb\n", "\033[31m\n", TEXT_DIFF_PLAIN, "@@ -1 +1 @@\n-a\tb\n+\033[31m\n");
    check("x\npassword\n", "x\nanother", TEXT_DIFF_MASKED,
          "@@ -1,2 +1,2 @@\n ********\n-********\n+********\n\\ No newline at end of file\n");
}

static void test_what_is_text(void **state)
{
    (void)state;
    assert_true(text_diff_is_text("", 0));
    assert_true(text_diff_is_text("\xc3\xa4\n", 3));
    assert_false(text_diff_is_text("a\0b", 3));
    assert_false(text_diff_is_text("\xff", 1));
}

/* --- Any texts: what is shown makes the second of the first --- */

static char *take_number(char *at, char sign, size_t *first, size_t *count)
{
    assert_int_equal(*at, sign);
    *first = strtoul(at + 1, &at, 10);
    *count = 1;
    if (*at == ',')
        *count = strtoul(at + 1, &at, 10);
    return at + 1;
}

static void apply_hunks(const char *diff, GPtrArray *lines, GPtrArray *result, size_t *edits)
{
    g_auto(GStrv) rows = g_strsplit(diff, "\n", -1);
    size_t done = 0;

    for (char **row = rows; *row && **row; row++) {
        size_t first, count, other_first, other_count;
        if (g_str_has_prefix(*row, "@@ ")) {
            char *at = take_number(*row + 3, '-', &first, &count);
            take_number(at, '+', &other_first, &other_count);
            first -= count > 0;
            assert_true(first >= done);
            while (done < first)
                g_ptr_array_add(result, g_strdup(lines->pdata[done++]));
            assert_int_equal(result->len, other_first - (other_count > 0));
            continue;
        }
        if (**row == '+') {
            g_ptr_array_add(result, g_strdup(*row + 1));
        } else {
            assert_string_equal(lines->pdata[done], *row + 1);
            if (**row == ' ')
                g_ptr_array_add(result, g_strdup(lines->pdata[done]));
            done++;
        }
        *edits += **row != ' ';
    }
    while (done < lines->len)
        g_ptr_array_add(result, g_strdup(lines->pdata[done++]));
}

static char *make_text(GRand *random, size_t lines, int kinds, GPtrArray *list)
{
    GString *text = g_string_new(NULL);

    for (size_t i = 0; i < lines; i++) {
        char *line = g_strdup_printf("line %d", g_rand_int_range(random, 0, kinds));
        g_string_append_printf(text, "%s\n", line);
        g_ptr_array_add(list, line);
    }
    return g_string_free(text, FALSE);
}

static void check_any(GRand *random, size_t a_lines, size_t b_lines, int kinds)
{
    g_autoptr(GPtrArray) first = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) second = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) result = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) out = g_string_new(NULL);
    g_autofree char *a = make_text(random, a_lines, kinds, first);
    g_autofree char *b = make_text(random, b_lines, kinds, second);
    size_t edits = 0;

    text_diff(out, a, strlen(a), b, strlen(b), TEXT_DIFF_PLAIN);
    apply_hunks(out->str, first, result, &edits);
    assert_int_equal(result->len, second->len);
    for (guint i = 0; i < result->len; i++)
        assert_string_equal(result->pdata[i], second->pdata[i]);
    assert_true(edits <= a_lines + b_lines);
}

static void test_any_texts(void **state)
{
    GRand *random = g_rand_new_with_seed(5);

    (void)state;
    for (int i = 0; i < 3000; i++)
        check_any(random, (size_t)g_rand_int_range(random, 0, 30),
                  (size_t)g_rand_int_range(random, 0, 30), g_rand_int_range(random, 1, 12));
    check_any(random, 400, 300, 40);
    g_rand_free(random);
}

/* More differences than are looked for: replaced as a whole, and at once. */
static void test_large_texts(void **state)
{
    g_autoptr(GString) a = g_string_new(NULL);
    g_autoptr(GString) b = g_string_new(NULL);
    g_autoptr(GString) out = g_string_new(NULL);

    (void)state;
    for (int i = 0; i < 100000; i++) {
        g_string_append_printf(a, "%d\n", 2 * i);
        g_string_append_printf(b, "%d\n", 2 * i + 1);
    }
    text_diff(out, a->str, a->len, b->str, b->len, TEXT_DIFF_PLAIN);
    assert_true(g_str_has_prefix(out->str, "@@ -1,100000 +1,100000 @@\n-0\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small),        cmocka_unit_test(test_hunks),
        cmocka_unit_test(test_origins),      cmocka_unit_test(test_styles),
        cmocka_unit_test(test_what_is_text), cmocka_unit_test(test_any_texts),
        cmocka_unit_test(test_large_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
