/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of .metrics that the process groups have to tell. */
#include "cluster/metrics.h"

#include <stddef.h>

#include "base/open_metrics.h"
#include "cluster/corosync.h"

static const char *const names[] = {
    [GROUP_CONFIGURATION] = "configuration",
    [GROUP_STATUS] = "status",
};

const char *group_name(enum machine_group group)
{
    return names[group];
}

/* One counter of both groups; nothing was counted in local mode. `offset`: of the counter. */
static void add_counter(struct open_metrics *metrics, const struct corosync *corosync,
                        const char *name, const char *unit, const char *help, size_t offset)
{
    open_metrics_family(metrics, name, OPEN_METRICS_COUNTER, unit, help);
    for (int i = 0; i < 2; i++) {
        uint64_t count = 0;
        if (corosync) {
            const struct group_metrics *group = corosync_metrics(corosync, (enum machine_group)i);
            count = counter_get((const struct counter *)((const char *)group + offset));
        }
        open_metrics_counter(metrics, "group", names[i], count);
    }
}

void corosync_metrics_write(const struct corosync *corosync, struct open_metrics *metrics)
{
    add_counter(metrics, corosync, "pmxcfs_messages_sent", NULL, "Messages that corosync took.",
                offsetof(struct group_metrics, sent));
    add_counter(metrics, corosync, "pmxcfs_sent_bytes", "bytes", "Their bytes.",
                offsetof(struct group_metrics, sent_bytes));
    add_counter(metrics, corosync, "pmxcfs_messages_received", NULL,
                "Messages that corosync delivered, own ones among them.",
                offsetof(struct group_metrics, received));
    add_counter(metrics, corosync, "pmxcfs_received_bytes", "bytes", "Their bytes.",
                offsetof(struct group_metrics, received_bytes));
    add_counter(metrics, corosync, "pmxcfs_send_retries", NULL,
                "How often corosync took a message not yet (TRY_AGAIN).",
                offsetof(struct group_metrics, retries));
    add_counter(metrics, corosync, "pmxcfs_messages_given_up", NULL,
                "Messages that corosync did not take in time.",
                offsetof(struct group_metrics, given_up));
    add_counter(metrics, corosync, "pmxcfs_group_joins", NULL, "How often the group was joined.",
                offsetof(struct group_metrics, joins));
}
