/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the daemon tells of itself as a whole: .metrics, and the answer of request 101. */
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "core/limits.h"
#include "core/tree.h"
#include "status/json_text.h"

/* For so long a text of .metrics is given out again: it may be 2 s old. */
#define TEXT_MILLISECONDS 1000u

static struct report *report_of(struct overview *overview)
{
    return container_of(overview, struct report, overview);
}

void report_gather(const struct report *report, struct report_facts *facts)
{
    const struct report_parts *parts = &report->parts;

    *facts = (struct report_facts){0};
    replica_get_status(parts->replica, &facts->replica);
    replica_get_checksum(parts->replica, &facts->checksum);
    status_get_counters(parts->status, &facts->counters);
    const struct state *state = replica_read_lock(parts->replica);
    facts->version = state->tree->root.version;
    facts->bytes = state->tree->bytes;
    facts->entries = tree_entry_count(state->tree);
    facts->guests = g_hash_table_size(state->guests.by_id);
    facts->locks = g_hash_table_size(state->locks);
    replica_read_unlock(parts->replica);
    for (int i = 0; parts->corosync && i < 2; i++)
        facts->outbox[i] = corosync_outbox(parts->corosync, (enum machine_group)i);
}

static void file_free(gpointer data)
{
    struct report_file *file = data;

    g_free(file->name);
    g_free(file);
}

static bool is_known(const GPtrArray *files, const char *name)
{
    for (guint i = 0; i < files->len; i++) {
        if (strcmp(((const struct report_file *)files->pdata[i])->name, name) == 0)
            return true;
    }
    return false;
}

/* Adds the file of a descriptor, if it is one of the database's. */
static void add_file(GPtrArray *files, const char *descriptor)
{
    g_autofree char *path = g_strconcat("/proc/self/fd/", descriptor, NULL);
    g_autofree char *target = g_file_read_link(path, NULL);
    const char *slash = target ? strrchr(target, '/') : NULL;
    struct stat info;

    if (!slash || !g_str_has_prefix(slash + 1, "config.db") || strchr(slash, ' ') ||
        is_known(files, slash + 1) || fstat(atoi(descriptor), &info) != 0)
        return;
    struct report_file *file = g_new(struct report_file, 1);
    *file = (struct report_file){g_strdup(slash + 1), (uint64_t)info.st_size};
    g_ptr_array_add(files, file);
}

GPtrArray *report_files(void)
{
    GPtrArray *files = g_ptr_array_new_with_free_func(file_free);
    GDir *descriptors = g_dir_open("/proc/self/fd", 0, NULL);
    const char *name;

    while (descriptors && (name = g_dir_read_name(descriptors)))
        add_file(files, name);
    if (descriptors)
        g_dir_close(descriptors);
    return files;
}

/* --- Request 101 --- */

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *text(const char *value)
{
    return json_text_string(value, strlen(value));
}

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
    case MODE_ERROR:
        return "error";
    }
    return "unknown";
}

static void add_member(const struct report *report, json_t *list,
                       const struct replica_member *known)
{
    json_t *object = json_object();
    g_autofree char *name = status_name_of(report->parts.status, known->member.node);

    json_text_set(object, "name", name ? text(name) : json_null());
    json_text_set(object, "id", number(known->member.node));
    json_text_set(object, "pid", number(known->member.pid));
    json_text_set(object, "in_sync", json_boolean(known->synced));
    json_text_set(object, "since", number(known->since));
    json_array_append_new(list, object);
}

/* The group, which is not the node list: a node can be online and not be in it yet. */
static json_t *group_array(const struct report *report)
{
    g_autoptr(GArray) members = replica_members(report->parts.replica);
    json_t *list = json_array();

    for (guint i = 0; i < members->len; i++)
        add_member(report, list, &g_array_index(members, struct replica_member, i));
    return list;
}

static json_t *limit_object(uint64_t used, uint64_t limit)
{
    json_t *object = json_object();

    json_text_set(object, "used", number(used));
    json_text_set(object, "limit", number(limit));
    return object;
}

static json_t *sizes_object(const struct report_facts *facts)
{
    json_t *object = json_object();
    json_t *database = json_object();
    g_autoptr(GPtrArray) files = report_files();

    for (guint i = 0; i < files->len; i++) {
        const struct report_file *file = files->pdata[i];
        json_text_set(database, file->name, number(file->bytes));
    }
    json_text_set(object, "content", limit_object(facts->bytes, CONTENT_MAX));
    json_text_set(object, "entries", limit_object(facts->entries, INODES_MAX));
    json_text_set(object, "database", database);
    return object;
}

static json_t *queues_object(const struct report_facts *facts)
{
    json_t *object = json_object();

    json_text_set(object, "callers", number(facts->replica.waiting));
    json_text_set(object, "held", number(facts->replica.held));
    json_text_set(object, "synchronisation", number(facts->replica.queued));
    json_text_set(object, "configuration_group", number(facts->outbox[GROUP_CONFIGURATION]));
    json_text_set(object, "status_group", number(facts->outbox[GROUP_STATUS]));
    return object;
}

