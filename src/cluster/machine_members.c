/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The members of the group, and what is known of each. */
#include <stdlib.h>

#include "cluster/machine.h"
#include "cluster/machine_internal.h"

static int compare_members(const void *a, const void *b)
{
    const struct member *left = a, *right = b;

    if (left->node != right->node)
        return left->node < right->node ? -1 : 1;
    return (left->pid > right->pid) - (left->pid < right->pid);
}

/* The peer of that member, or NULL: it is none. */
struct peer *machine_find_peer(const struct machine *machine, const struct member *member)
{
    const struct member *found =
        machine->members->len == 0 ? NULL
                                   : bsearch(member, machine->members->data, machine->members->len,
                                             sizeof(struct member), compare_members);

    return found ? peer_at(machine, (guint)(found - member_at(machine, 0))) : NULL;
}

void machine_mark_all_synced(struct machine *machine)
{
    machine->generation++;
    for (guint i = 0; i < machine->peers->len; i++)
        peer_at(machine, i)->synced = true;
}

void machine_take_members(struct machine *machine, const struct member *members, size_t count)
{
    struct peer fresh = {0};

    machine->generation++;
    g_array_set_size(machine->members, 0);
    g_array_set_size(machine->peers, 0);
    if (count > 0)
        g_array_append_vals(machine->members, members, (guint)count);
    g_array_sort(machine->members, compare_members);
    for (guint i = 0; i < machine->members->len; i++)
        g_array_append_val(machine->peers, fresh);
}

const struct member *machine_members(const struct machine *machine, size_t *count)
{
    *count = machine->members->len;
    return (const struct member *)machine->members->data;
}

bool machine_is_lowest(const struct machine *machine)
{
    return machine->members->len > 0 && member_at(machine, 0)->node == machine->self.node;
}

bool machine_is_complete(const struct machine *machine)
{
    for (guint i = 0; i < machine->peers->len; i++) {
        if (!peer_at(machine, i)->synced)
            return false;
    }
    return machine->mode == MODE_SYNCED;
}

bool machine_member_is_synced(const struct machine *machine, size_t position)
{
    return peer_at(machine, (guint)position)->synced;
}

uint64_t machine_generation(const struct machine *machine)
{
    return machine->generation;
}
