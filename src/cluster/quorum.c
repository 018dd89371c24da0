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
    corosync->quorum_changed = corosync->quorum_changed || corosync->quorate != (quorate != 0);
    corosync->quorate = quorate != 0;
}

static int start_tracking(struct corosync *corosync)
{
    cs_error_t result = quorum_context_set(corosync->quorum, corosync);

    if (result == CS_OK)
        result = quorum_fd_get(corosync->quorum, &corosync->quorum_fd);
    if (result == CS_OK)
        result = quorum_trackstart(corosync->quorum, CS_TRACK_CURRENT | CS_TRACK_CHANGES);
    return result == CS_OK ? 0 : -ENOTCONN;
}

int quorum_open(struct corosync *corosync)
{
    quorum_callbacks_t callbacks = {.quorum_notify_fn = quorum_notified};
    uint32_t type = QUORUM_FREE;

    if (quorum_initialize(&corosync->quorum, &callbacks, &type) != CS_OK)
        return -ENOTCONN;
    corosync->quorum_open = true;
    corosync->quorate = false;
    corosync->quorum_changed = true; /* whatever was known before is over */
    if (type != QUORUM_SET) {
        log_error("corosync has no quorum provider: corosync.conf needs a section 'quorum' with "
                  "'provider: corosync_votequorum'");
        return -ENOTCONN;
    }
    return start_tracking(corosync);
}

void quorum_close(struct corosync *corosync)
{
    if (corosync->quorum_open)
        quorum_finalize(corosync->quorum);
    corosync->quorum_open = false;
    corosync->quorum_changed = corosync->quorum_changed || corosync->quorate;
    corosync->quorate = false;
}

int quorum_poll(struct corosync *corosync)
{
    cs_error_t result = quorum_dispatch(corosync->quorum, CS_DISPATCH_ALL);

    if (result == CS_OK || result == CS_ERR_TRY_AGAIN)
        return 0;
    log_warning("corosync: connection for quorum lost: %s", cs_strerror(result));
    return -ENOTCONN;
}
