/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How the whole daemon fares: the answer of request 101 (doc/ipc.md). */
#include "socket/overview.h"

#include <glib.h>
#include <jansson.h>
#include <unistd.h>

#include "cluster/corosync.h"
#include "core/limits.h"
#include "history/recorder.h"
#include "replica/metrics.h"
#include "status/json_text.h"
#include "store/metrics.h"

static const char *mode_text(const struct replica_status *status)
{
    switch (status->mode) {
    case MODE_START:
        return status->joined ? "joining" : "not joined";
    case MODE_START_SYNC:
        return "comparing";
    case MODE_SYNCED:
        return "in sync";
    case MODE_UPDATE:
        return "taking over";
    case MODE_LEAVE:
        return "leaving";
    case MODE_VERSION_ERROR:
        return "outdated";
    }
    return "unknown";
}

/* What the host's other software tells of itself, a value that clients set: {"version": TEXT, ...}.
 * NULL: nothing, or not of that form. */
static json_t *host_version(struct status *status, const char *node)
{
    struct buffer *value = status_get(status, node, "version-info");
    json_t *object =
        value ? json_loadb((const char *)value->data, value->capacity, JSON_DISABLE_EOF_CHECK, NULL)
              : NULL;
    json_t *version = json_incref(json_object_get(object, "version"));

    buffer_unref(value);
    json_decref(object);
    if (json_is_string(version))
        return version;
    json_decref(version);
    return NULL;
}

static void add_release(const struct request_sources *sources, json_t *object, uint32_t node,
                        const char *name)
{
    g_autofree char *release = status_release_of(sources->status, node);
    json_t *host = name ? host_version(sources->status, name) : NULL;

    json_text_set_string(object, "release", release);
    json_text_set(object, "host_version", host ? host : json_null());
}

static void add_member(const struct request_sources *sources, json_t *list,
                       const struct replica_member *known)
{
    json_t *object = json_object();
    g_autofree char *name = status_name_of(sources->status, known->member.node);
    int64_t ahead;

    json_text_set_string(object, "name", name);
    json_text_set_number(object, "id", known->member.node);
    json_text_set_number(object, "pid", known->member.pid);
    json_text_set(object, "in_sync", json_boolean(known->synced));
    json_text_set(object, "confirms", json_boolean(known->confirms));
    json_text_set_number(object, "since", known->since);
    json_text_set(object, "clock_offset",
                  status_clock_of(sources->status, known->member.node, &ahead)
                      ? json_integer((json_int_t)ahead)
                      : json_null());
    add_release(sources, object, known->member.node, name);
    json_array_append_new(list, object);
}

/* The group, which is not the node list: a node can be online and not be in it yet. */
static json_t *group_array(const struct request_sources *sources)
{
    g_autoptr(GArray) members = replica_members(sources->replica);
    json_t *list = json_array();

    for (guint i = 0; i < members->len; i++)
        add_member(sources, list, &g_array_index(members, struct replica_member, i));
    return list;
}

static json_t *limit_object(uint64_t used, uint64_t limit)
{
    json_t *object = json_object();

    json_text_set_number(object, "used", used);
    json_text_set_number(object, "limit", limit);
    return object;
}

static json_t *sizes_object(const struct request_sources *sources,
                            const struct replica_sizes *sizes)
{
    json_t *object = json_object();
    json_t *database = json_object();
    struct store_file files[STORE_FILES_MAX];
    size_t count = store_files(sources->store, files);

    for (size_t i = 0; i < count; i++)
        json_text_set_number(database, files[i].name, files[i].bytes);
    json_text_set(object, "content", limit_object(sizes->bytes, CONTENT_MAX));
    json_text_set(object, "entries", limit_object(sizes->entries, INODES_MAX));
    json_text_set(object, "database", database);
    return object;
}

static json_t *queues_object(const struct request_sources *sources,
                             const struct replica_status *status)
{
    json_t *object = json_object();

    json_text_set_number(object, "callers", status->waiting);
    json_text_set_number(object, "held", status->held);
    json_text_set_number(object, "synchronisation", status->queued);
    json_text_set_number(object, "configuration_group",
                         corosync_outbox(sources->corosync, GROUP_CONFIGURATION));
    json_text_set_number(object, "status_group", corosync_outbox(sources->corosync, GROUP_STATUS));
    return object;
}

