/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A client's subscription to the change feed (doc/ipc.md, request 100). */
#ifndef PMXCFS_SOCKET_SUBSCRIPTION_H
#define PMXCFS_SOCKET_SUBSCRIPTION_H

#include <qb/qbipcs.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "status/status.h"

#define REQUEST_SUBSCRIBE 100

/* All zero: not subscribed. The socket's thread alone. */
struct subscription {
    bool active;
    uint64_t position; /* in the feed */
    uint64_t missed;   /* records that it was too slow for, still to be told */
    char *line;        /* the next event, which did not fit; free() it */
    bool sent;         /* the last subscription_send() sent something */
};

/* Starts it: `data` is a u64 version to go on from, or nothing: from now on. 0 or -EINVAL. */
int subscription_start(struct subscription *subscription, struct status *status,
                       const uint8_t *data, size_t size);

/* Sends what there is as events, some hundreds at most. 0: all; -EAGAIN: more is to be sent, or the
 * client has to read first. Another negative errno: the client is gone. `all`: private paths too.
 */
int subscription_send(struct subscription *subscription, qb_ipcs_connection_t *handle,
                      struct status *status, bool all);

void subscription_clear(struct subscription *subscription);

#endif
