/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A client's subscription to the change feed (doc/ipc.md, request 100). */
#include "socket/subscription.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

/* Events in a row, so that one subscriber does not keep the others' requests waiting. */
#define EVENTS_MAX 200

int subscription_start(struct subscription *subscription, struct status *status,
                       const uint8_t *data, size_t size)
{
    if (size != 0 && size != sizeof(uint64_t))
        return -EINVAL;
    uint64_t version = size ? get_le64(data) : UINT64_MAX;
    subscription_clear(subscription);
    subscription->position = status_feed_position(status, version, &subscription->missed);
    subscription->active = true;
    return 0;
}

void subscription_clear(struct subscription *subscription)
{
    free(subscription->line);
    *subscription = (struct subscription){0};
}

/* The next line to send, in subscription->line: false if there is none. What was missed is told
 * before what comes after it. */
static bool next_line(struct subscription *subscription, struct status *status, bool all)
{
    uint64_t missed;

    if (subscription->line)
        return true;
    if (subscription->missed == 0) {
        uint64_t position = subscription->position;
        char *line = status_feed_next(status, &position, all, &missed);
        subscription->missed = missed;
        if (missed == 0) {
            subscription->position = position;
            subscription->line = line;
            return line != NULL;
        }
        /* It is read again when the gap has been told; by then it may be wider. */
        subscription->position += missed;
        free(line);
    }
    if (asprintf(&subscription->line, "{\"operation\":\"missed\",\"count\":%" PRIu64 "}",
                 subscription->missed) < 0)
        subscription->line = NULL;
    subscription->missed = 0;
    return subscription->line != NULL;
}

static int send_event(qb_ipcs_connection_t *handle, const char *line)
{
    struct qb_ipc_response_header header = {.id = REQUEST_SUBSCRIBE};
    struct iovec parts[2] = {
        {.iov_base = &header, .iov_len = sizeof(header)},
        {.iov_base = (char *)line, .iov_len = strlen(line)},
    };

    header.size = (int32_t)(sizeof(header) + parts[1].iov_len);
    ssize_t sent = qb_ipcs_event_sendv(handle, parts, 2);
    return sent < 0 ? (int)sent : 0;
}

int subscription_send(struct subscription *subscription, qb_ipcs_connection_t *handle,
                      struct status *status, bool all)
{
    subscription->sent = false;
    for (int i = 0; i < EVENTS_MAX; i++) {
        if (!next_line(subscription, status, all))
            return 0;
        int error = send_event(handle, subscription->line);
        if (error == -EAGAIN || error == -ENOBUFS || error == -ETIMEDOUT)
            return -EAGAIN;
        if (error && error != -EMSGSIZE)
            return error;
        /* Another member's change may have a path that no client has room for. */
        subscription->missed += error ? 1 : 0;
        subscription->sent = !error || subscription->sent;
        free(subscription->line);
        subscription->line = NULL;
    }
    return -EAGAIN;
}
