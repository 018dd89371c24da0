/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What this node knows beside the tree, and the texts made of it: the thread-safe whole. */
#include "status/status.h"

#include <errno.h>
#include <string.h>

#include "base/lock.h"
#include "base/metrics.h"
#include "base/open_metrics.h"
#include "base/util.h"
#include "status/cached_text.h"
#include "status/feed.h"
#include "status/json_text.h"
#include "status/key_values.h"
#include "status/versions.h"

#define PRETTY JSON_INDENT(1)

#define FIRST_ENTRY_PRIORITY 6u

/* A .rrd text of this many bytes and more is kept for RRD_TEXT_MILLISECONDS even if values came. */
#define RRD_TEXT_LARGE (256u * 1024)
#define RRD_TEXT_MILLISECONDS 2000u

enum status_text {
    TEXT_VERSION,
    TEXT_MEMBERS,
    TEXT_VMLIST,
    TEXT_CLUSTER_LOG,
    TEXT_RRD,
    TEXT_COUNT
};

/* Many members: all that its lock guards. */
struct status {
    struct lock lock; /* for everything below but what is set once */
    struct clock_source *clock;
    struct rrd_listener *rrd_listener;
    struct guest_source *guests;
    char *node_name;
    uint32_t start_time;
    uint32_t own_id; /* 0: not known yet */

    struct node_names names; /* what nodes are called, for others */
    struct versions versions;
    uint64_t sequence; /* one more with every change of what .version shows */
    struct members *members;
    struct node_values *own;
    GHashTable *others; /* node id → struct node_values, owned: nodes of the node list */
    struct rrd_values *rrd;
    uint64_t rrd_sequence; /* one more with every RRD value */
    uint64_t rrd_text_at;  /* milliseconds, when its text was made */
    struct feed *feed;
    struct feed_listener *feed_listener;
    struct askers *askers; /* NULL: not known who asks */
    struct cluster_log *log;
    uint32_t log_uid; /* last uid of this process */

    struct cached_text texts[TEXT_COUNT];
};

static char *name_of(struct node_names *names, uint32_t id)
{
    return status_name_of(container_of(names, struct status, names), id);
}

struct status *status_new(const char *node_name, const char *address, uint32_t pid,
                          struct clock_source *clock)
{
    struct status *status = g_new0(struct status, 1);

    lock_init(&status->lock, LOCK_RANK_STATUS);
    status->clock = clock;
    status->node_name = g_strdup(node_name);
    status->start_time = clock->seconds(clock);
    status->versions.clinfo = 1;
    status->members = members_new();
    status->names.name_of = name_of;
    status->own = node_values_new();
    if (address)
        node_values_set_address(status->own, address);
    status->others = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)node_values_free);
    status->rrd = rrd_values_new();
    status->feed = feed_new();
    status->log = cluster_log_new();
    buffer_unref(
        status_log(status, FIRST_ENTRY_PRIORITY, "root", "cluster", "starting cluster log", pid));
    return status;
}

void status_free(struct status *status)
{
    if (!status)
        return;
    members_free(status->members);
    node_values_free(status->own);
    g_hash_table_destroy(status->others);
    rrd_values_free(status->rrd);
    feed_free(status->feed);
    cluster_log_free(status->log);
    for (int i = 0; i < TEXT_COUNT; i++)
        buffer_unref(status->texts[i].text);
    lock_destroy(&status->lock);
    g_free(status->node_name);
    g_free(status);
}

void status_set_rrd_listener(struct status *status, struct rrd_listener *listener)
{
    status->rrd_listener = listener;
}

void status_set_guest_source(struct status *status, struct guest_source *source)
{
    status->guests = source;
}

/* With the lock held. */
static void raise_clinfo(struct status *status, bool changed)
{
    if (!changed)
        return;
    status->versions.clinfo++;
    status->sequence++;
}

/* With the lock held. */
static void tell_feed_listener(const struct status *status)
{
    if (status->feed_listener)
        status->feed_listener->added(status->feed_listener);
}

void status_published(struct status *status, const GPtrArray *effects)
{
    LOCKED(&status->lock);
    if (versions_published(&status->versions, effects))
        status->sequence++;
    feed_add(status->feed, effects, false);
    tell_feed_listener(status);
}

