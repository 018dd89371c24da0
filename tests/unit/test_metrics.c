/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of histograms, of the OpenMetrics text, and of the table of who asks for what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants those before it */
#include <cmocka.h>
#include <glib.h>
#include <jansson.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/open_metrics.h"
#include "fixture.h"
#include "json_text.h"
#include "status/activity.h"

static uint64_t bucket(const struct histogram *histogram, size_t number)
{
    return atomic_load(&histogram->buckets[number]);
}

static void bounds_are_inclusive(void **state)
{
    struct histogram histogram = {0};

    (void)state;
    histogram_note(&histogram, &histogram_sizes, 0);
    histogram_note(&histogram, &histogram_sizes, 1);
    histogram_note(&histogram, &histogram_sizes, 2);
    histogram_note(&histogram, &histogram_sizes, 3);
    histogram_note(&histogram, &histogram_sizes, 1024);
    histogram_note(&histogram, &histogram_sizes, 1025);
    histogram_note(&histogram, &histogram_sizes, UINT64_MAX / 2);
    assert_int_equal(bucket(&histogram, 0), 2);
    assert_int_equal(bucket(&histogram, 1), 1);
    assert_int_equal(bucket(&histogram, 2), 1);
    assert_int_equal(bucket(&histogram, histogram_sizes.count - 1), 1);
    assert_int_equal(bucket(&histogram, histogram_sizes.count), 2);
}

static void bounds_ascend(void **state)
{
    const struct histogram_form *forms[] = {&histogram_sizes, &histogram_durations};

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        assert_true(forms[i]->count <= HISTOGRAM_BOUNDS_MAX);
        for (size_t j = 1; j < forms[i]->count; j++)
            assert_true(forms[i]->bounds[j - 1] < forms[i]->bounds[j]);
    }
}

static void text_is_open_metrics(void **state)
{
    struct open_metrics metrics = {.text = g_string_new(NULL)};
    struct histogram histogram = {0};
    static const struct histogram_form form = {
        .count = 2, .bounds = {500000000, 5000000000}, .unit = 1000000000};

    (void)state;
    histogram_note(&histogram, &form, 100000000);
    histogram_note(&histogram, &form, 7000000000);
    open_metrics_family(&metrics, "a_seconds", OPEN_METRICS_HISTOGRAM, "seconds", "Help.");
    open_metrics_histogram(&metrics, "of", "x", &histogram, &form);
    open_metrics_family(&metrics, "b", OPEN_METRICS_COUNTER, NULL, "Help.");
    open_metrics_counter(&metrics, "name", "a\"b\\c\nd\xff", 3);
    open_metrics_family(&metrics, "c", OPEN_METRICS_GAUGE, NULL, "Help.");
    open_metrics_gauge(&metrics, NULL, NULL, UINT64_MAX);
    open_metrics_family(&metrics, "d", OPEN_METRICS_INFO, NULL, "Help.");
    open_metrics_info(&metrics, "version", "1");
    open_metrics_end(&metrics);
    assert_string_equal(metrics.text->str, "# TYPE a_seconds histogram\n"
                                           "# UNIT a_seconds seconds\n"
                                           "# HELP a_seconds Help.\n"
                                           "a_seconds_bucket{of=\"x\",le=\"0.5\"} 1\n"
                                           "a_seconds_bucket{of=\"x\",le=\"5.0\"} 1\n"
                                           "a_seconds_bucket{of=\"x\",le=\"+Inf\"} 2\n"
                                           "a_seconds_sum{of=\"x\"} 7.1\n"
                                           "a_seconds_count{of=\"x\"} 2\n"
                                           "# TYPE b counter\n"
                                           "# HELP b Help.\n"
                                           "b_total{name=\"a\\\"b\\\\c\\nd\xef\xbf\xbd\"} 3\n"
                                           "# TYPE c gauge\n"
                                           "# HELP c Help.\n"
                                           "c 18446744073709551615\n"
                                           "# TYPE d info\n"
                                           "# HELP d Help.\n"
                                           "d_info{version=\"1\"} 1\n"
                                           "# EOF\n");
    g_string_free(metrics.text, TRUE);
}

