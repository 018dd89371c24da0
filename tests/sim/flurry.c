/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A member comes and goes while another, whom nobody hears, goes away ahead of all and comes back.
 */
#include "sim.h"

#include <string.h>

/* By itself the simulator seldom does so much within so few steps. What it is after: changes of a
 * node arrive while the members are being brought into sync. One member has heard all that it needs
 * for that, and has applied them; what it says itself is lost, so that the others still wait. They
 * hear of a process that joins only when that one is cut off, and it is back before the node whose
 * changes they are could say anything more. */

#define APART (1u << 16) /* a component that nothing else uses */

static struct random *luck(struct sim *sim)
{
    return &sim->flurry.random;
}

void flurry_plan(struct sim *sim)
{
    const char *chosen = g_getenv("SIM_FLURRIES"); /* 0: none; 1: some in each run */
    uint32_t chance = !chosen ? 60 : strcmp(chosen, "0") == 0 ? 0 : 1000;

    sim->flurry.random.state = sim->seed * 0xaf251af3b0f025b5u + 1;
    if (!random_chance(luck(sim), chance))
        return;
    sim->plan.flurries = 10 + random_below(luck(sim), 50);
    sim->plan.losses = MAX(sim->plan.losses, 1);
    sim->plan.nodes = MAX(sim->plan.nodes, 3);
    sim->plan.together = false;
}

static void wait_for(struct sim *sim, uint32_t least, uint32_t most)
{
    sim->flurry.next = sim->statistics.steps + least + random_below(luck(sim), most - least + 1);
}

/* A living node that has no part in this yet; NULL: another time. */
static struct node *choose(struct sim *sim)
{
    const struct flurry *flurry = &sim->flurry;
    struct node *node = sim->nodes->pdata[random_below(luck(sim), sim->nodes->len)];

    return node->alive && node != flurry->sender && node != flurry->joiner ? node : NULL;
}

/* Changes are on their way when a member goes. */
static bool begin(struct sim *sim)
{
    struct flurry *flurry = &sim->flurry;

    if (!random_chance(luck(sim), sim->plan.flurries))
        return false;
    flurry->sender = flurry->joiner = NULL;
    flurry->sender = choose(sim);
    flurry->joiner = choose(sim);
    flurry->unheard = choose(sim);
    if (!flurry->sender || !flurry->joiner || !flurry->unheard)
        return false;
    for (uint32_t i = random_below(luck(sim), 4); i < 4 && flurry->sender->alive; i++) {
        client_change(flurry->sender);
        node_finish_crash(flurry->sender);
    }
    node_stop(flurry->joiner);
    wait_for(sim, 0, 8);
    return true;
}

static bool silence(struct sim *sim)
{
    sim->flurry.unheard->mute_until = sim->now + 20000;
    sim->flurry.unheard->lost_size = 0;
    wait_for(sim, 5, 40);
    return true;
}

/* Who went is back. */
static bool join(struct sim *sim)
{
    struct node *joiner = sim->flurry.joiner;
    struct seat *seat = &joiner->seats[GROUP_CONFIGURATION];

    if (!joiner->alive)
        node_start(joiner);
    for (int i = 0; i < 4 && joiner->alive && seat->membership == MEMBER_OUT; i++)
        node_manage(seat);
    wait_for(sim, 0, 4);
    return true;
}

/* Who is not heard is cut off, and the sender held up. */
static bool part(struct sim *sim)
{
    sim->flurry.sender->storm_until = sim->now + random_below(luck(sim), 4000);
    sim->flurry.unheard->component = APART;
    network_reform(sim);
    sim->flurry.unheard->mute_until = 0;
    wait_for(sim, 0, 60);
    return true;
}

static bool meet(struct sim *sim)
{
    sim->flurry.unheard->component = 0;
    network_reform(sim);
    return false;
}

void flurry_step(struct sim *sim)
{
    static bool (*const stages[])(struct sim * sim) = {begin, silence, join, part, meet};
    struct flurry *flurry = &sim->flurry;

    if (sim->plan.flurries == 0 || sim->statistics.steps < flurry->next)
        return;
    bool goes_on = stages[flurry->stage](sim);
    flurry->stage = goes_on ? flurry->stage + 1 : 0;
}