void status_rebuilt(struct status *status, const GPtrArray *effects)
{
    LOCKED(&status->lock);
    versions_rebuilt(&status->versions);
    status->sequence++;
    if (effects)
        feed_add(status->feed, effects, true);
    tell_feed_listener(status);
}

void status_set_feed_listener(struct status *status, struct feed_listener *listener)
{
    LOCKED(&status->lock);
    status->feed_listener = listener;
}

void status_set_askers(struct status *status, struct askers *askers)
{
    LOCKED(&status->lock);
    status->askers = askers;
}

void status_start_feed(struct status *status, uint64_t version)
{
    LOCKED(&status->lock);
    feed_start(status->feed, version);
}

uint64_t status_feed_position(struct status *status, uint64_t version, uint64_t *missed)
{
    LOCKED(&status->lock);
    *missed = 0;
    return version == UINT64_MAX ? status->feed->next : feed_find(status->feed, version, missed);
}

/* The name of the node that made a change; writer 0 is this node without a cluster. With the lock
 * held. */
static const char *writer_name(const struct status *status, uint32_t id)
{
    const struct cluster_node *node = members_by_id(status->members, id);

    if (id == 0 || id == status->own_id)
        return status->node_name;
    return node ? node->name : NULL;
}

char *status_feed_next(struct status *status, uint64_t *position, bool all, uint64_t *missed)
{
    *missed = 0;
    LOCKED(&status->lock);
    for (;;) {
        uint64_t lost;
        const struct feed_record *record = feed_get(status->feed, position, &lost);
        *missed += lost;
        if (!record)
            return NULL;
        (*position)++;
        struct history_actor actor;
        bool known = askers_get(status->askers, record->asker, &actor);
        char *text =
            feed_record_text(record, writer_name(status, record->node), known ? &actor : NULL, all);
        if (text)
            return text;
    }
}

/* Values are known by node id: under another name it is another node, which has none of them. */
static gboolean is_unlisted(gpointer id, gpointer values, gpointer data)
{
    const struct status *status = data;
    const struct cluster_node *node = members_by_id(status->members, GPOINTER_TO_UINT(id));

    return GPOINTER_TO_UINT(id) == status->own_id || !node ||
           strcmp(node->name, ((struct node_values *)values)->owner) != 0;
}

void status_set_nodes(struct status *status, const char *cluster_name, uint64_t config_version,
                      const struct cluster_node *nodes, size_t count)
{
    LOCKED(&status->lock);
    bool changed = members_set_nodes(status->members, cluster_name, config_version, nodes, count);
    raise_clinfo(status, changed);
    if (changed)
        members_look_for_host(status->members, status->node_name);
    if (g_hash_table_foreach_remove(status->others, is_unlisted, status) > 0)
        status->sequence++;
}

void status_set_own_id(struct status *status, uint32_t id)
{
    if (id == 0)
        return;
    LOCKED(&status->lock);
    raise_clinfo(status, status->own_id != id);
    status->own_id = id;
    if (g_hash_table_foreach_remove(status->others, is_unlisted, status) > 0)
        status->sequence++;
}

void status_set_online(struct status *status, const uint32_t *ids, size_t count)
{
    LOCKED(&status->lock);
    raise_clinfo(status, members_set_online(status->members, ids, count));
}

void status_set_release(struct status *status, const char *release)
{
    LOCKED(&status->lock);
    g_free(status->own->release);
    status->own->release = g_strdup(release);
}

/* With the lock held; NULL: nothing of it. */
static struct node_values *known_values(struct status *status, uint32_t node)
{
    return node == status->own_id ? status->own
                                  : g_hash_table_lookup(status->others, GUINT_TO_POINTER(node));
}

void status_forget_release(struct status *status, uint32_t node)
{
    LOCKED(&status->lock);
    struct node_values *values = known_values(status, node);
    if (values && values != status->own)
        g_clear_pointer(&values->release, g_free);
}

char *status_release_of(struct status *status, uint32_t node)
{
    LOCKED(&status->lock);
    struct node_values *values = known_values(status, node);
    return values ? g_strdup(values->release) : NULL;
}

char *status_names(struct status *status, bool online)
{
    LOCKED(&status->lock);
    return members_names(status->members, online);
}

void status_set_quorate(struct status *status, bool quorate)
{
    LOCKED(&status->lock);
    raise_clinfo(status, members_set_quorate(status->members, quorate));
}

