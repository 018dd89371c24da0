/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Members of the kind that is deployed: what they do otherwise than ours, put in by the linker. */
#include "base/util.h"
#include "cluster/machine.h"
#include "cluster/machine_internal.h"
#include "cluster/wire.h"
#include "replica/internal.h"
#include "sim.h"

/* They send their changes at any time, keep what unsynced members send for after the synced ones'
 * messages, send their own queued messages again when somebody joins, and confirm
 * nothing (deployed_never_sends()). */

static uint64_t deployed; /* bit for each node */

void deployed_set(uint32_t node, bool is)
{
    deployed = is ? deployed | node_bit(node) : deployed & ~node_bit(node);
}

static bool is_deployed(struct member member)
{
    return deployed & node_bit(member.node);
}

bool node_is_deployed(const struct node *node)
{
    return deployed & node_bit(node->id);
}

bool deployed_never_sends(const struct node *node, const struct buffer *message)
{
    struct header header;

    return node_is_deployed(node) &&
           wire_parse_header(message->data, message_size(message), &header) == 0 &&
           wire_is_confirmation(&header);
}

void __real_outbox_hold(struct outbox *outbox);
void __wrap_outbox_hold(struct outbox *outbox);
void __real_machine_queue(struct machine *machine, const struct arrival *arrival,
                          bool for_sync_queue);
void __wrap_machine_queue(struct machine *machine, const struct arrival *arrival,
                          bool for_sync_queue);
void __real_machine_give_up_queue(struct machine *machine);
void __wrap_machine_give_up_queue(struct machine *machine);

void __wrap_outbox_hold(struct outbox *outbox)
{
    if (is_deployed(container_of(outbox, struct replica, outbox)->self))
        outbox_release(outbox);
    else
        __real_outbox_hold(outbox);
}

void __wrap_machine_queue(struct machine *machine, const struct arrival *arrival,
                          bool for_sync_queue)
{
    const struct peer *peer = machine_find_peer(machine, &arrival->sender);

    __real_machine_queue(machine, arrival,
                         for_sync_queue && (peer->synced || !is_deployed(machine->self)));
}

void __wrap_machine_give_up_queue(struct machine *machine)
{
    if (is_deployed(machine->self))
        machine_resend_queue(machine);
    else
        __real_machine_give_up_queue(machine);
}
