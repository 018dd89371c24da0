/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What only a person at a terminal gets to see: colours and progress bars. */
#include "ctl/terminal.h"

#include <string.h>
#include <unistd.h>

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

    g_mutex_lock(&progress->lock);
    while (!progress->stop) {
        int64_t now = g_get_monotonic_time();
        bool due = now - progress->started >= PATIENCE;
        if (due)
            draw(progress, now);
        g_cond_wait_until(&progress->changed, &progress->lock,
                          due ? now + REFRESH : progress->started + PATIENCE);
    }
    g_mutex_unlock(&progress->lock);
    return NULL;
}

void progress_start(struct progress *progress, const char *what)
{
    *progress = (struct progress){.what = what, .started = g_get_monotonic_time()};
    if (!isatty(STDERR_FILENO))
        return;
    g_mutex_init(&progress->lock);
    g_cond_init(&progress->changed);
    progress->thread = g_thread_new("progress", show, progress);
}

void progress_step(struct progress *progress, uint64_t done, uint64_t total)
{
    if (!progress->thread)
        return;
    g_mutex_lock(&progress->lock);
    progress->done = done;
    progress->total = total;
    g_mutex_unlock(&progress->lock);
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
    g_mutex_lock(&progress->lock);
    clear(progress);
    progress->started = g_get_monotonic_time();
    g_mutex_unlock(&progress->lock);
}

void progress_end(struct progress *progress)
{
    if (!progress->thread)
        return;
    g_mutex_lock(&progress->lock);
    clear(progress);
    progress->stop = true;
    g_cond_signal(&progress->changed);
    g_mutex_unlock(&progress->lock);
    g_thread_join(g_steal_pointer(&progress->thread));
    g_mutex_clear(&progress->lock);
    g_cond_clear(&progress->changed);
}