void status_note_clock(struct status *status, uint32_t node, uint32_t time)
{
    int64_t ahead = (int64_t)time - (int64_t)status->clock->seconds(status->clock);

    LOCKED(&status->lock);
    members_set_clock(status->members, node, ahead);
}

bool status_clock_of(struct status *status, uint32_t node, int64_t *ahead)
{
    LOCKED(&status->lock);
    return members_get_clock(status->members, node, ahead);
}

void status_metrics_write(const struct status *status, struct open_metrics *metrics)
{
    static const char *const names[TEXT_COUNT] = {
        [TEXT_VERSION] = "version",        [TEXT_MEMBERS] = "members", [TEXT_VMLIST] = "vmlist",
        [TEXT_CLUSTER_LOG] = "clusterlog", [TEXT_RRD] = "rrd",
    };

    open_metrics_family(metrics, "pmxcfs_texts_made", OPEN_METRICS_COUNTER, NULL,
                        "How often the text of a status file was made anew.");
    for (int i = 0; i < TEXT_COUNT; i++)
        open_metrics_counter(metrics, "text", names[i], counter_get(&status->texts[i].made));
    open_metrics_family(metrics, "pmxcfs_texts_kept", OPEN_METRICS_COUNTER, NULL,
                        "How often the text made before would do.");
    for (int i = 0; i < TEXT_COUNT; i++)
        open_metrics_counter(metrics, "text", names[i], counter_get(&status->texts[i].kept));
}

void status_get_counters(struct status *status, struct status_counters *counters)
{
    LOCKED(&status->lock);
    *counters = (struct status_counters){.clinfo = status->versions.clinfo,
                                         .vmlist = status->versions.vmlist};
}

uint32_t status_start_time(const struct status *status)
{
    return status->start_time;
}

const char *status_node_name(const struct status *status)
{
    return status->node_name;
}

char *status_name_of(struct status *status, uint32_t id)
{
    LOCKED(&status->lock);
    return g_strdup(writer_name(status, id));
}

struct node_names *status_name_source(struct status *status)
{
    return &status->names;
}

/* With the lock held: stores a checked value of the node that owns `values`. */
static int store(struct status *status, struct node_values *values, enum key_kind kind,
                 const char *name, const void *value, size_t size)
{
    int error = 0;

    switch (kind) {
    case KEY_ADDRESS:
        raise_clinfo(status, node_values_set_address(values, value));
        break;
    case KEY_RELEASE:
        g_free(values->release);
        values->release = g_strdup(value);
        break;
    case KEY_RRD:
        error = rrd_values_set(status->rrd, key_rrd_key(name), value,
                               status->clock->milliseconds(status->clock));
        status->rrd_sequence++;
        break;
    case KEY_PLAIN:
        error = node_values_set(values, name, value, size);
        status->sequence++;
        break;
    }
    return error;
}

static void tell_listener(struct status *status, enum key_kind kind, const char *name,
                          const void *value)
{
    if (kind == KEY_RRD && status->rrd_listener)
        status->rrd_listener->value(status->rrd_listener, key_rrd_key(name), value);
}

int status_set_own(struct status *status, const char *name, const void *value, size_t size)
{
    enum key_kind kind;
    int error = key_value_check(name, value, size, &kind);

    if (!error && kind == KEY_RELEASE)
        error = -EINVAL; /* the daemon's to tell */
    if (error)
        return error;
    lock_take(&status->lock);
    error = store(status, status->own, kind, name, value, size);
    lock_give(&status->lock);
    if (!error)
        tell_listener(status, kind, name, value);
    return error;
}

/* With the lock held: the values of another node of the list, NULL if it is none. */
static struct node_values *values_of(struct status *status, uint32_t node)
{
    struct node_values *values = g_hash_table_lookup(status->others, GUINT_TO_POINTER(node));
    const struct cluster_node *listed = members_by_id(status->members, node);

    if (values || node == status->own_id || !listed)
        return values;
    values = node_values_new();
    values->owner = g_strdup(listed->name);
    g_hash_table_insert(status->others, GUINT_TO_POINTER(node), values);
    return values;
}

int status_set_remote(struct status *status, uint32_t node, const char *name, const void *value,
                      size_t size)
{
    enum key_kind kind;
    int error = key_value_check(name, value, size, &kind);

    if (error)
        return error;
    lock_take(&status->lock);
    struct node_values *values = values_of(status, node);
    error = values ? store(status, values, kind, name, value, size) : -ENOENT;
    lock_give(&status->lock);
    if (!error)
        tell_listener(status, kind, name, value);
    return error;
}

