/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The transport of local mode: a group of one, whose messages are delivered at once. */
#include "replica/loopback.h"

#include "base/util.h"

static int loopback_multicast(struct transport *transport, struct buffer *message,
                              enum send_kind kind, uint64_t count)
{
    struct loopback *loopback = container_of(transport, struct loopback, transport);

    (void)kind;
    (void)count;
    replica_post(loopback->replica, event_message(loopback->self, message));
    return 0;
}

/* Nothing makes a group of one leave but a message of its own that is malformed; it is back at
 * once. */
static void loopback_leave(struct transport *transport, int stay_out)
{
    struct loopback *loopback = container_of(transport, struct loopback, transport);

    (void)stay_out;
    replica_post(loopback->replica, event_connected(loopback->self));
    replica_post(loopback->replica, event_configuration(&loopback->self, 1, &loopback->self, 1));
}

void loopback_start(struct loopback *loopback, struct replica *replica, struct member self)
{
    *loopback = (struct loopback){
        .transport = {.multicast = loopback_multicast, .leave = loopback_leave},
        .replica = replica,
        .self = self,
    };
    replica_set_transport(replica, &loopback->transport);
    replica_post(replica, event_quorum(true));
    replica_post(replica, event_configuration(&self, 1, &self, 1));
    replica_run(replica);
}