static json_t *verification_object(struct replica *replica, const struct replica_status *status)
{
    struct replica_checksum checksum;
    json_t *object = json_object();
    char hex[2 * DIGEST_SIZE + 1] = "";

    replica_get_checksum(replica, &checksum);
    for (size_t i = 0; i < DIGEST_SIZE && checksum.time; i++)
        g_snprintf(hex + 2 * i, 3, "%02x", checksum.digest[i]);
    json_text_set_number(object, "equal", status->verifications.equal);
    json_text_set_number(object, "different", status->verifications.different);
    json_text_set(object, "may_ask", json_boolean(status->lowest));
    json_text_set_string(object, "checksum", checksum.time ? hex : NULL);
    json_text_set(object, "version",
                  checksum.time ? json_integer((json_int_t)checksum.version) : json_null());
    json_text_set(object, "time", checksum.time ? json_integer(checksum.time) : json_null());
    return object;
}

/* null: none is written. */
static json_t *history_object(struct recorder *recorder)
{
    struct recorder_status status;

    if (!recorder)
        return json_null();
    json_t *object = json_object();
    recorder_get_status(recorder, &status);
    json_text_set_string(object, "path", status.path);
    json_text_set_number(object, "bytes", status.bytes);
    json_text_set_number(object, "complete", (uint64_t)status.complete);
    json_text_set_number(object, "left_out", status.left_out);
    json_text_set_number(object, "asked", status.taken);
    json_text_set_number(object, "written", status.written);
    json_text_set(object, "failing", json_boolean(status.failing));
    return object;
}

struct buffer *overview_history_text(struct recorder *recorder)
{
    return json_text_buffer(history_object(recorder), JSON_COMPACT);
}

static json_t *clients_object(const struct socket_metrics *metrics)
{
    json_t *object = json_object();

    json_text_set_number(object, "connections", counter_get(&metrics->clients));
    json_text_set_number(object, "subscribers", counter_get(&metrics->subscribers));
    return object;
}

static json_t *versions_object(struct status *status, uint64_t tree_version)
{
    json_t *object = json_object();
    struct status_counters counters;

    status_get_counters(status, &counters);
    json_text_set_number(object, "tree", tree_version);
    json_text_set_number(object, "clinfo", counters.clinfo);
    json_text_set_number(object, "vmlist", counters.vmlist);
    return object;
}

struct buffer *overview_text(const struct request_sources *sources)
{
    struct replica_status replica;
    struct replica_sizes sizes;
    json_t *object = json_object();
    const char *node = status_node_name(sources->status);
    /* Without a cluster; in one the node list tells. */
    g_autofree char *old_name = sources->corosync ? NULL : replica_old_name(sources->replica, node);

    replica_get_status(sources->replica, &replica);
    replica_get_sizes(sources->replica, &sizes);
    json_text_set_string(object, "node", node);
    json_text_set_string(object, "release", PMXCFS_VERSION);
    json_text_set_number(object, "pid", (uint64_t)getpid());
    json_text_set_number(object, "started", status_start_time(sources->status));
    json_text_set_string(object, "mountpoint", sources->mountpoint);
    json_text_set_string(object, "state_dir", sources->state_dir);
    json_text_set(object, "local", json_boolean(!sources->corosync));
    json_text_set_string(object, "old_name", old_name);
    json_text_set(object, "connected", json_boolean(!sources->corosync || replica.connected));
    json_text_set(object, "quorate", json_boolean(replica.quorate));
    json_text_set_number(object, "quorate_since", replica.quorum_since);
    json_text_set(object, "joined", json_boolean(replica.joined));
    json_text_set_string(object, "state", mode_text(&replica));
    json_text_set_number(object, "state_since", replica.mode_since);
    json_text_set_string(object, "acknowledge", replica.acknowledge_all ? "all" : "own");
    json_text_set(object, "database_ok", json_boolean(!replica.broken));
    json_text_set(object, "versions", versions_object(sources->status, sizes.version));
    json_text_set(object, "group", group_array(sources));
    json_text_set(object, "sizes", sizes_object(sources, &sizes));
    json_text_set_number(object, "guests", sizes.guests);
    json_text_set_number(object, "locks", sizes.locks);
    json_text_set(object, "queues", queues_object(sources, &replica));
    json_text_set(object, "clients", clients_object(sources->metrics));
    json_text_set(object, "history", history_object(sources->recorder));
    json_text_set(object, "verification", verification_object(sources->replica, &replica));
    return json_text_buffer(object, JSON_COMPACT);
}
