/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A disk that fails for good, under a node that others have left behind: it must not disturb them,
 * nor lose what is on it, and be in sync again when it is mended. */
#include <stdlib.h>

#include "core/apply.h"
#include "sim.h"
#include "store/safety.h"
#include "store/store.h"

#define TICK 20000u       /* milliseconds from one change of the others to the next */
#define TICKS 60u         /* twenty minutes */
#define TICKS_CALM 30u    /* of these at the end: the attempts have become few */
#define JOINS_MAX 10u     /* with pauses that double, from 12 s to 300 s: 0, 12, 36, 84 ... */
#define JOINS_CALM_MAX 3u /* in ten minutes */
#define ROUNDS_MAX 2000u
#define OLD_COPIES_MAX 13u
#define LOCAL "local"

enum illness { ILLNESS_BAD_BLOCK, ILLNESS_FAILING, ILLNESS_FULL };

struct sick {
    struct sim *sim;
    struct node *node;
    enum illness illness;
    unsigned before;     /* safety copies */
    unsigned old_before; /* of these that are old */
    unsigned starts;     /* of the process, since the disk failed */
};

/* ---- What a seed decides ---- */

void sick_plan(struct sim *sim)
{
    static const uint32_t delays[] = {500, 3000, 30000};
    struct random *luck = &sim->luck;
    struct plan *plan = &sim->plan;
    const char *all = g_getenv("SIM_SICK");

    luck->state = sim->seed * 0xd1342543de82ef95u + 1;
    if (plan->sqlite && random_chance(luck, 700))
        plan->fold_delay = delays[random_below(luck, G_N_ELEMENTS(delays))];
    plan->sick = random_chance(luck, all ? 1000 : 40);
}

void sick_hurt(struct node *node)
{
    struct random *luck = &node->sim->luck;

    disk_set_bad_block(node->disk, false);
    if (!disk_is_well(node->disk) || !random_chance(luck, 500))
        return;
    if (random_chance(luck, 500))
        disk_set_bad_block(node->disk, true);
    else /* in the middle of what it does next */
        disk_fail_at(node->disk, 1 + random_below(luck, 20));
}

/* ---- Time ---- */

static struct node *node_at(const struct sim *sim, guint position)
{
    return sim->nodes->pdata[position];
}

static void run_for(struct sim *sim, uint64_t time)
{
    uint64_t end = sim->now + time;

    for (unsigned round = 0; sim->now < end; round++) {
        if (round > ROUNDS_MAX)
            sim_fail(sim, "with a sick disk the cluster is never idle");
        if (sim_work(sim))
            continue;
        uint64_t next = end;
        for (guint i = 0; i < sim->nodes->len; i++)
            node_wait(node_at(sim, i), &next);
        sim->now = MAX(next, sim->now + 1);
    }
}

/* ---- The node that is left behind ---- */

/* As an administrator does it while the daemon is stopped: nobody else knows of it. */
static void change_offline(struct sick *sick)
{
    struct sim *sim = sick->sim;
    const struct store_options options = {.vfs = disk_vfs(sick->node->disk)};
    const struct change change = {.operation = CHANGE_CREATE, .path = LOCAL, .time = 1000};
    struct store *store;
    struct tree *tree;
    g_autofree char *message = NULL;

    if (store_open(disk_path(sick->node->disk), &options, &store, &tree, &message))
        sim_fail(sim, "the database of node %u does not load: %s", sick->node->id, message);
    struct state *state = state_new(tree, 0);
    struct draft *draft = draft_new(state);
    if (apply(draft, &change, NULL) || store_commit(store, draft))
        sim_fail(sim, "the database of node %u takes no change", sick->node->id);
    draft_free(draft);
    state_free(state);
    store_close(store);
    sick->node->past = NULL; /* a history of its own */
}

static void set_ill(const struct sick *sick)
{
    disk_set_bad_block(sick->node->disk, sick->illness == ILLNESS_BAD_BLOCK);
    disk_set_failing(sick->node->disk, sick->illness == ILLNESS_FAILING);
    disk_set_full(sick->node->disk, sick->illness == ILLNESS_FULL);
}

/* A start that fails is made again. */
static void start_again(const struct sick *sick)
{
    while (!sick->node->alive)
        node_start(sick->node);
}

