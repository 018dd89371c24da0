/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The simulator's command: many seeds, or one with its trace. */
#include <glib.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#define WORKERS_MAX 64

/* What a worker tells its parent, in memory that both see. */
struct worker {
    pid_t pid;
    uint64_t seed; /* that it is at */
    uint64_t done;
    struct statistics sum;
};

static uint64_t seed_first = 1;
static gint64 seed_count = 1000;
static gint64 one_seed = -1;
static int seconds;
static int workers = 2;
static gboolean trace;
static gboolean must_fail;
static gboolean growth;
static gboolean growth_brief;

static const GOptionEntry options[] = {
    {"first", 'f', 0, G_OPTION_ARG_INT64, &seed_first, "the first seed (1)", "SEED"},
    {"count", 'n', 0, G_OPTION_ARG_INT64, &seed_count, "how many seeds (1000)", "COUNT"},
    {"seconds", 't', 0, G_OPTION_ARG_INT, &seconds, "as many seeds as go into that time",
     "SECONDS"},
    {"seed", 's', 0, G_OPTION_ARG_INT64, &one_seed, "this seed alone", "SEED"},
    {"trace", 0, 0, G_OPTION_ARG_NONE, &trace, "show all that happens", NULL},
    {"jobs", 'j', 0, G_OPTION_ARG_INT, &workers, "processes (2)", "COUNT"},
    {"must-fail", 0, 0, G_OPTION_ARG_NONE, &must_fail,
     "success means that a seed fails: for builds with a fault in them", NULL},
    {"growth", 0, 0, G_OPTION_ARG_NONE, &growth,
     "print how messages, bytes, time and memory grow with nodes and entries; with two arguments "
     "NODES and ENTRIES, of such a cluster alone",
     NULL},
    {"growth-brief", 0, 0, G_OPTION_ARG_NONE, &growth_brief, "the same of small clusters", NULL},
    {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void add(struct statistics *sum, const struct statistics *one)
{
    const uint64_t *from = (const uint64_t *)one;
    uint64_t *to = (uint64_t *)sum;

    for (size_t i = 0; i < sizeof(*sum) / sizeof(uint64_t); i++)
        to[i] += from[i];
}

static void G_GNUC_NORETURN work(struct worker *worker, uint64_t first, double end)
{
    struct statistics statistics;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (uint64_t seed = first; seconds ? now() < end : seed < seed_first + (uint64_t)seed_count;
         seed += (uint64_t)workers) {
        worker->seed = seed;
        sim_run(seed, false, &statistics);
        add(&worker->sum, &statistics);
        worker->done++;
    }
    exit(0);
}

/* How many of them found something. */
static int wait_for(struct worker *all)
{
    int failed = 0;

    for (int left = workers; left > 0; left--) {
        int status;
        pid_t pid = wait(&status);
        const struct worker *worker = all;
        while (worker->pid != pid)
            worker++;
        if (status == 0)
            continue;
        failed++;
        if (WIFSIGNALED(status))
            printf("seed %" G_GUINT64_FORMAT ": ended by signal %d\n", worker->seed,
                   WTERMSIG(status));
        for (int i = 0; i < workers && must_fail; i++) {
            if (all[i].pid != pid)
                kill(all[i].pid, SIGTERM);
        }
    }
    return failed;
}

static void report(const struct worker *all, double time)
{
    struct statistics sum = {0};
    uint64_t done = 0;

    for (int i = 0; i < workers; i++) {
        add(&sum, &all[i].sum);
        done += all[i].done;
    }
    printf("%" G_GUINT64_FORMAT " seeds from %" G_GUINT64_FORMAT " in %.1f s: %.0f a minute\n",
           done, seed_first, time, (double)done * 60 / time);
    printf("steps %" G_GUINT64_FORMAT ", changes %" G_GUINT64_FORMAT
           " (acknowledged %" G_GUINT64_FORMAT ", refused %" G_GUINT64_FORMAT
           "), configurations %" G_GUINT64_FORMAT ", nodes brought up to date %" G_GUINT64_FORMAT
           ", crashes %" G_GUINT64_FORMAT ", departures %" G_GUINT64_FORMAT
           ", messages %" G_GUINT64_FORMAT ", split %" G_GUINT64_FORMAT
           ", behind lost ones %" G_GUINT64_FORMAT ", values and log entries %" G_GUINT64_FORMAT
           ", acknowledged and lawfully lost %" G_GUINT64_FORMAT
           ", entries in safety copies %" G_GUINT64_FORMAT ", folds of journals %" G_GUINT64_FORMAT
           ", changes brought in from them %" G_GUINT64_FORMAT "\n",
           sum.steps, sum.changes, sum.acknowledged, sum.refused, sum.rings, sum.commits,
           sum.crashes, sum.departures, sum.messages, sum.splits, sum.holes, sum.told, sum.lost,
           sum.kept, sum.folds, sum.replayed);
}

static int run_many(void)
{
    struct worker *all = mmap(NULL, sizeof(*all) * WORKERS_MAX, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double start = now();

    if (all == MAP_FAILED)
        return 1;
    for (int i = 0; i < workers; i++) {
        pid_t pid = fork();
        if (pid == 0)
            work(&all[i], seed_first + (uint64_t)i, start + seconds);
        all[i].pid = pid;
    }
    int failed = wait_for(all);
    report(all, now() - start);
    if (must_fail && !failed)
        printf("the fault was not found\n");
    return (failed > 0) == must_fail ? 0 : 1;
}

int main(int argc, char **argv)
{
    g_autoptr(GOptionContext) context =
        g_option_context_new("- whole clusters in one process, with everything that can go wrong");
    g_autoptr(GError) error = NULL;
    struct statistics statistics;

    /* What a seed freed stays here for the next one: fresh pages would be a third of the time. */
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TOP_PAD, 4 << 20);
    g_option_context_add_main_entries(context, options, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || workers < 1 ||
        workers > WORKERS_MAX) {
        fprintf(stderr, "%s\n", error ? error->message : "too many jobs");
        return 2;
    }
    if (growth && argc == 3)
        return growth_run_one((uint32_t)strtoul(argv[1], NULL, 10),
                              (uint32_t)strtoul(argv[2], NULL, 10));
    if (growth || growth_brief)
        return growth_run(!growth);
    if (must_fail)
        g_setenv("SIM_BRIEF", "1", TRUE);
    if (one_seed < 0)
        return run_many();
    sim_run((uint64_t)one_seed, trace, &statistics);
    printf("seed %" G_GINT64_FORMAT ": nothing found\n", one_seed);
    return 0;
}
