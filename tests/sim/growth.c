/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How messages, bytes, time and memory grow with the number of nodes and of entries. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim.h"

#define CHANGES 50 /* that a node misses; each makes and writes a file */

static double processor_seconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* In MiB. */
static double memory_now(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file && fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1048576;
}

static double memory_peak(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static void print_row(const struct sim *sim, const char *what, const struct statistics *before,
                      double time, double memory)
{
    uint32_t nodes = sim->plan.nodes;

    printf("%5u %8u  %-22s %9" G_GUINT64_FORMAT " %9.2f %11.1f %11.1f\n", nodes, sim->plan.entries,
           what, sim->statistics.messages - before->messages,
           (double)(sim->statistics.bytes - before->bytes) / 1048576, time * 1000 / nodes,
           memory / nodes);
    fflush(stdout);
}

/* One cluster: all start; one is cut off, misses some changes, and comes back. */
static void G_GNUC_NORETURN measure(uint32_t nodes, uint32_t entries)
{
    struct sim *sim = sim_new(1, false);

    sim->plan =
        (struct plan){.nodes = nodes, .entries = entries, .together = true, .unchecked = true};
    double memory = memory_now();
    struct statistics before = sim->statistics;
    sim_add_nodes(sim);
    double loaded = memory_now() - memory;
    double start = processor_seconds();
    sim_rest(sim);
    print_row(sim, "all start", &before, processor_seconds() - start, loaded);
    struct node *last = sim->nodes->pdata[nodes - 1];
    last->component = 1;
    network_reform(sim);
    sim_rest(sim);
    before = sim->statistics;
    start = processor_seconds();
    for (uint32_t i = 0; i < CHANGES; i++)
        client_write(sim->nodes->pdata[0]);
    sim_rest(sim);
    print_row(sim, "100 changes", &before, processor_seconds() - start, memory_now() - memory);
    last->component = 0;
    network_reform(sim);
    before = sim->statistics;
    start = processor_seconds();
    sim_rest(sim);
    print_row(sim, "one comes back to them", &before, processor_seconds() - start,
              memory_peak() - memory);
    _exit(0);
}

int growth_run(void)
{
    static const uint32_t sizes[][2] = {{3, 1000},   {8, 1000},   {16, 1000}, {32, 1000},
                                        {64, 1000},  {100, 1000}, {3, 10000}, {3, 50000},
                                        {3, 200000}, {16, 50000}};
    int status = 0;

    printf(
        "nodes  entries  what                    messages       MiB  ms per node MiB per node\n");
    for (guint i = 0; i < G_N_ELEMENTS(sizes) && status == 0; i++) {
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            measure(sizes[i][0], sizes[i][1]);
        waitpid(pid, &status, 0);
    }
    return status == 0 ? 0 : 1;
}