static json_t *verification_object(const struct report_facts *facts)
{
    const struct replica_checksum *checksum = &facts->checksum;
    json_t *object = json_object();
    char hex[2 * DIGEST_SIZE + 1] = "";

    for (size_t i = 0; i < DIGEST_SIZE && checksum->time; i++)
        g_snprintf(hex + 2 * i, 3, "%02x", checksum->digest[i]);
    json_text_set(object, "equal", number(facts->replica.verifications.equal));
    json_text_set(object, "different", number(facts->replica.verifications.different));
    json_text_set(object, "may_ask", json_boolean(facts->replica.lowest));
    json_text_set(object, "checksum", checksum->time ? text(hex) : json_null());
    json_text_set(object, "version", checksum->time ? number(checksum->version) : json_null());
    json_text_set(object, "time", checksum->time ? number(checksum->time) : json_null());
    return object;
}

static json_t *clients_object(const struct socket_metrics *metrics)
{
    json_t *object = json_object();

    json_text_set(
        object, "connections",
        number(counter_get(&metrics->clients_come) - counter_get(&metrics->clients_gone)));
    json_text_set(
        object, "subscribers",
        number(counter_get(&metrics->subscribers_come) - counter_get(&metrics->subscribers_gone)));
    return object;
}

static json_t *versions_object(const struct report_facts *facts)
{
    json_t *object = json_object();

    json_text_set(object, "tree", number(facts->version));
    json_text_set(object, "clinfo", number(facts->counters.clinfo));
    json_text_set(object, "vmlist", number(facts->counters.vmlist));
    return object;
}

static struct buffer *make_status(struct overview *overview)
{
    const struct report *report = report_of(overview);
    const struct report_parts *parts = &report->parts;
    struct report_facts facts;
    json_t *object = json_object();

    report_gather(report, &facts);
    json_text_set(object, "node", text(status_node_name(parts->status)));
    json_text_set(object, "release", text(PMXCFS_VERSION));
    json_text_set(object, "pid", number((uint64_t)getpid()));
    json_text_set(object, "started", number(status_start_time(parts->status)));
    json_text_set(object, "mountpoint", text(parts->mountpoint));
    json_text_set(object, "state_dir", text(parts->state_dir));
    json_text_set(object, "local", json_boolean(!parts->corosync));
    json_text_set(object, "quorate", json_boolean(facts.replica.quorate));
    json_text_set(object, "quorate_since", number(facts.replica.quorum_since));
    json_text_set(object, "joined", json_boolean(facts.replica.joined));
    json_text_set(object, "state", text(mode_text(&facts.replica)));
    json_text_set(object, "state_since", number(facts.replica.mode_since));
    json_text_set(object, "database_ok", json_boolean(!facts.replica.broken));
    json_text_set(object, "versions", versions_object(&facts));
    json_text_set(object, "group", group_array(report));
    json_text_set(object, "sizes", sizes_object(&facts));
    json_text_set(object, "guests", number(facts.guests));
    json_text_set(object, "locks", number(facts.locks));
    json_text_set(object, "queues", queues_object(&facts));
    json_text_set(object, "clients", clients_object(parts->socket));
    json_text_set(object, "verification", verification_object(&facts));
    return json_text_buffer(object, JSON_COMPACT);
}

/* --- The others --- */

static struct buffer *get_metrics(struct overview *overview)
{
    struct report *report = report_of(overview);
    uint64_t now = report->parts.clock->milliseconds(report->parts.clock);

    pthread_mutex_lock(&report->lock);
    if (!report->text || now - report->made >= TEXT_MILLISECONDS) {
        buffer_unref(report->text);
        report->text = report_make_metrics(report);
        report->made = now;
    }
    struct buffer *metrics = buffer_ref(report->text);
    pthread_mutex_unlock(&report->lock);
    return metrics;
}

static int verify(struct overview *overview)
{
    const struct report_parts *parts = &report_of(overview)->parts;
    struct replica_status status;

    if (!parts->corosync)
        return -EOPNOTSUPP;
    replica_get_status(parts->replica, &status);
    if (status.mode != MODE_SYNCED)
        return -EAGAIN;
    if (!status.lowest)
        return -EPERM;
    corosync_verify(parts->corosync);
    return 0;
}

void report_init(struct report *report, const struct report_parts *parts)
{
    *report = (struct report){
        .overview = {.metrics = get_metrics, .status = make_status, .verify = verify},
        .parts = *parts,
    };
    pthread_mutex_init(&report->lock, NULL);
}

void report_clear(struct report *report)
{
    buffer_unref(report->text);
    pthread_mutex_destroy(&report->lock);
}
