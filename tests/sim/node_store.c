/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A node's store on its simulated disk, and what the flusher does for it. */
#include "base/util.h"
#include "sim.h"
#include "store/store.h"

#define FLUSH_RETRY 2000u

static bool has_journal(const struct node *node)
{
    return node->sim->plan.fold_delay > 0 && !node_is_deployed(node);
}

/* What a journal held must come back, but after loss of power where commits are not durable, and
 * into another database. */
static void check_recovery(struct node *node, struct past *with_left)
{
    const struct replay_report *report = store_recovery(node->store);
    struct sim *sim = node->sim;
    bool overtaken = node->overtaken || (disk_lost_power(node->disk) && !sim->plan.durable);

    node->overtaken = false;
    if (report->quarantine && !overtaken)
        sim_fail(sim, "node %u sets its journal aside", node->id);
    if (with_left && !report->quarantine && report->changes == 0 &&
        !past_is_same(with_left, node->past))
        sim_fail(sim, "node %u got another database, and what its journal held is gone", node->id);
    if (report->changes > 0)
        sim_trace(sim, "%u brings in %u changes of its journal%s", node->id, report->changes,
                  report->left ? ", later" : "");
    sim->statistics.replayed += report->changes;
    if (report->left)
        node->flush_at = sim->now;
}

/* Killed while it loads: what the next start finds must be as good. */
static void die_at_start(struct node *node, struct tree *tree)
{
    sim_trace(node->sim, "%u crashed at its start", node->id);
    node->sim->statistics.crashes++;
    g_clear_pointer(&node->store, store_close);
    tree_free(tree);
    disk_reboot(node->disk);
}

struct tree *node_open_store(struct node *node)
{
    struct sim *sim = node->sim;
    struct store_options options = {.durability = sim->plan.durable ? STORE_FULL : STORE_NORMAL,
                                    .vfs = disk_vfs(node->disk),
                                    .fold_delay = has_journal(node) ? sim->plan.fold_delay : 0,
                                    .clock = &node->clock};
    struct past *with_left = g_steal_pointer(&node->with_left);
    struct tree *tree;
    g_autofree char *message = NULL;

    if (!has_journal(node) || !random_chance(&sim->luck, 300))
        disk_mend(node->disk);
    int error = store_open(disk_path(node->disk), &options, &node->store, &tree, &message);
    if (disk_has_crashed(node->disk)) {
        die_at_start(node, tree);
        return NULL;
    }
    if (error && disk_is_well(node->disk))
        sim_fail(sim, "the database of node %u does not load: %s", node->id, message);
    if (error) {
        sim_trace(sim, "%u cannot start: %s", node->id, message);
        disk_mend(node->disk);
        return NULL;
    }
    check_recovery(node, with_left);
    if (has_journal(node))
        store_set_listener(node->store, &node->flush_listener);
    return tree;
}

/* Some flushes come so late that commits do not wait for them. */
void node_note_flush(struct store_listener *listener, uint64_t within)
{
    struct node *node = container_of(listener, struct node, flush_listener);
    struct random *luck = &node->sim->luck;
    uint64_t due = node->sim->now + within * (random_chance(luck, 200) ? 8 : 4) / 5;

    if (node->flush_at == 0 || due < node->flush_at)
        node->flush_at = MAX(due, 1);
}

bool node_flush(struct node *node)
{
    struct sim *sim = node->sim;

    if (!node->alive || node->flush_at == 0 || sim->now < node->flush_at)
        return false;
    node->flush_at = 0;
    int error = store_flush(node->store);
    sim_trace(sim, "%u folds its journal: %d", node->id, error);
    sim->statistics.folds++;
    if (error)
        node->flush_at = sim->now + FLUSH_RETRY;
    node_finish_crash(node);
    return true;
}
