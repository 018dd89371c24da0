/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Verification: the members compare checksums of their whole state. */
#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "cluster/machine.h"
#include "cluster/machine_internal.h"
#include "cluster/wire.h"

#define VERIFY_REQUEST_SIZE 8u
#define VERIFY_SIZE (8u + DIGEST_SIZE)

/* doc/cluster.md, "Verification" */
void machine_verify(struct machine *machine, uint32_t time)
{
    uint8_t body[VERIFY_REQUEST_SIZE];

    if (machine->group != GROUP_CONFIGURATION || machine->mode != MODE_SYNCED ||
        machine->verification.pending || !machine_is_lowest(machine))
        return;
    machine->verification.pending = true;
    put_le64(body, ++machine->verification.id);
    machine_push_send(machine, SEND_UPDATE,
                      wire_build_sync(MESSAGE_VERIFY_REQUEST, machine_protocol(machine),
                                      &machine->epoch, time, body, sizeof(body)));
}

void machine_verify_failed(struct machine *machine)
{
    machine->verification.pending = false;
}

/* doc/cluster.md, "compute" */
void machine_verify_request(struct machine *machine, const struct arrival *arrival)
{
    const struct header *header = &arrival->header;
    struct checksum *checksum = &machine->verification.checksum;

    if (machine->group != GROUP_CONFIGURATION)
        return;
    if (header->body_size != VERIFY_REQUEST_SIZE) {
        machine_stop(machine, MODE_LEAVE, "malformed request for a verification");
        return;
    }
    *checksum = (struct checksum){
        .wanted = true,
        .own = same_member(&arrival->sender, &machine->self),
        .id = get_le64(header->body),
        .epoch = header->epoch,
    };
    if (checksum->own && checksum->id == machine->verification.id)
        machine->verification.pending = false;
    machine_push(machine, (struct action){.type = ACTION_CHECKSUM});
}

void machine_checksum(struct machine *machine, const uint8_t digest[DIGEST_SIZE], uint32_t time)
{
    struct checksum *checksum = &machine->verification.checksum;
    uint8_t body[VERIFY_SIZE];

    if (!checksum->wanted)
        return;
    checksum->wanted = false;
    checksum->known = true;
    memcpy(checksum->digest, digest, DIGEST_SIZE);
    if (!checksum->own)
        return;
    put_le64(body, checksum->id);
    memcpy(body + 8, digest, DIGEST_SIZE);
    machine_push_send(machine, SEND_SYNC,
                      wire_build_sync(MESSAGE_VERIFY, machine_protocol(machine), &checksum->epoch,
                                      time, body, sizeof(body)));
}

/* doc/cluster.md, "compare" */
void machine_compare_checksum(struct machine *machine, const struct arrival *arrival)
{
    const struct header *header = &arrival->header;
    const struct checksum *checksum = &machine->verification.checksum;

    if (machine->group != GROUP_CONFIGURATION)
        return;
    if (header->body_size != VERIFY_SIZE) {
        machine_stop(machine, MODE_LEAVE, "malformed verification");
        return;
    }
    if (!checksum->known || checksum->id != get_le64(header->body) ||
        !same_epoch(&checksum->epoch, &header->epoch))
        return;
    if (memcmp(checksum->digest, header->body + 8, DIGEST_SIZE) == 0) {
        machine->verification.counts.equal++;
        machine_push_log(machine, LOG_INFO, "data verification successful");
    } else {
        machine->verification.counts.different++;
        machine_stop(machine, MODE_LEAVE, "data verification failed: this node's data differs");
    }
}
