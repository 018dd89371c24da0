/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files that talk to corosync share among themselves: waking their thread, and the right
 * to call consumers. */
#include "cluster/corosync_client.h"

#include <unistd.h>

void corosync_wake(struct corosync *corosync)
{
    uint64_t one = 1;
    ssize_t written = write(corosync->wake, &one, sizeof(one));

    (void)written; /* it can only be full, and then the thread wakes up as well */
}

bool corosync_begin_calls(struct corosync *corosync)
{
    LOCKED(&corosync->calls);
    corosync->calling = !corosync->abandoned;
    return corosync->calling;
}

void corosync_end_calls(struct corosync *corosync)
{
    LOCKED(&corosync->calls);
    corosync->calling = false;
    pthread_cond_signal(&corosync->changed);
}
