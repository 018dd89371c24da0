/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The database that nodes start with, made once and copied to each. */
#include "core/apply.h"
#include "sim.h"
#include "store/store.h"

static const char *const directories[] = {
    "a",
    "b",
    "priv",
    "priv/lock",
    "nodes",
    "nodes/n1",
    "nodes/n1/qemu-server",
    "nodes/n2",
    "nodes/n2/qemu-server",
    "nodes/n2/lxc",
};

static void fill(struct draft *draft)
{
    struct change change = {.operation = CHANGE_MKDIR, .time = 1000};

    for (guint i = 0; i < G_N_ELEMENTS(directories); i++) {
        change.path = directories[i];
        apply(draft, &change, NULL);
    }
    change.operation = CHANGE_CREATE;
    change.path = "a/f1";
    apply(draft, &change, NULL);
    change.path = "nodes/n1/qemu-server/100.conf";
    apply(draft, &change, NULL);
}

static struct image *make_image(struct sim *sim, bool empty)
{
    struct disk *disk = disk_new(&sim->random, sim->plan.sqlite, NULL);
    struct store_options options = {.vfs = disk_vfs(disk)};
    struct store *store;
    struct tree *tree;
    g_autofree char *message = NULL;

    if (store_open(disk_path(disk), &options, &store, &tree, &message))
        sim_fail(sim, "no database could be made: %s", message);
    struct state *state = state_new(tree, 0);
    struct draft *draft = draft_new(state);
    if (!empty)
        fill(draft);
    if (!empty && store_commit(store, draft))
        sim_fail(sim, "no database could be filled");
    draft_free(draft);
    state_free(state);
    store_close(store);
    struct image *image = disk_image(disk);
    disk_free(disk);
    return image;
}

void database_give(struct node *node, bool empty)
{
    static struct image *images[2][2];
    struct image **image = &images[node->sim->plan.sqlite][empty];

    if (!*image)
        *image = make_image(node->sim, empty);
    disk_restore(node->disk, *image);
}