/* --- Activity --- */

static json_t *take(struct activity *activity)
{
    return json_of_text(activity_take(activity));
}

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void activity_counts_while_watched(void **state)
{
    struct manual_clock clock;
    manual_clock_init(&clock, 1000, 0);
    struct activity *activity = activity_new(&clock.source);
    static const char operation[] = "write";

    (void)state;
    assert_false(activity_is_watched(activity));
    json_t *first = take(activity);
    assert_int_equal(number_of(first, "milliseconds"), 0);
    json_decref(first);
    assert_true(activity_is_watched(activity));
    activity_note(activity, operation, "a\xff", 0);
    activity_note(activity, operation, "a\xff", 0);
    activity_note(activity, operation, "b", 0);
    clock.milliseconds += 500;
    json_t *second = take(activity);
    assert_int_equal(number_of(second, "milliseconds"), 500);
    assert_int_equal(json_array_size(json_object_get(second, "rows")), 2);
    json_decref(second);
    activity_note(activity, operation, "c", 0);
    clock.milliseconds += 10000;
    assert_false(activity_is_watched(activity));
    json_t *third = take(activity);
    assert_int_equal(number_of(third, "milliseconds"), 0);
    assert_int_equal(json_array_size(json_object_get(third, "rows")), 0);
    json_decref(third);
    activity_free(activity);
}

static void activity_is_bounded(void **state)
{
    struct manual_clock clock;
    manual_clock_init(&clock, 1000, 0);
    struct activity *activity = activity_new(&clock.source);
    g_autofree char *path = g_strnfill(5000, '\xff');

    (void)state;
    json_decref(take(activity));
    path[0] = '\n';
    for (int pid = 0; pid < 3000; pid++)
        activity_note(activity, "write", path, -pid);
    struct buffer *text = activity_take(activity);
    assert_true(text->capacity < 1000000);
    json_t *told = json_of_text(text);
    json_t *rows = json_object_get(told, "rows");
    assert_int_equal(json_array_size(rows) + (size_t)number_of(told, "more"), 3000);
    assert_int_equal(json_array_size(rows), 1000);
    json_t *shown = json_object_get(json_array_get(rows, 0), "path");
    assert_int_equal(json_string_length(shown), 1 + 249 * 3);
    assert_int_equal(json_string_value(shown)[0], '?');
    json_decref(told);
    activity_free(activity);
}

static json_t *holder_without_descriptors(struct activity *activity, const char *path)
{
    struct rlimit before;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    json_t *holder = activity_lock_holder(activity, path);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    return holder;
}

/* Of one that cannot be asked about nothing is told: somebody might take its lock away. */
static void activity_tells_who_has_a_lock(void **state)
{
    struct manual_clock clock;
    manual_clock_init(&clock, 1000, 0);
    struct activity *activity = activity_new(&clock.source);

    (void)state;
    activity_note_lock(activity, "priv/lock/a", getpid());
    json_t *holder = activity_lock_holder(activity, "priv/lock/a");
    assert_int_equal(number_of(holder, "pid"), getpid());
    assert_true(json_is_true(json_object_get(holder, "alive")));
    json_decref(holder);
    assert_true(json_is_null(holder_without_descriptors(activity, "priv/lock/a")));
    assert_true(json_is_null(activity_lock_holder(activity, "priv/lock/b")));
    activity_free(activity);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_inclusive), cmocka_unit_test(bounds_ascend),
        cmocka_unit_test(text_is_open_metrics), cmocka_unit_test(activity_counts_while_watched),
        cmocka_unit_test(activity_is_bounded),  cmocka_unit_test(activity_tells_who_has_a_lock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
