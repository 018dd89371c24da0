/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Colours and progress bars: on terminals, and nowhere else. */
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctl/terminal.h"

/* What stderr is connected to during a test. */
struct screen {
    int ours;   /* where it can be read */
    int stderr; /* the real one */
};

static void connect_stderr(struct screen *screen, int file)
{
    screen->stderr = dup(STDERR_FILENO);
    assert_true(dup2(file, STDERR_FILENO) >= 0);
    close(file);
}

static int start_terminal(void **state)
{
    struct screen *screen = g_new0(struct screen, 1);
    int file;

    assert_int_equal(openpty(&screen->ours, &file, NULL, NULL, NULL), 0);
    connect_stderr(screen, file);
    *state = screen;
    return 0;
}

static int start_pipe(void **state)
{
    struct screen *screen = g_new0(struct screen, 1);
    int files[2];

    assert_int_equal(pipe(files), 0);
    screen->ours = files[0];
    connect_stderr(screen, files[1]);
    *state = screen;
    return 0;
}

static int stop(void **state)
{
    struct screen *screen = *state;

    assert_true(dup2(screen->stderr, STDERR_FILENO) >= 0);
    close(screen->stderr);
    close(screen->ours);
    g_free(screen);
    return 0;
}

/* Reads until the words are there. */
static void wait_for(const struct screen *screen, const char *words)
{
    GString *text = g_string_new(NULL);
    char buffer[256];

    while (!strstr(text->str, words)) {
        ssize_t got = read(screen->ours, buffer, sizeof(buffer));
        assert_true(got > 0);
        g_string_append_len(text, buffer, got);
    }
    g_string_free(text, TRUE);
}

/* All that was written, and then "end". */
static char *read_all(const struct screen *screen)
{
    GString *text = g_string_new(NULL);
    char buffer[256];

    fputs("end", stderr);
    while (!g_str_has_suffix(text->str, "end")) {
        ssize_t got = read(screen->ours, buffer, sizeof(buffer));
        assert_true(got > 0);
        g_string_append_len(text, buffer, got);
    }
    return g_string_free(text, FALSE);
}

/* The line comes by itself, tells how far it is, and goes away. */
static void test_progress(void **state)
{
    const struct screen *screen = *state;
    struct progress progress;

    progress_start(&progress, "copying");
    wait_for(screen, "copying: 1 s");
    progress_step(&progress, 50, 200);
    wait_for(screen, "[##########                              ]  25 % copying");
    progress_step(&progress, 300, 200);
    wait_for(screen, "100 % copying");
    progress_hide(&progress);
    wait_for(screen, "\r\033[K");
    wait_for(screen, "100 % copying");
    progress_end(&progress);
    g_autofree char *text = read_all(screen);
    assert_true(g_str_has_suffix(text, "\r\033[Kend"));
    progress_end(&progress);
}

static void test_nothing_in_a_pipe(void **state)
{
    const struct screen *screen = *state;
    struct progress progress;

    progress_start(&progress, "copying");
    progress.started -= 5 * G_USEC_PER_SEC;
    progress_step(&progress, 1, 2);
    progress_hide(&progress);
    progress_end(&progress);
    g_autofree char *text = read_all(screen);
    assert_string_equal(text, "end");
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    assert_string_equal(colour_begin(stderr, COLOUR_RED), "");
    assert_string_equal(colour_end(stderr), "");
}

static void test_colours(void **state)
{
    (void)state;
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    assert_string_equal(colour_begin(stderr, COLOUR_RED), "\033[31m");
    assert_string_equal(colour_end(stderr), "\033[0m");
    setenv("NO_COLOR", "", 1);
    assert_string_equal(colour_begin(stderr, COLOUR_RED), "\033[31m");
    setenv("NO_COLOR", "1", 1);
    assert_string_equal(colour_begin(stderr, COLOUR_RED), "");
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    assert_string_equal(colour_end(stderr), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_progress, start_terminal, stop),
        cmocka_unit_test_setup_teardown(test_nothing_in_a_pipe, start_pipe, stop),
        cmocka_unit_test_setup_teardown(test_colours, start_terminal, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
