/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What only a person at a terminal gets to see: colours and progress bars. */
#include "ctl/terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/thread.h"

#define PATIENCE (1 * G_USEC_PER_SEC)
#define REFRESH (G_USEC_PER_SEC / 10)
#define BAR_WIDTH 40

static bool has_colours(FILE *file)
{
    const char *no_colour = g_getenv("NO_COLOR");
    const char *terminal = g_getenv("TERM");

    return isatty(fileno(file)) && !(no_colour && *no_colour) && terminal &&
           strcmp(terminal, "dumb") != 0;
}

const char *colour_begin(FILE *file, enum colour colour)
{
    static const char *const codes[] = {
        [COLOUR_RED] = "\033[31m",
        [COLOUR_GREEN] = "\033[32m",
        [COLOUR_YELLOW] = "\033[33m",
        [COLOUR_BOLD] = "\033[1m",
    };

    return has_colours(file) ? codes[colour] : "";
}

const char *colour_end(FILE *file)
{
    return has_colours(file) ? "\033[0m" : "";
}

/* Reads keys until `end` or a signal of `signals`; false: q, or no terminal any more. */
static bool watch_keys(int signals, int64_t end)
{
    struct pollfd watched[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                               {.fd = signals, .events = POLLIN}};
    int64_t left;

    while ((left = end - g_get_monotonic_time()) > 0) {
        char key;
        if (poll(watched, G_N_ELEMENTS(watched), (int)(left / 1000) + 1) < 0 && errno != EINTR)
            return false;
        if (watched[1].revents)
            return true;
        if (watched[0].revents && (read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q'))
            return false;
    }
    return true;
}

/* Keys come one by one, and are not shown, only while we wait for them: whatever ends the process
 * at another time finds the terminal as it was, and the signals that would end it in between wait
 * until it is so again. */
static bool pause_at_terminal(const struct termios *usual, int64_t end)
{
    struct termios keys = *usual;
    sigset_t ending;
    sigset_t before;

    sigemptyset(&ending);
    sigaddset(&ending, SIGINT);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGHUP);
    sigaddset(&ending, SIGQUIT);
    sigaddset(&ending, SIGTSTP);
    int signals = signalfd(-1, &ending, SFD_CLOEXEC);
    if (signals < 0)
        return false;
    pthread_sigmask(SIG_BLOCK, &ending, &before);
    keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    keys.c_cc[VMIN] = 1;
    keys.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &keys);
    bool go_on = watch_keys(signals, end);
    tcsetattr(STDIN_FILENO, TCSANOW, usual);
    close(signals);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return go_on;
}

bool terminal_pause(double seconds)
{
    int64_t duration = (int64_t)(seconds * G_USEC_PER_SEC);
    struct termios usual;

    if (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && tcgetpgrp(STDIN_FILENO) == getpgrp() &&
        tcgetattr(STDIN_FILENO, &usual) == 0)
        return pause_at_terminal(&usual, g_get_monotonic_time() + duration);
    g_usleep((gulong)duration);
    return true;
}

/* Holds the lock. */
static void draw(struct progress *progress, int64_t now)
{
    progress->shown = true;
    if (progress->total == 0) {
        fprintf(stderr, "\r\033[K%s: %ld s", progress->what,
                (long)((now - progress->started) / G_USEC_PER_SEC));
        return;
    }
    double part = (double)MIN(progress->done, progress->total) / (double)progress->total;
    int filled = (int)(part * BAR_WIDTH);
    fprintf(stderr, "\r\033[K[%.*s%*s] %3d %% %s", filled,
            "########################################", BAR_WIDTH - filled, "", (int)(part * 100),
            progress->what);
}

static gpointer show(gpointer pointer)
{
    struct progress *progress = pointer;

    lock_take(&progress->lock);
    while (!progress->stop) {
        int64_t now = g_get_monotonic_time();
        bool due = now - progress->started >= PATIENCE;
        if (due)
            draw(progress, now);
        int64_t until = due ? now + REFRESH : progress->started + PATIENCE;
        lock_wait_until(&progress->lock, &progress->changed, until);
    }
    lock_give(&progress->lock);
    return NULL;
}

void progress_start(struct progress *progress, const char *what)
{
    *progress = (struct progress){.what = what, .started = g_get_monotonic_time()};
    if (!isatty(STDERR_FILENO))
        return;
    lock_init(&progress->lock, LOCK_RANK_PROGRESS);
    thread_condition_init(&progress->changed);
    progress->thread = g_thread_new("progress", show, progress);
}

void progress_step(struct progress *progress, uint64_t done, uint64_t total)
{
    if (!progress->thread)
        return;
    lock_take(&progress->lock);
    progress->done = done;
    progress->total = total;
    lock_give(&progress->lock);
}

/* Holds the lock. */
static void clear(struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
}

void progress_hide(struct progress *progress)
{
    if (!progress->thread)
        return;
    lock_take(&progress->lock);
    clear(progress);
    progress->started = g_get_monotonic_time();
    lock_give(&progress->lock);
}

void progress_end(struct progress *progress)
{
    if (!progress->thread)
        return;
    lock_take(&progress->lock);
    clear(progress);
    progress->stop = true;
    pthread_cond_signal(&progress->changed);
    lock_give(&progress->lock);
    g_thread_join(g_steal_pointer(&progress->thread));
    lock_destroy(&progress->lock);
    pthread_cond_destroy(&progress->changed);
}