/* With the lock held: by the name of this node or of one in the list. */
static struct node_values *values_by_name(struct status *status, const char *node_name)
{
    if (!node_name || !*node_name || strcmp(node_name, status->node_name) == 0)
        return status->own;
    const struct cluster_node *node = members_by_name(status->members, node_name);
    return node ? known_values(status, node->id) : NULL;
}

struct buffer *status_get(struct status *status, const char *node_name, const char *name)
{
    LOCKED(&status->lock);
    struct node_values *values = values_by_name(status, node_name);
    const struct key_value *value = values ? node_values_get(values, name) : NULL;
    return value ? buffer_ref(value->value) : NULL;
}

GPtrArray *status_own_names(struct status *status)
{
    LOCKED(&status->lock);
    return node_values_names(status->own);
}

struct buffer *status_own_value(struct status *status, const char *name)
{
    LOCKED(&status->lock);
    return node_values_sent(status->own, name);
}

struct buffer *status_log(struct status *status, uint8_t priority, const char *ident,
                          const char *tag, const char *message, uint32_t pid)
{
    struct cluster_log_record record = {.node = status->node_name,
                                        .ident = ident,
                                        .tag = tag,
                                        .message = message,
                                        .pid = pid,
                                        .priority = priority};
    struct cluster_log_entry entry;

    LOCKED(&status->lock);
    struct cluster_log_stamp stamp = {.time = status->clock->seconds(status->clock),
                                      .uid = status->log_uid + 1};
    cluster_log_next_stamp(status->log, cluster_log_digest(status->node_name), &stamp);
    record.time = stamp.time;
    record.uid = status->log_uid = stamp.uid;
    struct buffer *buffer = cluster_log_entry_pack(&record);
    if (cluster_log_entry_parse(buffer->data, buffer->capacity, &entry) == 0)
        cluster_log_insert(status->log, &entry);
    return buffer;
}

int status_log_remote(struct status *status, const uint8_t *data, size_t size)
{
    struct cluster_log_entry entry;
    int error = cluster_log_entry_parse(data, size, &entry);

    if (error)
        return error;
    LOCKED(&status->lock);
    cluster_log_insert(status->log, &entry);
    return 0;
}

/* With *version: that of the buffer. */
static struct buffer *copy_log(struct status *status, uint64_t *version)
{
    struct buffer *buffer = buffer_new(CLUSTER_LOG_SIZE);

    LOCKED(&status->lock);
    memcpy(buffer->data, status->log->buffer, CLUSTER_LOG_SIZE);
    *version = status->log->version;
    return buffer;
}

struct buffer *status_log_buffer(struct status *status)
{
    uint64_t version;

    return copy_log(status, &version);
}

/* The foreign buffers, many and full as they may be, are merged without the lock; under it that
 * result meets the own buffer. */
size_t status_log_merge(struct status *status, const struct cluster_log_buffer *buffers,
                        size_t count)
{
    struct cluster_log *foreign = cluster_log_new();
    size_t malformed = cluster_log_merge(foreign, buffers, count);
    struct cluster_log_buffer merged = {.data = foreign->buffer, .size = CLUSTER_LOG_SIZE};

    lock_take(&status->lock);
    cluster_log_merge(status->log, &merged, 1);
    lock_give(&status->lock);
    cluster_log_free(foreign);
    return malformed;
}

/* With the lock held. */
static json_t *kvstore_object(struct status *status)
{
    json_t *kvstore = json_object();

    json_text_set(kvstore, status->node_name, node_values_versions(status->own));
    for (guint i = 0; i < status->members->nodes->len; i++) {
        const struct cluster_node *node = g_ptr_array_index(status->members->nodes, i);
        const struct node_values *values =
            g_hash_table_lookup(status->others, GUINT_TO_POINTER(node->id));
        if (values && g_hash_table_size(values->by_name) > 0 &&
            strcmp(node->name, status->node_name) != 0)
            json_text_set(kvstore, node->name, node_values_versions(values));
    }
    return kvstore;
}

