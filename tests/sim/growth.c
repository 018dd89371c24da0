/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How messages, bytes, time and memory grow with the number of nodes and of entries, and that none
 * of them grows faster than both together. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "replica/internal.h"
#include "sim.h"

#define CHANGES 50 /* that a node misses; each makes and writes a file */

/* Beside its index a member sends its cluster log, and its values. */
#define MEMBER_BYTES 140e3
/* More than an entry of the simulator needs in an update. */
#define ENTRY_BYTES 400.0
#define CHANGE_BYTES 1024.0
#define CHECKSUM_BYTES 256.0
/* For each member its state and whatever follows from it, in both groups. */
#define MEMBER_MESSAGES 4.0

/* Time may grow so many times as fast: caches are smaller than large trees, and processors are not
 * ours alone. */
#define SLACK 6.0
#define SECONDS_LEAST 0.002

#define ENTRY_MEMORY 1000.0
#define MEMORY_LEAST 16e6

/* Bytes a second on a network of 1 Gbit/s. */
#define NETWORK_RATE 125e6

enum stage {
    STAGE_START,
    STAGE_LEAVE,
    STAGE_CHANGES,
    STAGE_RETURN,
    STAGE_NEW,
    STAGE_VERIFY,
    STAGES
};

static const char *const stage_names[STAGES] = {
    [STAGE_START] = "all start at once",    [STAGE_LEAVE] = "one leaves",
    [STAGE_CHANGES] = "100 changes",        [STAGE_RETURN] = "it comes back to them",
    [STAGE_NEW] = "one comes with nothing", [STAGE_VERIFY] = "verification",
};

/* What one stage costs. */
struct cost {
    double messages;
    double bytes;
    double joiner;  /* seconds of a processor, of the last node */
    double busiest; /* the same, of that of the others that had most to do */
    double longest; /* seconds that one of these was busy without a look at the next message */
    double memory;  /* bytes, of all nodes: at most, beyond what was there before */
};

/* One cluster. */
struct growth {
    struct sim *sim;
    double *seconds; /* by node: so far in this stage */
    uint32_t batch;  /* so many events are taken at once */
    double longest;
    double memory; /* now at most */
    struct cost costs[STAGES];
};

/* What a parent and its children share. */
struct result {
    uint32_t nodes;
    uint32_t entries;
    struct cost costs[STAGES];
};

