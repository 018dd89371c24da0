/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Quorum, from libquorum. */
#include <errno.h>

#include "base/log.h"
#include "cluster/corosync_client.h"

static void quorum_notified(quorum_handle_t handle, uint32_t quorate, uint64_t ring,
                            uint32_t node_count, uint32_t *nodes)
{
    const void *context = NULL;

    (void)ring;
    (void)node_count;
    (void)nodes;
    if (quorum_context_get(handle, &context) != CS_OK || !context)
        return;
    struct corosync *corosync = (struct corosync *)context;
    corosync->quorum.changed =
        corosync->quorum.changed || corosync->quorum.quorate != (quorate != 0);
    corosync->quorum.quorate = quorate != 0;
}

static int start_tracking(struct corosync *corosync)
{
    cs_error_t result = quorum_context_set(corosync->quorum.handle, corosync);

    if (result == CS_OK)
        result = quorum_fd_get(corosync->quorum.handle, &corosync->quorum.fd);
    if (result == CS_OK)
        result = quorum_trackstart(corosync->quorum.handle, CS_TRACK_CURRENT | CS_TRACK_CHANGES);
    return result == CS_OK ? 0 : -ENOTCONN;
}

int quorum_open(struct corosync *corosync)
{
    quorum_callbacks_t callbacks = {.quorum_notify_fn = quorum_notified};
    uint32_t type = QUORUM_FREE;

    if (quorum_initialize(&corosync->quorum.handle, &callbacks, &type) != CS_OK)
        return -ENOTCONN;
    corosync->quorum.open = true;
    corosync->quorum.quorate = false;
    corosync->quorum.changed = true; /* whatever was known before is over */
    if (type != QUORUM_SET) {
        log_error("corosync has no quorum provider: corosync.conf needs a section 'quorum' with "
                  "'provider: corosync_votequorum'");
        return -ENOTCONN;
    }
    return start_tracking(corosync);
}

void quorum_close(struct corosync *corosync)
{
    if (corosync->quorum.open)
        quorum_finalize(corosync->quorum.handle);
    corosync->quorum.open = false;
    corosync->quorum.changed = corosync->quorum.changed || corosync->quorum.quorate;
    corosync->quorum.quorate = false;
}

int quorum_poll(struct corosync *corosync)
{
    cs_error_t result = quorum_dispatch(corosync->quorum.handle, CS_DISPATCH_ALL);

    if (result == CS_OK || result == CS_ERR_TRY_AGAIN)
        return 0;
    log_warning("corosync: connection for quorum lost: %s", cs_strerror(result));
    return -ENOTCONN;
}