struct buffer *status_version_text(struct status *status)
{
    LOCKED(&status->lock);
    struct buffer *text = kept_text(&status->texts[TEXT_VERSION], status->sequence);
    if (text)
        return text;
    json_t *object = json_object();
    json_text_set_number(object, "starttime", status->start_time);
    versions_json(&status->versions, object);
    json_object_set_new(object, "kvstore", kvstore_object(status));
    return keep_text(&status->texts[TEXT_VERSION], status->sequence,
                     json_text_buffer(object, PRETTY));
}

/* With the lock held: node id → address, borrowed. */
static GHashTable *known_addresses(struct status *status)
{
    GHashTable *addresses = g_hash_table_new(NULL, NULL);
    const struct cluster_node *self = members_by_name(status->members, status->node_name);
    uint32_t own_id = status->own_id ? status->own_id : self ? self->id : 0;
    GHashTableIter iterator;
    gpointer id, data;

    g_hash_table_iter_init(&iterator, status->others);
    while (g_hash_table_iter_next(&iterator, &id, &data))
        g_hash_table_insert(addresses, id, ((struct node_values *)data)->address);
    if (own_id)
        g_hash_table_insert(addresses, GUINT_TO_POINTER(own_id), status->own->address);
    return addresses;
}

struct buffer *status_members_text(struct status *status)
{
    LOCKED(&status->lock);
    uint64_t clinfo = status->versions.clinfo;
    struct buffer *text = kept_text(&status->texts[TEXT_MEMBERS], clinfo);
    if (text)
        return text;
    json_t *object = json_object();
    g_autoptr(GHashTable) addresses = known_addresses(status);
    json_text_set_string(object, "nodename", status->node_name);
    json_text_set_number(object, "version", clinfo);
    members_json(status->members, addresses, object);
    return keep_text(&status->texts[TEXT_MEMBERS], clinfo, json_text_buffer(object, PRETTY));
}

/* The version is read before the guests are copied: a text may show more than its version stands
 * for, never less. */
struct buffer *status_vmlist_text(struct status *status)
{
    struct cached_text *cached = &status->texts[TEXT_VMLIST];

    lock_take(&status->lock);
    uint64_t version = status->versions.vmlist;
    struct buffer *text = kept_text(cached, version);
    lock_give(&status->lock);
    if (text)
        return text;

    struct guest_snapshot *snapshot = status->guests->take(status->guests);
    text = vmlist_text(snapshot, version);
    guest_snapshot_free(snapshot);
    LOCKED(&status->lock);
    return keep_first_text(cached, version, text);
}

struct buffer *status_cluster_log_text(struct status *status, uint32_t max, const char *user)
{
    struct cached_text *cached = &status->texts[TEXT_CLUSTER_LOG];
    bool common = (max == 0 || max == CLUSTER_LOG_SHOWN) && (!user || !*user);
    uint64_t version;

    if (common) {
        LOCKED(&status->lock);
        struct buffer *kept = kept_text(cached, status->log->version);
        if (kept)
            return kept;
    }
    struct buffer *buffer = copy_log(status, &version);
    struct buffer *text = cluster_log_text(buffer->data, max, user);
    buffer_unref(buffer);
    if (!common)
        return text;
    LOCKED(&status->lock);
    return keep_first_text(cached, version, text);
}

/* With the lock held: the kept .rrd if it will still do. */
static struct buffer *kept_rrd_text(struct status *status, uint64_t now)
{
    struct buffer *text = status->texts[TEXT_RRD].text;

    if (!text || now >= status->rrd_text_at + RRD_TEXT_MILLISECONDS)
        return NULL;
    if (status->texts[TEXT_RRD].version != status->rrd_sequence && text->capacity < RRD_TEXT_LARGE)
        return NULL;
    counter_add(&status->texts[TEXT_RRD].kept, 1);
    return buffer_ref(text);
}

struct buffer *status_rrd_text(struct status *status)
{
    uint64_t now = status->clock->milliseconds(status->clock);

    lock_take(&status->lock);
    struct buffer *text = kept_rrd_text(status, now);
    uint64_t sequence = status->rrd_sequence;
    GPtrArray *lines = text ? NULL : rrd_values_lines(status->rrd, now);
    lock_give(&status->lock);
    if (text)
        return text;

    text = rrd_lines_text(lines);
    g_ptr_array_unref(lines);
    lock_take(&status->lock);
    keep_text(&status->texts[TEXT_RRD], sequence, text);
    status->rrd_text_at = now;
    lock_give(&status->lock);
    return text;
}
