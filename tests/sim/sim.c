/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One run: what a seed makes happen to a cluster, and what must be true all the time and at rest.
 */
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/store.h"

/* A cluster without faults is at rest after that much; simulated milliseconds, and rounds. */
#define REST_TIME 600000u
#define REST_ROUNDS 20000u

#define STATUS_CHANGES 20u /* chance of one in a step, of a thousand */

extern bool log_traced;

/* ---- Telling ---- */

void sim_trace(struct sim *sim, const char *format, ...)
{
    va_list arguments;

    if (!sim->trace)
        return;
    va_start(arguments, format);
    printf("%5u %6u  ", (uint32_t)sim->statistics.steps, (uint32_t)sim->now);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

/* Shows the same run again, with its trace: the same seed does the same. */
static void G_GNUC_NORETURN show_again(const struct sim *sim)
{
    g_autofree char *seed = g_strdup_printf("%" G_GUINT64_FORMAT, sim->seed);

    fflush(NULL);
    execl("/proc/self/exe", "sim", "--trace", "--seed", seed, (char *)NULL);
    _exit(1);
}

void sim_fail(struct sim *sim, const char *format, ...)
{
    va_list arguments;

    printf("seed %" G_GUINT64_FORMAT ", step %" G_GUINT64_FORMAT ": ", sim->seed,
           sim->statistics.steps);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    if (!sim->trace && !g_getenv("SIM_BRIEF"))
        show_again(sim);
    fflush(NULL);
    _exit(1);
}

/* ---- The plan ---- */

/* A chance that is often none: a run with every fault at once finds less. */
static uint32_t often_none(struct random *random, uint32_t most)
{
    return random_chance(random, 500) ? 0 : 1 + random_below(random, most);
}

static struct plan make_plan(struct random *random)
{
    static const uint8_t sizes[] = {2, 3, 3, 3, 3, 3, 4, 4, 5, 5, 5, 6, 7};
    struct plan plan = {
        .nodes = sizes[random_below(random, G_N_ELEMENTS(sizes))],
        .phases = 1 + random_below(random, 3),
        .steps = 150 + random_below(random, 550),
        .sqlite = random_chance(random, 200),
        .durable = random_chance(random, 500),
        .power = random_chance(random, 500),
        .acknowledge_all = random_chance(random, 300),
        .together = random_chance(random, 400),
        .coarse = random_chance(random, 300),
        .strangers = random_chance(random, 100),
        .changes = 50 + random_below(random, 150),
        .partitions = often_none(random, 20),
        .crashes = often_none(random, 10),
        .departures = often_none(random, 8),
        .storms = often_none(random, 10),
        .disks = often_none(random, 10),
        .jumps = often_none(random, 10),
        .losses = often_none(random, 20),
        .cancels = often_none(random, 200),
    };
    const char *chosen = g_getenv("SIM_DEPLOYED"); /* 0: none; 1: some in each run */
    int deployed_chance = chosen ? atoi(chosen) : -1;

    if (random_chance(random, 30))
        plan.nodes = 8 + random_below(random, 9);
    plan.together = plan.together && !plan.losses;
    /* Without SQLite a commit is safe or never was. */
    plan.power = plan.power && plan.sqlite;
    if (deployed_chance < 0 ? random_chance(random, 100) : deployed_chance > 0)
        plan.deployed = 200 + random_below(random, 600);
    return plan;
}

static void trace_plan(struct sim *sim)
{
    const struct plan *plan = &sim->plan;

    sim_trace(
        sim,
        "%u nodes, %u phases of %u steps,%s%s%s%s%s%s%s%s changes %u, partitions %u, crashes "
        "%u, departures %u, storms %u, disks %u, jumps %u, losses %u, cancels %u, flurries %u, "
        "votes %u, freezes %u, backups %u, ages %u",
        plan->nodes, plan->phases, plan->steps, plan->sqlite ? " SQLite," : "",
        plan->durable ? " durable," : "", plan->power ? " power losses," : "",
        plan->acknowledge_all ? " acknowledge all," : "", plan->together ? " together," : "",
        plan->coarse ? " coarse," : "", plan->strangers ? " strangers," : "",
        plan->deployed ? " deployed members," : "", plan->changes, plan->partitions, plan->crashes,
        plan->departures, plan->storms, plan->disks, plan->jumps, plan->losses, plan->cancels,
        plan->flurries, plan->votes, plan->freezes, plan->backups, plan->ages);
}

static struct node *node_at(const struct sim *sim, guint position)
{
    return sim->nodes->pdata[position];
}

static struct node *any_node(struct sim *sim)
{
    return node_at(sim, random_below(&sim->random, sim->nodes->len));
}

/* The configuration group has more to do. */
static struct seat *any_seat(struct node *node)
{
    return &node->seats[random_chance(&node->sim->random, 300) ? GROUP_STATUS
                                                               : GROUP_CONFIGURATION];
}

struct sim *sim_new(uint64_t seed, bool trace)
{
    struct sim *sim = g_new0(struct sim, 1);

    sim->seed = seed;
    sim->random.state = seed * 0x2545f4914f6cdd1du;
    sim->trace = trace;
    log_traced = trace;
    sim->now = 1000;
    sim->plan = make_plan(&sim->random);
    sick_plan(sim);
    flurry_plan(sim);
    odd_plan(sim);
    sim->nodes = g_ptr_array_new_with_free_func((GDestroyNotify)node_free);
    sim->rings = g_ptr_array_new_with_free_func((GDestroyNotify)network_free_ring);
    sim->history = history_new();
    sim->acknowledged = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    sim->split = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    return sim;
}

void sim_add_nodes(struct sim *sim)
{
    for (uint32_t i = 1; i <= sim->plan.nodes; i++) {
        struct node *node = node_new(sim, i);
        g_ptr_array_add(sim->nodes, node);
        database_give(node, sim->plan.strangers && random_chance(&sim->random, 300));
        deployed_set(i, sim->plan.deployed && random_chance(&sim->random, sim->plan.deployed));
    }
    network_reform(sim);
    for (guint i = 0; i < sim->nodes->len; i++)
        node_start(node_at(sim, i));
}

void sim_free(struct sim *sim)
{
    g_ptr_array_unref(sim->nodes);
    g_ptr_array_unref(sim->rings);
    g_hash_table_unref(sim->acknowledged);
    g_hash_table_unref(sim->split);
    history_free(sim->history);
    g_free(sim);
}

/* ---- Faults ---- */

static void partition(struct sim *sim)
{
    uint32_t parts = random_chance(&sim->random, 400) ? 1 : 2 + random_below(&sim->random, 2);

    if (random_chance(&sim->random, 400)) {
        /* One node goes elsewhere, back or away. */
        any_node(sim)->component = random_below(&sim->random, 2);
    } else {
        for (guint i = 0; i < sim->nodes->len; i++)
            node_at(sim, i)->component = random_below(&sim->random, parts);
    }
    network_reform(sim);
}

static void crash(struct sim *sim)
{
    struct node *node = any_node(sim);
    enum crash_kind kind =
        sim->plan.power && random_chance(&sim->random, 500) ? CRASH_POWER : CRASH_PROCESS;

    if (!node->alive) {
        disk_crash_at(node->disk, 1 + random_below(&sim->luck, 10), kind); /* in its start */
        return;
    }
    if (random_chance(&sim->random, 200))
        node_stop(node);
    else if (random_chance(&sim->random, 600))
        disk_crash_at(node->disk, 1 + random_below(&sim->random, sim->plan.sqlite ? 40 : 6), kind);
    else
        node_crash(node, kind);
}

static void restart_something(struct sim *sim)
{
    struct node *node = any_node(sim);

    if (!node->up) {
        node->up = true;
        network_reform(sim);
    }
    if (!node->alive)
        node_start(node);
}

/* Corosync is gone under a daemon that goes on, and sometimes back at once. */
static void depart(struct sim *sim)
{
    struct node *node = any_node(sim);

    if (!node->up)
        return;
    node->up = false;
    network_reform(sim);
    node_disconnect(node);
    if (random_chance(&sim->random, 500))
        return;
    node->up = true;
    network_reform(sim);
}

static void storm(struct sim *sim)
{
    struct node *node = any_node(sim);

    if (random_chance(&sim->random, 500))
        node->storm_until = sim->now + random_below(&sim->random, 20000);
    else
        node->slow_until = sim->now + random_below(&sim->random, 3000);
}

static void give_up_first(struct seat *seat)
{
    struct sim *sim = seat->node->sim;
    struct outgoing *outgoing = g_queue_pop_head(&seat->outbox);
    struct notice *notice = g_new0(struct notice, 1);

    if (seat->group == GROUP_STATUS)
        status_note_unheard(sim, outgoing);
    *notice = (struct notice){
        .type = NOTICE_SEND_FAILED, .kind = outgoing->kind, .count = outgoing->count};
    g_queue_push_tail(&seat->inbox, notice);
    sim_trace(sim, "%u cannot send message %" G_GUINT64_FORMAT, seat->node->id, outgoing->count);
    outgoing_free(outgoing);
}

/* After ten seconds of TRY_AGAIN the first messages are given up, and what is too long at once.
 * Nothing is sent behind one without which the group is left. */
static void give_up_sending(struct sim *sim)
{
    struct node *node = any_node(sim);
    struct seat *seat = any_seat(node);
    const struct outgoing *first = g_queue_peek_head(&seat->outbox);
    bool is_storm = sim->now < node->storm_until && random_chance(&sim->random, 100);
    /* One entry alone: the commit must notice. */
    bool is_update = first && first->kind == SEND_UPDATE && random_chance(&sim->random, 200);
    if (!first || (!is_storm && !is_update))
        return;
    bool leaves = first->kind == SEND_SYNC;
    do
        give_up_first(seat);
    while (leaves && seat->outbox.length > 0);
}

/* Packets of a node, or to it, are lost for a while, of all sizes or large ones only. A node that
 * cannot be reached so is cut off in the end, and comes back. */
static void lose_packets(struct sim *sim)
{
    static const uint32_t sizes[] = {0, 0, 100, 500};
    struct node *node = any_node(sim);

    if (node->component != 0) {
        node->component = 0;
        network_reform(sim);
    } else if (sim->now < MAX(node->deaf_until, node->mute_until)) {
        node->component = 1 + node->id;
        network_reform(sim);
        node->deaf_until = node->mute_until = 0;
    } else {
        uint64_t until = sim->now + random_below(&sim->random, 20000);
        bool deaf = random_chance(&sim->random, 500);
        node->lost_size = sizes[random_below(&sim->random, G_N_ELEMENTS(sizes))];
        *(deaf ? &node->deaf_until : &node->mute_until) = until;
        sim_trace(sim, "%u %s above %u bytes", node->id, deaf ? "hears nothing" : "is not heard",
                  node->lost_size);
    }
}

static void hurt_disk(struct sim *sim)
{
    struct node *node = any_node(sim);
    uint32_t what = random_below(&sim->random, 4);

    disk_set_full(node->disk, what == 0);
    disk_set_failing(node->disk, what == 1);
    sick_hurt(node);
    sim_trace(sim, "%u has a %s disk", node->id,
              what == 0                  ? "full"
              : what == 1                ? "failing"
              : disk_is_well(node->disk) ? "good"
                                         : "bad");
}

static void jump_clock(struct sim *sim)
{
    struct node *node = any_node(sim);

    if (random_chance(&sim->random, 300))
        sim->now += 1000 + random_below(&sim->random, 140000);
    else
        node->skew = random_below(&sim->random, 1000) << 20;
}

static void housekeeping(struct sim *sim)
{
    struct node *node = any_node(sim);

    if (!node->alive || sim->now < node->frozen_until)
        return;
    if (random_chance(&sim->random, 300)) {
        replica_post(node->replica, event_new(EVENT_VERIFY));
        replica_run(node->replica);
    } else if (random_chance(&sim->random, 100)) {
        replica_expire(node->replica, random_below(&sim->random, 5000));
    } else {
        store_flush(node->store);
    }
    node_finish_crash(node);
}

static void do_faults(struct sim *sim)
{
    const struct plan *plan = &sim->plan;
    struct random *random = &sim->random;

    if (random_chance(random, plan->partitions))
        partition(sim);
    if (random_chance(random, plan->crashes))
        crash(sim);
    if (random_chance(random, 20))
        restart_something(sim);
    if (random_chance(random, plan->departures))
        depart(sim);
    if (random_chance(random, plan->storms))
        storm(sim);
    if (plan->storms)
        give_up_sending(sim);
    if (random_chance(random, plan->disks))
        hurt_disk(sim);
    if (random_chance(random, plan->jumps))
        jump_clock(sim);
    if (random_chance(random, plan->losses))
        lose_packets(sim);
    if (random_chance(random, 10))
        housekeeping(sim);
    flurry_step(sim);
    odd_step(sim);
}

/* ---- Steps ---- */

/* Whatever one node does next: it looks at what it was told, sends, receives, joins. */
static void do_something(struct node *node)
{
    struct sim *sim = node->sim;
    struct seat *seat = any_seat(node);

    if (sim->now < node->frozen_until) {
        network_receive(node);
        return;
    }
    switch (random_below(&sim->random, 8)) {
    case 0:
    case 1:
    case 2:
        if (sim->now >= node->slow_until)
            node_work(seat, 1 + random_below(&sim->random, 8));
        break;
    case 3:
    case 4:
        if (sim->now >= node->storm_until)
            network_send(seat);
        break;
    case 5:
    case 6:
        for (uint32_t i = random_below(&sim->random, 4); i < 4 && network_receive(node); i++)
            ;
        break;
    default:
        node_manage(seat);
        break;
    }
}

/* Members of one configuration that are in sync, with nothing under way, are alike. */
static void check_alike(struct sim *sim, const struct ring *ring)
{
    const struct node *first = NULL;

    for (guint i = 0; i < ring->nodes->len; i++) {
        const struct node *node = ring->nodes->pdata[i];
        if (node->ring != ring || !node_is_at_rest(node))
            return;
    }
    for (guint i = 0; i < ring->nodes->len; i++) {
        const struct node *node = ring->nodes->pdata[i];
        if (node_is_deployed(node)) /* may have gone another way by itself */
            continue;
        if (!first)
            first = node;
        if (node == first)
            continue;
        if (!past_is_same(node->past, first->past) ||
            (sim->news && node_digest(node) != node_digest(first)))
            sim_fail(sim, "nodes %u and %u are in sync at rest, and differ", first->id, node->id);
        if (sim->news)
            status_check_alike(first, node);
    }
}

static void check_rings(struct sim *sim)
{
    for (guint i = 0; i < sim->nodes->len; i++) {
        const struct node *node = node_at(sim, i);
        if (node->ring && node->ring->nodes->pdata[0] == node)
            check_alike(sim, node->ring);
    }
    sim->news = false;
}

static bool is_running(const struct node *node)
{
    return node->alive && node->sim->now >= node->frozen_until;
}

static void do_step(struct sim *sim)
{
    uint32_t actions = 3 * sim->nodes->len;

    sim->statistics.steps++;
    sim->now += random_below(&sim->random, 40);
    do_faults(sim);
    for (uint32_t i = 0; i < actions; i++)
        do_something(any_node(sim));
    struct node *node = any_node(sim);
    if (is_running(node) && random_chance(&sim->random, sim->plan.changes)) {
        client_change(node);
        node_finish_crash(node);
    }
    node = any_node(sim);
    if (is_running(node) && random_chance(&sim->random, STATUS_CHANGES))
        status_change(node);
    check_rings(sim);
}

/* ---- Rest ---- */

bool sim_work(struct sim *sim)
{
    bool any = false;

    for (guint i = 0; i < sim->nodes->len; i++) {
        struct node *node = node_at(sim, i);
        while (network_receive(node))
            any = true;
        for (int j = 0; j < GROUPS && sim->now >= node->frozen_until; j++) {
            any = network_send(&node->seats[j]) || any;
            any = node_work(&node->seats[j], 100) || any;
            any = node_manage(&node->seats[j]) || any;
        }
    }
    return any;
}

static bool all_at_rest(const struct sim *sim)
{
    for (guint i = 0; i < sim->nodes->len; i++) {
        if (!node_is_at_rest(node_at(sim, i)))
            return false;
    }
    return true;
}

static void G_GNUC_NORETURN fail_rest(struct sim *sim)
{
    for (guint i = 0; i < sim->nodes->len; i++) {
        const struct node *node = node_at(sim, i);
        printf("node %u: mode %d, status' mode %d, position %u of %u\n", node->id,
               node->alive ? (int)node_mode(node) : 0,
               node->alive ? (int)status_group_mode(node->status_group) : 0, node->position,
               node->ring ? node->ring->items->len : 0);
        for (int j = 0; j < GROUPS; j++)
            printf("  group %d: membership %d, inbox %u, outbox %u\n", j,
                   (int)node->seats[j].membership, node->seats[j].inbox.length,
                   node->seats[j].outbox.length);
    }
    sim_fail(sim, "the faults are over, but the cluster does not come to rest");
}

void sim_rest(struct sim *sim)
{
    uint64_t end = sim->now + REST_TIME;

    for (uint32_t round = 0; round < REST_ROUNDS; round++) {
        if (sim_work(sim))
            continue;
        if (all_at_rest(sim))
            return;
        uint64_t next = UINT64_MAX;
        for (guint i = 0; i < sim->nodes->len; i++)
            node_wait(node_at(sim, i), &next);
        if (next > end)
            break;
        sim->now = MAX(next, sim->now + 1);
    }
    fail_rest(sim);
}

static bool has_faults(const struct plan *plan)
{
    return plan->partitions || plan->crashes || plan->departures || plan->storms || plan->disks ||
           plan->losses || plan->flurries || plan->votes || plan->backups;
}

/* Cuts a node off and takes it back, so that logs are merged. That is a fault, too, for what is
 * under way: in a run without any it comes when nothing is. */
static void merge_logs(struct sim *sim)
{
    if (!has_faults(&sim->plan))
        sim_rest(sim);
    node_at(sim, 0)->component = 1;
    network_reform(sim);
    node_at(sim, 0)->component = 0;
    network_reform(sim);
    sim->log_unheard = false;
}

static void end_faults(struct sim *sim)
{
    sim_trace(sim, "the faults are over");
    sim->flurry.stage = 0;
    for (guint i = 0; i < sim->nodes->len; i++) {
        struct node *node = node_at(sim, i);
        node->component = 0;
        node->up = true;
        node->slow_until = 0;
        node->storm_until = 0;
        node->deaf_until = 0;
        node->mute_until = 0;
        disk_crash_at(node->disk, 0, CRASH_PROCESS);
        disk_mend(node->disk);
    }
    network_reform(sim);
    odd_end(sim);
    for (guint i = 0; i < sim->nodes->len; i++) {
        if (!node_at(sim, i)->alive)
            node_start(node_at(sim, i));
    }
    if (sim->log_unheard)
        merge_logs(sim);
}

/* At rest, every node can make a change, and all agree by their own verification too. */
static void check_alive(struct sim *sim)
{
    g_autoptr(GPtrArray) calls = g_ptr_array_new();
    uint64_t departures = sim->statistics.departures;

    for (guint i = 0; i < sim->nodes->len; i++) {
        g_ptr_array_add(calls, client_write(node_at(sim, i)));
        status_set_value(node_at(sim, i));
    }
    replica_post(node_at(sim, 0)->replica, event_new(EVENT_VERIFY));
    replica_run(node_at(sim, 0)->replica);
    sim_rest(sim);
    for (guint i = 0; i < calls->len; i++) {
        const struct call *call = calls->pdata[i];
        if (!call_is_answered(call) || call_result(call))
            sim_fail(sim, "at rest, a change of node %u ended with %d", i + 1, call_result(call));
    }
    if (sim->statistics.departures != departures && !sim->plan.deployed)
        sim_fail(sim, "at rest, a node left the group");
    sim->value_unheard = false; /* a message that came back made them send all once more */
    sim->news = true;
    for (guint i = 0; i < sim->nodes->len; i++)
        status_check_kept(node_at(sim, i));
}

/* A deployed member that has gone another way comes back when its data is verified. */
static void bring_back(struct sim *sim)
{
    uint64_t departures;

    do {
        departures = sim->statistics.departures;
        replica_post(node_at(sim, 0)->replica, event_new(EVENT_VERIFY));
        replica_run(node_at(sim, 0)->replica);
        sim_rest(sim);
    } while (sim->statistics.departures != departures);
}

static void check_rest(struct sim *sim)
{
    sim_rest(sim);
    if (sim->plan.deployed)
        bring_back(sim);
    check_rings(sim);
    for (guint i = 0; i < sim->nodes->len; i++)
        client_check_answered(node_at(sim, i));
    check_alive(sim);
    check_rings(sim);
    if (node_at(sim, 0)->ring->nodes->len != sim->nodes->len)
        sim_fail(sim, "the nodes did not find each other");
}

/* What the disks hold is what memory held: node_start() compares. */
static void check_disks(struct sim *sim)
{
    for (guint i = 0; i < sim->nodes->len; i++) {
        struct node *node = node_at(sim, i);
        struct past *past = node->past;
        node_stop(node);
        node_start(node);
        if (!past_is_same(node->past, past))
            sim_fail(sim, "node %u: the database is not what memory was", node->id);
    }
}

void sim_run(uint64_t seed, bool trace, struct statistics *statistics)
{
    struct sim *sim = sim_new(seed, trace);

    trace_plan(sim);
    sim_add_nodes(sim);
    for (uint32_t phase = 0; phase < sim->plan.phases; phase++) {
        for (uint32_t step = 0; step < sim->plan.steps; step++)
            do_step(sim);
        end_faults(sim);
        check_rest(sim);
    }
    if (!has_faults(&sim->plan) && !sim->plan.deployed && sim->statistics.departures > 0)
        sim_fail(sim, "a node left the group for no reason");
    if (sim->plan.freezes) {
        odd_run(sim);
        check_rest(sim);
    }
    if (sim->plan.sick && !sim->plan.deployed) {
        sick_run(sim);
        check_rest(sim);
    }
    check_disks(sim);
    *statistics = sim->statistics;
    sim_free(sim);
}