static double processor_seconds(void)
{
    struct timespec time;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double memory_now(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file && fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static struct node *node_at(const struct growth *growth, uint32_t position)
{
    return growth->sim->nodes->pdata[position];
}

/* All that is under way for one node; true: there was something. */
static bool work(struct growth *growth, uint32_t position)
{
    struct node *node = node_at(growth, position);
    bool last = position + 1 == growth->sim->nodes->len;
    bool any = false;

    while (network_receive(node))
        any = true;
    for (int i = 0; i < GROUPS; i++) {
        any = network_send(&node->seats[i]) || any;
        double start = processor_seconds();
        while (node_work(&node->seats[i], growth->batch)) {
            double end = processor_seconds();
            growth->seconds[position] += end - start;
            if (!last)
                growth->longest = MAX(growth->longest, end - start);
            start = end;
            any = true;
        }
        any = node_manage(&node->seats[i]) || any;
    }
    return any;
}

/* All that is under way, with an eye on who does what. */
static void drain(struct growth *growth)
{
    bool any = true;

    while (any) {
        any = false;
        for (uint32_t i = 0; i < growth->sim->nodes->len; i++)
            any = work(growth, i) || any;
        growth->memory = MAX(growth->memory, memory_now());
    }
}

/* All join before any says anything. */
static void start_together(struct growth *growth)
{
    bool any = true;

    sim_add_nodes(growth->sim);
    while (any) {
        any = false;
        for (uint32_t i = 0; i < growth->sim->nodes->len; i++) {
            struct node *node = node_at(growth, i);
            for (int j = 0; j < GROUPS; j++)
                any = node_manage(&node->seats[j]) || any;
            while (network_receive(node))
                any = true;
        }
    }
}

static void begin(struct growth *growth)
{
    for (uint32_t i = 0; i < growth->sim->nodes->len; i++)
        growth->seconds[i] = 0;
    growth->longest = 0;
    growth->memory = 0;
}

static void measure(struct growth *growth, enum stage stage)
{
    struct cost *cost = &growth->costs[stage];
    struct statistics before = growth->sim->statistics;
    double memory = memory_now();
    uint32_t last = growth->sim->nodes->len - 1;

    drain(growth);
    sim_rest(growth->sim); /* all are in sync, or it fails */
    *cost = (struct cost){
        .messages = (double)(growth->sim->statistics.messages - before.messages),
        .bytes = (double)(growth->sim->statistics.bytes - before.bytes),
        .joiner = growth->seconds[last],
        .longest = growth->longest,
        .memory = MAX(growth->memory - memory, 0),
    };
    for (uint32_t i = 0; i < last; i++)
        cost->busiest = MAX(cost->busiest, growth->seconds[i]);
}

static void run_stages(struct growth *growth)
{
    start_together(growth);
    struct node *last = node_at(growth, growth->sim->nodes->len - 1);
    begin(growth);
    growth->batch = UINT32_MAX; /* as they wait for a daemon that has just started */
    measure(growth, STAGE_START);
    growth->batch = 1;
    begin(growth);
    last->component = 1;
    network_reform(growth->sim);
    measure(growth, STAGE_LEAVE);
    begin(growth);
    for (uint32_t i = 0; i < CHANGES; i++)
        client_write(node_at(growth, 0));
    measure(growth, STAGE_CHANGES);
    begin(growth);
    last->component = 0;
    network_reform(growth->sim);
    measure(growth, STAGE_RETURN);
    node_stop(last);
    drain(growth);
    database_give(last, true);
    last->past = NULL; /* what it had is gone on purpose */
    begin(growth);
    node_start(last);
    measure(growth, STAGE_NEW);
    begin(growth);
    replica_post(node_at(growth, 0)->replica, event_new(EVENT_VERIFY));
    replica_run(node_at(growth, 0)->replica);
    measure(growth, STAGE_VERIFY);
}

static void G_GNUC_NORETURN measure_cluster(struct result *result)
{
    struct growth growth = {.sim = sim_new(1, false)};

    growth.sim->plan = (struct plan){
        .nodes = result->nodes, .entries = result->entries, .together = true, .unchecked = true};
    growth.seconds = g_new0(double, result->nodes);
    run_stages(&growth);
    for (int i = 0; i < STAGES; i++)
        result->costs[i] = growth.costs[i];
    fflush(stdout);
    _exit(0);
}

static void print_result(const struct result *result)
{
    for (int i = 0; i < STAGES; i++) {
        const struct cost *cost = &result->costs[i];
        printf("%5u %8u  %-22s %8.0f %10.3f %9.3f %9.1f %9.1f %9.1f %9.1f\n", result->nodes,
               result->entries, stage_names[i], cost->messages, cost->bytes / 1e6,
               cost->bytes / NETWORK_RATE, cost->joiner * 1e3, cost->busiest * 1e3,
               cost->longest * 1e3, cost->memory / 1e6);
    }
    fflush(stdout);
}

/* ---- What must hold ---- */

static bool at_most(const struct result *result, int stage, const char *what, double found,
                    double most)
{
    if (found <= most)
        return true;
    printf("%u nodes, %u entries, %s: %s %g, more than %g\n", result->nodes, result->entries,
           stage_names[stage], what, found, most);
    return false;
}

/* What is sent: each member's index once, what the joiner lacks once, and little more. */
static bool check_sent(const struct result *result)
{
    double members = result->nodes;
    /* The entries, those of directories and of the changes, 40 bytes for each. */
    double entries = result->entries * 1.01 + 100;
    double indexes = members * (entries * 40 + MEMBER_BYTES);
    const double bytes[STAGES] = {
        [STAGE_START] = indexes,
        [STAGE_LEAVE] = indexes,
        [STAGE_CHANGES] = 2 * CHANGES * CHANGE_BYTES,
        [STAGE_RETURN] = indexes + CHANGES * CHANGE_BYTES,
        [STAGE_NEW] = indexes + entries * ENTRY_BYTES,
        [STAGE_VERIFY] = members * CHECKSUM_BYTES,
    };
    const double messages[STAGES] = {
        [STAGE_START] = members * MEMBER_MESSAGES * 2, /* their values, too */
        [STAGE_LEAVE] = members * MEMBER_MESSAGES,
        [STAGE_CHANGES] = 2 * CHANGES,
        [STAGE_RETURN] = members * MEMBER_MESSAGES + 2 * CHANGES,
        [STAGE_NEW] = members * MEMBER_MESSAGES + entries,
        [STAGE_VERIFY] = members * 2,
    };
    bool good = true;

    for (int i = 0; i < STAGES; i++) {
        good = at_most(result, i, "bytes", result->costs[i].bytes, bytes[i]) && good;
        good = at_most(result, i, "messages", result->costs[i].messages, messages[i]) && good;
    }
    return good;
}

/* Memory against what is sent; time against that of the smallest cluster. */
static bool check_growth(const struct result *result, const struct result *least)
{
    double growth =
        (double)result->nodes * result->entries / ((double)least->nodes * least->entries);
    bool good = true;

    for (int i = 0; i < STAGES; i++) {
        const struct cost *cost = &result->costs[i];
        double busiest = MAX(least->costs[i].busiest, SECONDS_LEAST) * growth * SLACK;
        /* The joiner's tree, and messages and what is read from them. */
        double memory = 3 * cost->bytes + result->entries * ENTRY_MEMORY + MEMORY_LEAST;
        good = at_most(result, i, "seconds of one in sync", cost->busiest, busiest) && good;
        good = at_most(result, i, "bytes of memory", cost->memory, memory) && good;
        /* The change of one file costs the same in any tree. */
        if (i == STAGE_CHANGES)
            good =
                at_most(result, i, "seconds at once", cost->longest, SECONDS_LEAST * SLACK * 10) &&
                good;
    }
    return good;
}

static bool run_one(struct result *result)
{
    int status = 0;

    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        measure_cluster(result);
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return false;
    if (WIFSIGNALED(status))
        printf("%u nodes, %u entries: ended by signal %d\n", result->nodes, result->entries,
               WTERMSIG(status));
    return status == 0;
}

/* The first of the sizes is what the others are compared with. */
static int run_sizes(const uint32_t (*sizes)[2], guint count)
{
    struct result *results = mmap(NULL, sizeof(*results) * count, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool good = results != MAP_FAILED;

    g_setenv("SIM_BRIEF", "1", TRUE);
    printf("nodes  entries  what                   messages         MB  s at 1Gb  ms of it    "
           "others   at once  MB memory\n");
    for (guint i = 0; i < count && good; i++) {
        results[i].nodes = sizes[i][0];
        results[i].entries = sizes[i][1];
        good = run_one(&results[i]);
        if (good)
            print_result(&results[i]);
        good = good && check_sent(&results[i]) && check_growth(&results[i], &results[0]);
    }
    return good ? 0 : 1;
}

int growth_run(bool brief)
{
    static const uint32_t large[][2] = {{3, 1000},   {8, 1000},    {16, 1000},   {32, 1000},
                                        {64, 1000},  {3, 10000},   {3, 50000},   {3, 200000},
                                        {16, 50000}, {16, 200000}, {32, 200000}, {64, 200000}};
    static const uint32_t small[][2] = {{3, 1000}, {12, 1000}, {3, 10000}, {12, 10000}};

    return brief ? run_sizes(small, G_N_ELEMENTS(small)) : run_sizes(large, G_N_ELEMENTS(large));
}

int growth_run_one(uint32_t nodes, uint32_t entries)
{
    const uint32_t sizes[][2] = {{3, 1000}, {nodes, entries}};

    return run_sizes(sizes, G_N_ELEMENTS(sizes));
}