static void change_others(const struct sick *sick)
{
    struct sim *sim = sick->sim;

    for (guint i = 0; i < sim->nodes->len; i++) {
        if (node_at(sim, i) != sick->node)
            client_write(node_at(sim, i));
    }
    run_for(sim, TICK);
}

static void fall_ill(struct sick *sick)
{
    node_stop(sick->node);
    change_others(sick);
    change_others(sick);
    change_offline(sick);
    disk_add_copies(sick->node->disk, random_below(&sick->sim->luck, OLD_COPIES_MAX + 1));
    sick->before = disk_count_copies(sick->node->disk, &sick->old_before);
    node_start(sick->node);
    set_ill(sick);
    sick->node->joins = 0;
    sick->starts = 1;
}

/* ---- The time until it is mended ---- */

static struct node *any_other(const struct sick *sick)
{
    struct sim *sim = sick->sim;
    struct node *other = node_at(sim, random_below(&sim->luck, sim->nodes->len));

    return other == sick->node ? node_at(sim, other->id % sim->nodes->len) : other;
}

static void check_others(const struct sick *sick, struct node *asked, const struct call *call)
{
    struct sim *sim = sick->sim;

    if (!call_is_answered(call) || call_result(call))
        sim_fail(sim, "node %u has a sick disk, and a change of node %u ends with %d",
                 sick->node->id, asked->id, call_is_answered(call) ? call_result(call) : -1);
    for (guint i = 0; i < sim->nodes->len; i++) {
        const struct node *node = node_at(sim, i);
        if (node != sick->node && node->seats[GROUP_CONFIGURATION].membership != MEMBER_IN)
            sim_fail(sim, "node %u has a sick disk, and node %u left the group", sick->node->id,
                     node->id);
    }
}

static void check_copies(const struct sick *sick)
{
    struct sim *sim = sick->sim;
    unsigned old;
    unsigned now = disk_count_copies(sick->node->disk, &old);

    if (old < sick->old_before)
        sim_fail(sim, "nothing was taken away, and old safety copies of node %u are deleted",
                 sick->node->id);
    if (now > sick->before + sick->starts)
        sim_fail(sim, "node %u has %u safety copies more after attempts in vain", sick->node->id,
                 now - sick->before);
}

static void check_joins(const struct sick *sick, uint32_t since, uint32_t most)
{
    if (sick->node->joins - since > most)
        sim_fail(sick->sim, "node %u with its sick disk joined the group %u times", sick->node->id,
                 sick->node->joins - since);
}

static void be_ill(struct sick *sick)
{
    struct sim *sim = sick->sim;
    unsigned killed = random_chance(&sim->luck, 300) ? random_below(&sim->luck, TICKS_CALM) : TICKS;
    uint32_t joins = 0;

    for (unsigned tick = 0; tick < TICKS; tick++) {
        struct node *other = any_other(sick);
        const struct call *call = client_write(other);
        run_for(sim, TICK);
        check_others(sick, other, call);
        check_copies(sick);
        if (tick == killed) {
            check_joins(sick, 0, JOINS_MAX);
            node_crash(sick->node, CRASH_PROCESS);
            start_again(sick);
            set_ill(sick);
            sick->node->joins = 0;
            sick->starts++;
        }
        if (tick == TICKS - TICKS_CALM)
            joins = sick->node->joins;
    }
    check_joins(sick, 0, JOINS_MAX);
    if (killed == TICKS)
        check_joins(sick, joins, JOINS_CALM_MAX);
}

void sick_run(struct sim *sim)
{
    struct sick sick = {.sim = sim};
    unsigned old;

    sick.node = node_at(sim, random_below(&sim->luck, sim->nodes->len));
    sick.illness = random_below(&sim->luck, 3);
    sim_trace(sim, "%u is to have a sick disk: %d", sick.node->id, (int)sick.illness);
    fall_ill(&sick);
    be_ill(&sick);
    disk_mend(sick.node->disk);
    sim_trace(sim, "the disk of %u is mended", sick.node->id);
    sim_rest(sim);
    if (!disk_is_kept(sick.node->disk, LOCAL))
        sim_fail(sim, "what node %u alone had is gone without a safety copy", sick.node->id);
    if (disk_count_copies(sick.node->disk, &old) > SAFETY_COPIES_MAX)
        sim_fail(sim, "node %u has more than %u safety copies", sick.node->id, SAFETY_COPIES_MAX);
}
