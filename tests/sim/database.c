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

/* That many files more, 200 in a directory. */
static void fill_large(struct draft *draft, uint32_t entries)
{
    static const uint8_t content[200] = "name: value\n";
    char path[64];

    for (uint32_t i = 0; i < entries; i++) {
        struct change change = {.operation = CHANGE_MKDIR, .time = 1000, .path = path};
        g_snprintf(path, sizeof(path), "l%u", i / 200);
        if (i % 200 == 0)
            apply(draft, &change, NULL);
        g_snprintf(path, sizeof(path), "l%u/f%u", i / 200, i);
        change.operation = CHANGE_CREATE;
        apply(draft, &change, NULL);
        change.operation = CHANGE_WRITE;
        change.data = content;
        change.size = sizeof(content);
        apply(draft, &change, NULL);
        /* What it did interests nobody. */
        g_ptr_array_set_size(draft->effects, 0);
    }
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
    fill_large(draft, sim->plan.entries);
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
