/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What others may see of the writer's side: mode, members, verifications. */
#include "replica/view.h"

static uint32_t now_seconds(const struct view *view)
{
    return view->clock->seconds(view->clock);
}

void view_init(struct view *view, struct clock_source *clock)
{
    uint32_t now = clock->seconds(clock);

    *view = (struct view){
        .clock = clock,
        .status = {.mode = MODE_START, .mode_since = now, .quorum_since = now},
        .members = g_array_new(FALSE, FALSE, sizeof(struct replica_member)),
    };
    lock_init(&view->lock, LOCK_RANK_VIEW);
}

void view_destroy(struct view *view)
{
    g_array_unref(view->members);
    lock_destroy(&view->lock);
}

/* Since when a process is known as a member. With the lock held. */
static uint32_t member_since(const struct view *view, const struct member *member)
{
    for (guint i = 0; i < view->members->len; i++) {
        const struct replica_member *known =
            &g_array_index(view->members, struct replica_member, i);
        if (same_member(&known->member, member))
            return known->since;
    }
    return now_seconds(view);
}

/* With the lock held. */
static void show_members(struct view *view, const struct machine *machine,
                         const struct confirm *confirm)
{
    GArray *shown = g_array_new(FALSE, FALSE, sizeof(struct replica_member));
    size_t count;
    const struct member *members = machine_members(machine, &count);

    for (size_t i = 0; i < count; i++) {
        struct replica_member member = {
            .member = members[i],
            .synced = machine_member_is_synced(machine, i),
            .confirms = confirm_is_able(confirm, &members[i]),
            .since = member_since(view, &members[i]),
        };
        g_array_append_val(shown, member);
    }
    g_array_unref(view->members);
    view->members = shown;
    view->generation = machine_generation(machine);
    view->status.lowest = machine_is_lowest(machine);
}

void view_show_machine(struct view *view, const struct machine *machine,
                       const struct confirm *confirm)
{
    struct replica_status *status = &view->status;

    LOCKED(&view->lock);
    status->queued = machine_queued(machine);
    status->verifications = machine_verifications(machine);
    if (machine_mode(machine) != status->mode)
        status->mode_since = now_seconds(view);
    status->mode = machine_mode(machine);
    if (machine_generation(machine) != view->generation)
        show_members(view, machine, confirm);
}

void view_show_checksum(struct view *view, const struct replica_checksum *checksum)
{
    LOCKED(&view->lock);
    view->checksum = *checksum;
}

bool view_set_quorate(struct view *view, bool quorate)
{
    if (atomic_exchange(&view->quorate, quorate) == quorate)
        return false;
    LOCKED(&view->lock);
    view->status.quorum_since = now_seconds(view);
    return true;
}

void view_get_status(struct view *view, struct replica_status *status)
{
    lock_take(&view->lock);
    *status = view->status;
    lock_give(&view->lock);
    status->connected = atomic_load(&view->connected);
    status->joined = atomic_load(&view->joined);
    status->quorate = atomic_load(&view->quorate);
}

GArray *view_members(struct view *view)
{
    LOCKED(&view->lock);
    return g_array_copy(view->members);
}

void view_get_checksum(struct view *view, struct replica_checksum *checksum)
{
    LOCKED(&view->lock);
    *checksum = view->checksum;
}
