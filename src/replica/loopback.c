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
    replica_post_message(loopback->replica, loopback->self, message);
    return 0;
}

/* Nothing makes a group of one leave but a message of its own that is malformed; it is back at
 * once. */
static void loopback_leave(struct transport *transport, int stay_out)
{
    struct loopback *loopback = container_of(transport, struct loopback, transport);

    (void)stay_out;
    replica_post_connected(loopback->replica, loopback->self);
    replica_post_configuration(loopback->replica, &loopback->self, 1, &loopback->self, 1);
}

void loopback_start(struct loopback *loopback, struct replica *replica, struct member self)
{
    *loopback = (struct loopback){
        .transport = {.multicast = loopback_multicast, .leave = loopback_leave},
        .replica = replica,
        .self = self,
    };
    replica_set_transport(replica, &loopback->transport);
    replica_post_quorum(replica, true);
    replica_post_configuration(replica, &self, 1, &self, 1);
    replica_run(replica);
}
