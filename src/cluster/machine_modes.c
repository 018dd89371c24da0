/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The machine's modes: which may follow which, and the ways out of the group. */
#include <assert.h>
#include <syslog.h>

#include "base/util.h"
#include "cluster/machine.h"
#include "cluster/machine_internal.h"
#include "core/limits.h"

/* What all messages that wait here may take together: a whole tree in UPDATE messages, what is sent
 * meanwhile, and for each member an index of as many entries as there may be. Beyond that a member
 * is out of order, and to leave is better than to take the host's memory. */
#define KEPT_BYTES_MAX (512ull * 1024 * 1024)
#define KEPT_BYTES_OF_MEMBER (40ull * INODES_MAX + 4096)

/* doc/cluster.md, "Modes": which mode may follow which. Besides, each before LEAVE may be followed
 * by LEAVE and beyond, and any by START (machine_restart()). */
static const struct transition transitions[] = {
    {MODE_START, MODE_START_SYNC},      /* in the group, with others */
    {MODE_START, MODE_SYNCED},          /* in the group, alone */
    {MODE_START_SYNC, MODE_START_SYNC}, /* the members changed again */
    {MODE_START_SYNC, MODE_SYNCED},     /* all states are there, ours is up to date; or alone */
    {MODE_START_SYNC, MODE_UPDATE},     /* all states are there, ours is not */
    {MODE_SYNCED, MODE_START_SYNC},     /* the members changed */
    {MODE_SYNCED, MODE_SYNCED},         /* alone again */
    {MODE_UPDATE, MODE_START_SYNC},     /* the members changed */
    {MODE_UPDATE, MODE_SYNCED},         /* committed; or alone, with the old state */
};

static bool may_follow(enum machine_mode from, enum machine_mode to)
{
    return to == MODE_START || (to >= MODE_LEAVE && from < MODE_LEAVE) ||
           transition_is_in(transitions, G_N_ELEMENTS(transitions), (int)from, (int)to);
}

void machine_set_mode(struct machine *machine, enum machine_mode mode)
{
    assert(may_follow(machine->mode, mode));
    machine->mode = mode;
}

void machine_assert_sound(const struct machine *machine)
{
    assert(machine->members->len == machine->peers->len);
    assert(!machine->committing || machine->mode == MODE_UPDATE);
    assert(
        machine->mode == MODE_UPDATE ||
        (!machine->leader_index && machine->sync_queue.length == 0 && machine->updates->len == 0));
    assert(machine->mode < MODE_LEAVE || machine->kept_bytes == 0);
}

/* doc/cluster.md, "Leaving" */
void machine_stop(struct machine *machine, enum machine_mode mode, const char *reason)
{
    if (machine->mode >= MODE_LEAVE)
        return;
    machine_set_mode(machine, mode);
    machine_forget_round(machine);
    machine_drop_queue(machine);
    machine_push_log(machine, LOG_ERR, "leaving the group: %s%s", reason,
                     mode == MODE_LEAVE ? "; this node joins again by itself" : "");
    machine_push(machine,
                 (struct action){.type = mode == MODE_LEAVE ? ACTION_LEAVE : ACTION_STAY_OUT});
}

void machine_become_synced(struct machine *machine)
{
    bool became = machine->mode != MODE_SYNCED;

    machine_set_mode(machine, MODE_SYNCED);
    machine_push(machine, (struct action){.type = ACTION_SYNCED,
                                          .alone = machine->members->len == 1,
                                          .became = became});
}

bool machine_within_bounds(struct machine *machine)
{
    if (machine->kept_bytes <= KEPT_BYTES_MAX + machine->members->len * KEPT_BYTES_OF_MEMBER)
        return true;
    machine_stop(machine, MODE_LEAVE, "too many messages wait for the end of the synchronisation");
    return false;
}

void machine_fail(struct machine *machine, const char *reason)
{
    machine_drop_actions(machine, false);
    machine_stop(machine, MODE_LEAVE, reason);
}
