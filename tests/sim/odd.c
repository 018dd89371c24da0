/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What administrators and hosts do to a cluster beside its faults: votes, backups, stopped
 * processes, clocks at the ends of their range. */
#include "sim.h"

#include <stdlib.h>

#define STOPPED_ROUNDS 3u
#define STOPPED_PAUSE 20000u /* milliseconds */

/* A run has few of these, with luck of their own: what else happens is as it was. */

static struct random *luck(struct sim *sim)
{
    return &sim->odd;
}

static uint32_t often_none(struct sim *sim, uint32_t most)
{
    return random_chance(luck(sim), 500) ? 0 : 1 + random_below(luck(sim), most);
}

void odd_plan(struct sim *sim)
{
    const char *chosen = g_getenv("SIM_ODD"); /* 0: none; 1: some in each run */
    uint32_t chance = !chosen ? 60 : atoi(chosen) ? 1000 : 0;

    sim->odd.state = sim->seed * 0x8cb92ba72f3d8dd7u + 1;
    if (!random_chance(luck(sim), chance))
        return;
    sim->plan.votes = often_none(sim, 15);
    sim->plan.freezes = often_none(sim, 15);
    sim->plan.backups = often_none(sim, 15);
    sim->plan.ages = often_none(sim, 10);
}

static struct node *any_node(struct sim *sim)
{
    return sim->nodes->pdata[random_below(luck(sim), sim->nodes->len)];
}

/* ---- Votes ---- */

/* A part is given quorum by hand, beside another that has it, or loses it though all are there. */
static void set_quorum(struct sim *sim, struct ring *ring, bool quorate)
{
    ring->quorate = quorate;
    sim_trace(sim, "ring %u %s quorum", ring->id, quorate ? "is given" : "loses");
    for (guint i = 0; i < ring->nodes->len; i++) {
        struct node *node = ring->nodes->pdata[i];
        if (node->ring == ring && node->alive && node->connected)
            network_tell_quorum(node, quorate, random_chance(luck(sim), 300));
    }
}

static void change_votes(struct sim *sim)
{
    const struct node *node = any_node(sim);

    if (node->ring)
        set_quorum(sim, node->ring, !node->ring->quorate);
}

static void settle_votes(struct sim *sim)
{
    for (guint i = 0; i < sim->rings->len; i++) {
        struct ring *ring = sim->rings->pdata[i];
        bool most = ring->nodes->len > sim->nodes->len / 2;
        if (ring->quorate != most)
            set_quorum(sim, ring, most);
    }
}

/* ---- Processes ---- */

/* SIGSTOP: corosync goes on under it. */
static void freeze(struct sim *sim)
{
    struct node *node = any_node(sim);

    node->frozen_until = sim->now + 500 + random_below(luck(sim), 20000);
    sim_trace(sim, "%u is stopped", node->id);
}

/* ---- Backups ---- */

static void back_up(struct node *node)
{
    disk_crash_at(node->disk, 0, CRASH_PROCESS); /* not in this stop */
    node_stop(node);
    if (!disk_is_well(node->disk)) /* it failed meanwhile */
        return;
    image_free(node->backup);
    node->backup = disk_image(node->disk);
    node->backup_past = node->past;
}

/* A copy of the database is made, or put in its place: nobody else knows. */
static void back_up_or_restore(struct sim *sim)
{
    struct node *node = any_node(sim);

    if (!node->alive || !disk_is_well(node->disk))
        return;
    if (node->backup && random_chance(luck(sim), 600))
        node_restore(node);
    else
        back_up(node);
    node_start(node);
}

/* ---- Clocks ---- */

/* An empty battery means 1970; and a year that 32 bits just have. */
static void set_age(struct sim *sim)
{
    struct node *node = any_node(sim);
    uint32_t time = random_below(luck(sim), 100);

    if (random_chance(luck(sim), 400))
        time = UINT32_MAX - random_below(luck(sim), 100000);
    node_set_clock(node, time);
    sim_trace(sim, "%u takes it for second %u", node->id, time);
}

void odd_step(struct sim *sim)
{
    const struct plan *plan = &sim->plan;

    if (plan->votes && random_chance(luck(sim), plan->votes))
        change_votes(sim);
    if (plan->freezes && random_chance(luck(sim), plan->freezes))
        freeze(sim);
    if (plan->backups && random_chance(luck(sim), plan->backups))
        back_up_or_restore(sim);
    if (plan->ages && random_chance(luck(sim), plan->ages))
        set_age(sim);
}

/* ---- A process that is stopped, and nothing else ---- */

static void change_others(struct sim *sim, const struct node *stopped, GPtrArray *calls)
{
    for (guint i = 0; i < sim->nodes->len; i++) {
        struct node *node = sim->nodes->pdata[i];
        if (node != stopped)
            g_ptr_array_add(calls, client_write(node));
    }
    while (sim_work(sim))
        ;
}

static void check_calls(struct sim *sim, const struct node *stopped, const GPtrArray *calls)
{
    for (guint i = 0; i < calls->len; i++) {
        const struct call *call = calls->pdata[i];
        if (!call_is_answered(call) || call_result(call))
            sim_fail(sim, "the process of node %u is stopped, and a change of another ends with %d",
                     stopped->id, call_is_answered(call) ? call_result(call) : -1);
    }
}

/* Those who do not want all to have stored their changes do not wait for it, and nobody leaves. */
void odd_run(struct sim *sim)
{
    struct node *stopped = any_node(sim);
    g_autoptr(GPtrArray) calls = g_ptr_array_new();
    uint64_t departures = sim->statistics.departures;

    stopped->frozen_until = UINT64_MAX;
    for (unsigned i = 0; i < STOPPED_ROUNDS; i++, sim->now += STOPPED_PAUSE) {
        change_others(sim, stopped, calls);
        if (!sim->plan.acknowledge_all)
            check_calls(sim, stopped, calls);
    }
    stopped->frozen_until = 0;
    sim_rest(sim);
    check_calls(sim, stopped, calls);
    if (sim->statistics.departures != departures)
        sim_fail(sim, "the process of node %u was stopped, and a node left the group", stopped->id);
}

void odd_end(struct sim *sim)
{
    for (guint i = 0; i < sim->nodes->len; i++)
        ((struct node *)sim->nodes->pdata[i])->frozen_until = 0;
    settle_votes(sim);
}
