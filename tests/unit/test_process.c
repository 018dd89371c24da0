/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What /proc tells of other threads, also when there is no descriptor left to ask. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/process.h"

static pid_t start_child(void)
{
    pid_t child = fork();

    assert_true(child >= 0);
    if (child > 0)
        return child;
    for (;;)
        pause();
}

static void end_child(pid_t child)
{
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_dying(void **state)
{
    pid_t child = start_child();

    (void)state;
    bool dying = process_is_dying(child);
    end_child(child);
    assert_false(dying);
    assert_true(process_is_dying(child));
}

/* Who cannot be asked about lives: its change is not to be taken back. */
static void test_no_descriptors(void **state)
{
    pid_t child = start_child();
    struct rlimit before;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    bool dying = process_is_dying(child);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    end_child(child);
    assert_false(dying);
}

static void test_start_ticks(void **state)
{
    pid_t child = start_child();
    struct rlimit before;

    (void)state;
    uint64_t ticks = process_start_ticks(child);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint64_t unknown = process_start_ticks(child);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    end_child(child);
    assert_true(ticks > 0 && ticks != TICKS_UNKNOWN);
    assert_true(ticks >= process_start_ticks(getpid()));
    assert_true(unknown == TICKS_UNKNOWN);
    assert_int_equal(process_start_ticks(child), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dying),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_start_ticks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
