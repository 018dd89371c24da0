/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Times as people write them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "ctl/history_time.h"

#define NOW 1795372910 /* 2026-11-22 18:41:50 UTC */

static void test_times(void **state)
{
    static const struct {
        const char *text;
        int64_t time;
    } cases[] = {
        {"now", NOW},
        {"today", NOW - (18 * 3600 + 41 * 60 + 50)},
        {"yesterday", NOW - (18 * 3600 + 41 * 60 + 50) - 86400},
        {"90s", NOW - 90},
        {"30m", NOW - 1800},
        {"2h", NOW - 7200},
        {"3d", NOW - 3 * 86400},
        {"1w", NOW - 7 * 86400},
        {"18:40", NOW - 110},
        {"18:41", NOW - 50},
        {"18:42", NOW + 10 - 86400},
        {"23:00", NOW - (19 * 3600 + 41 * 60 + 50)},
        {"2026-11-22", NOW - (18 * 3600 + 41 * 60 + 50)},
        {"2026-11-22 18:41", NOW - 50},
        {"2026-11-22T18:41:50", NOW},
        {"1970-01-01", 0},
        {"1h30m", NOW - 5400},
        {"1d12h", NOW - 36 * 3600},
        {"90min", NOW - 5400},
        {"30sec", NOW - 30},
        {"2h ago", NOW - 7200},
        {"18:41:40", NOW - 10},
        {"18:41:51", NOW + 1 - 86400},
        {"8:05", NOW - (10 * 3600 + 36 * 60 + 50)},
        {"today 00:00", NOW - (18 * 3600 + 41 * 60 + 50)},
        {"today 18:41:50", NOW},
        {"yesterday 18:41", NOW - 50 - 86400},
        {"2026-11-22T18:41:50Z", NOW},
        {"2026-11-22 18:41:50 UTC", NOW},
        {"2026-11-22T18:41Z", NOW - 50},
        {"2026-11-22T19:41:50+01:00", NOW},
        {"2026-11-22 19:41:50+0100", NOW},
        {"2026-11-22T15:11:50-03:30", NOW},
        {"2026-11-22T19:41:50+01", NOW},
        {"2026-11-22 18:41:50.999999", NOW},
        {"2026-11-22T18:41:50,5Z", NOW},
        {"Nov 22 18:41:50", NOW},
        {"Nov 22 18:41", NOW - 50},
        {"Nov 23 18:41:50", NOW + 86400 - 365 * 86400LL},
        {"Nov  2 18:41:50", NOW - 20 * 86400},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t time = -1;
        assert_int_equal(history_time_parse(cases[i].text, NOW, &time), 0);
        assert_int_equal(time, cases[i].time);
    }
}

static void test_no_times(void **state)
{
    static const char *const texts[] = {"",
                                        "h",
                                        "2",
                                        "2x",
                                        "2hh",
                                        "-2h",
                                        "tomorow",
                                        "2026-06-31",
                                        "2026-13-01",
                                        "25:00",
                                        "12:60",
                                        "1:2:3:4",
                                        "9999999999s",
                                        "999999999w",
                                        " 2h",
                                        "2h 30m",
                                        "2hago",
                                        "ago",
                                        "1h-30m",
                                        "today18:41",
                                        "yesterday 25:00",
                                        "18:41:61x",
                                        "2026-11-22Z",
                                        "2026-11-22T18:41:50+",
                                        "2026-11-22T18:41:50+15:00",
                                        "2026-11-22T18:41:50+01:00:00",
                                        "2026-11-22T18:41:50.",
                                        "2026-11-22T18:41.5",
                                        "Feb 30 12:00:00",
                                        "Nov",
                                        "2026-11-22 18:41:50 "};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int64_t time;
        assert_int_equal(history_time_parse(texts[i], NOW, &time), -EINVAL);
    }
}

/* The clock of the place: days begin there, also those on which it is set. */
static void test_local_time(void **state)
{
    int64_t time;

    (void)state;
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    assert_int_equal(history_time_parse("2026-11-22 19:41:50", NOW, &time), 0);
    assert_int_equal(time, NOW);
    assert_int_equal(history_time_parse("2026-11-22 18:41:50Z", NOW, &time), 0);
    assert_int_equal(time, NOW);
    assert_int_equal(history_time_parse("today 19:41:50", NOW, &time), 0);
    assert_int_equal(time, NOW);
    /* Sunday, 2026-10-25, which has 25 hours. */
    assert_int_equal(history_time_parse("yesterday", 1793012400, &time), 0);
    assert_int_equal(time, 1792879200);
    setenv("TZ", "UTC", 1);
    tzset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_no_times),
        cmocka_unit_test(test_local_time),
    };

    setenv("TZ", "UTC", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
