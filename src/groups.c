/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Cluster mode: ties the replica and the status to corosync's two process groups. */
#include "groups.h"

#include <errno.h>

#include "base/util.h"

/* --- The configuration group: the replica's --- */

static struct replica *replica_of(struct group_consumer *consumer)
{
    return container_of(consumer, struct groups, configuration_consumer)->replica;
}

static bool configuration_ready(struct group_consumer *consumer)
{
    return replica_is_ready(replica_of(consumer));
}

static void configuration_connected(struct group_consumer *consumer, struct member self)
{
    replica_post_connected(replica_of(consumer), self);
}

static void configuration_disconnected(struct group_consumer *consumer)
{
    replica_post_disconnected(replica_of(consumer));
}

static void configuration_changed(struct group_consumer *consumer, const struct member *members,
                                  size_t member_count, const struct member *joined,
                                  size_t joined_count)
{
    replica_post_configuration(replica_of(consumer), members, member_count, joined, joined_count);
}

static void configuration_message(struct group_consumer *consumer, struct member sender,
                                  struct buffer *message)
{
    replica_post_message(replica_of(consumer), sender, message);
}

static void configuration_send_failed(struct group_consumer *consumer, enum send_kind kind,
                                      uint64_t count)
{
    replica_post_send_failed(replica_of(consumer), kind, count);
}

static void configuration_verify(struct group_consumer *consumer)
{
    replica_post_verify(replica_of(consumer));
}

static void configuration_run(struct group_consumer *consumer)
{
    replica_run(replica_of(consumer));
}

/* --- The status group --- */

static struct status_group *status_group_of(struct group_consumer *consumer)
{
    return container_of(consumer, struct groups, status_consumer)->status_group;
}

static void status_connected(struct group_consumer *consumer, struct member self)
{
    status_group_restart(status_group_of(consumer), self);
}

static void status_disconnected(struct group_consumer *consumer)
{
    status_group_disconnected(status_group_of(consumer));
}

static void status_changed(struct group_consumer *consumer, const struct member *members,
                           size_t member_count, const struct member *joined, size_t joined_count)
{
    status_group_configuration(status_group_of(consumer), members, member_count, joined,
                               joined_count);
}

static void status_message(struct group_consumer *consumer, struct member sender,
                           struct buffer *message)
{
    status_group_deliver(status_group_of(consumer), sender, message);
}

static void status_send_failed(struct group_consumer *consumer, enum send_kind kind, uint64_t count)
{
    (void)count; /* no caller waits for a status message */
    status_group_send_failed(status_group_of(consumer), kind);
}

/* --- Neither group's --- */

static void on_quorum(struct corosync_listener *listener, bool quorate)
{
    replica_post_quorum(container_of(listener, struct groups, listener)->replica, quorate);
}

static void on_nodes(struct corosync_listener *listener, uint32_t own_id, const char *cluster_name,
                     uint64_t config_version, const struct corosync_node *nodes, size_t count)
{
    struct groups *groups = container_of(listener, struct groups, listener);
    g_autofree struct cluster_node *copies = g_new(struct cluster_node, count);

    for (size_t i = 0; i < count; i++)
        copies[i] = (struct cluster_node){
            .id = nodes[i].id, .votes = nodes[i].votes, .name = nodes[i].name};
    status_set_own_id(groups->status, own_id);
    status_set_nodes(groups->status, cluster_name, config_version, copies, count);
}

/* --- Start and stop --- */

void groups_init(struct groups *groups, struct replica *replica, struct status *status,
                 struct clock_source *clock, uint64_t rejoin_delay, uint64_t verify_interval,
                 struct status_group **status_group)
{
    *groups = (struct groups){
        .replica = replica,
        .status = status,
        .configuration_consumer = {.ready = configuration_ready,
                                   .connected = configuration_connected,
                                   .disconnected = configuration_disconnected,
                                   .configuration = configuration_changed,
                                   .message = configuration_message,
                                   .send_failed = configuration_send_failed,
                                   .verify = configuration_verify,
                                   .run = configuration_run},
        .status_consumer = {.connected = status_connected,
                            .disconnected = status_disconnected,
                            .configuration = status_changed,
                            .message = status_message,
                            .send_failed = status_send_failed},
        .listener = {.quorum = on_quorum, .nodes = on_nodes},
    };
    groups->corosync = corosync_new(&(struct corosync_options){
        .rejoin_delay = rejoin_delay,
        .verify_interval = verify_interval,
        .configuration = &groups->configuration_consumer,
        .status = &groups->status_consumer,
        .listener = &groups->listener,
    });
    groups->status_group = status_group_new(
        status, corosync_transport(groups->corosync, GROUP_STATUS), clock, (struct member){0});
    *status_group = groups->status_group;
    replica_set_transport(replica, corosync_transport(groups->corosync, GROUP_CONFIGURATION));
}

int groups_start(struct groups *groups)
{
    return corosync_start(groups->corosync);
}

int groups_stop(struct groups *groups, uint64_t milliseconds)
{
    /* An abandoned thread calls nobody: as good as ended. */
    int error = corosync_stop(groups->corosync, milliseconds);
    return error == -ETIMEDOUT ? 0 : error;
}

void groups_free(struct groups *groups)
{
    corosync_free(groups->corosync);
    groups->corosync = NULL;
}
