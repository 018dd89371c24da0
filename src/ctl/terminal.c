/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What only a person at a terminal gets to see: colours and progress bars. */
#include "ctl/terminal.h"

#include <glib.h>
#include <stdbool.h>
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

void progress_start(struct progress *progress, const char *what)
{
    *progress = (struct progress){.what = what, .started = g_get_monotonic_time()};
}

void progress_step(struct progress *progress, uint64_t done, uint64_t total)
{
    int64_t now = g_get_monotonic_time();

    if (now - progress->started < PATIENCE || now - progress->shown < REFRESH ||
        !isatty(STDERR_FILENO))
        return;
    progress->shown = now;
    if (total == 0) {
        fprintf(stderr, "\r\033[K%s: %ld s", progress->what,
                (long)((now - progress->started) / G_USEC_PER_SEC));
        return;
    }
    double part = (double)MIN(done, total) / (double)total;
    int filled = (int)(part * BAR_WIDTH);
    fprintf(stderr, "\r\033[K[%.*s%*s] %3d %% %s", filled,
            "########################################", BAR_WIDTH - filled, "", (int)(part * 100),
            progress->what);
}

void progress_end(struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = 0;
}
