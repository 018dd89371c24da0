/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl top: who asks for what, and how often. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ctl/ask.h"
#include "ctl/terminal.h"

#define DELAY_DEFAULT 2.0
#define ROWS_DEFAULT 20

static int compare_counts(const void *a, const void *b)
{
    json_int_t first = field_number(*(json_t *const *)a, "count");
    json_int_t second = field_number(*(json_t *const *)b, "count");

    return (first < second) - (first > second);
}

/* The rows of an answer, borrowed, those with the most operations first. */
static GPtrArray *sort_rows(json_t *answer)
{
    GPtrArray *rows = g_ptr_array_new();
    size_t i;
    json_t *row;

    json_array_foreach(json_object_get(answer, "rows"), i, row) g_ptr_array_add(rows, row);
    if (rows->len > 1)
        qsort(rows->pdata, rows->len, sizeof(gpointer), compare_counts);
    return rows;
}

static double rate_of(json_t *answer, json_int_t count)
{
    json_int_t milliseconds = field_number(answer, "milliseconds");

    return (double)count * 1000.0 / (double)MAX(milliseconds, 1);
}

static void print_table(json_t *answer, guint most)
{
    g_autoptr(GPtrArray) rows = sort_rows(answer);
    json_int_t all = field_number(answer, "more");

    for (guint i = 0; i < rows->len; i++)
        all += field_number(rows->pdata[i], "count");
    printf("%.1f operations a second; what the kernel answers itself is not among them\n\n",
           rate_of(answer, all));
    printf("%s%9s  %-12s %8s  %-16s %s%s\n", colour_begin(stdout, COLOUR_BOLD), "A SECOND",
           "OPERATION", "PID", "COMMAND", "PATH", colour_end(stdout));
    for (guint i = 0; i < MIN(rows->len, most); i++) {
        json_t *row = rows->pdata[i];
        g_autofree char *command = field_printable(row, "command");
        g_autofree char *path = field_printable(row, "path");
        g_autofree char *operation = field_printable(row, "operation");
        printf("%9.1f  %-12s %8lld  %-16s %s\n", rate_of(answer, field_number(row, "count")),
               operation, (long long)field_number(row, "pid"), command, path);
    }
}

static void print_answer(const struct context *context, json_t *answer, guint rows)
{
    bool terminal = isatty(STDOUT_FILENO);

    if (context->json) {
        print_json_line(answer);
        return;
    }
    fputs(terminal ? CLEAR_SCREEN : "", stdout);
    print_table(answer, rows);
    fputs(terminal ? "" : "\n", stdout);
    fflush(stdout);
}

/* The first answer only begins the counting. */
static int run(const struct context *context, double delay, guint rows, int rounds)
{
    int code;
    json_t *answer = ask(context, ASK_ACTIVITY, NULL, 0, &code);

    for (int round = 0; answer && (rounds <= 0 || round < rounds) && !ferror(stdout); round++) {
        if (!terminal_pause(delay))
            break;
        json_decref(answer);
        answer = ask(context, ASK_ACTIVITY, NULL, 0, &code);
        if (answer)
            print_answer(context, answer, rows);
    }
    json_decref(answer);
    return code;
}

int command_top(const struct context *context, int argc, char **argv)
{
    gdouble delay = DELAY_DEFAULT;
    gint rows = ROWS_DEFAULT;
    gint rounds = 0;
    const GOptionEntry entries[] = {
        {"delay", 'd', 0, G_OPTION_ARG_DOUBLE, &delay, "time between two tables (2)", "SECONDS"},
        {"rows", 'r', 0, G_OPTION_ARG_INT, &rows, "rows of a table at most (20)", "N"},
        {"count", 'n', 0, G_OPTION_ARG_INT, &rounds, "stop after so many tables", "N"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};

    if (!command_parse(&argc, &argv, entries, NULL,
                       "Show which process asks for which path how often. Root alone.\nThe daemon "
                       "counts this while somebody asks for it. At a terminal q ends it.",
                       0, 0))
        return EXIT_WRONG_USE;
    if (!(delay >= 0.1 && delay <= 9.0) || rows < 1) {
        fputs("error: the delay is 0.1 to 9 seconds, and there is at least 1 row\n", stderr);
        return EXIT_WRONG_USE;
    }
    return run(context, delay, (guint)rows, rounds);
}
