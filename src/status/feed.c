/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The change feed: the last changes that were applied on this node, in the order of their versions.
 */
#include "status/feed.h"

#include <string.h>

#include "core/draft.h"
#include "status/json_text.h"

/* Beyond this a gap in the versions is not waited for any longer. */
#define EARLY_MAX 4096u
/* Paths that a resync record tells by name, and their bytes: its event has to fit a reply of the
 * socket, where a byte can take six. */
#define RESYNC_PATHS_MAX 2000u
#define RESYNC_BYTES_MAX (160u * 1024)

static void record_free(struct feed_record *record)
{
    if (!record)
        return;
    g_free(record->path);
    g_free(record->target);
    if (record->paths)
        g_ptr_array_unref(record->paths);
    g_free(record);
}

struct feed *feed_new(void)
{
    struct feed *feed = g_new0(struct feed, 1);

    feed->next = 1;
    feed->early = g_ptr_array_new_with_free_func((GDestroyNotify)record_free);
    return feed;
}

void feed_start(struct feed *feed, uint64_t version)
{
    feed->version = version;
}

void feed_free(struct feed *feed)
{
    for (size_t i = 0; i < feed->count; i++)
        record_free(feed->records[(feed->first + i) % FEED_RECORDS]);
    g_ptr_array_unref(feed->early);
    g_free(feed);
}

static const char *operation_name(enum change_operation operation)
{
    switch (operation) {
    case CHANGE_WRITE:
        return "write";
    case CHANGE_MKDIR:
        return "mkdir";
    case CHANGE_RENAME:
        return "rename";
    case CHANGE_CREATE:
        return "create";
    case CHANGE_MTIME:
        return "mtime";
    case CHANGE_UNLOCK:
        return "unlock";
    default:
        return "delete";
    }
}

static struct feed_record *record_of_effect(const struct effect *effect)
{
    struct feed_record *record = g_new(struct feed_record, 1);

    *record = (struct feed_record){
        .version = effect->version,
        .from = effect->version - 1,
        .time = effect->time,
        .node = effect->writer,
        .operation = operation_name(effect->operation),
        .path = g_strdup(effect->path),
        .target = g_strdup(effect->to),
        .size = effect->after ? effect->after->size : 0,
        .asker = effect->asker,
    };
    return record;
}

/* The i-th of those that are remembered, from the oldest. */
static const struct feed_record *record_at(const struct feed *feed, size_t i)
{
    return feed->records[(feed->first + i) % FEED_RECORDS];
}

/* Does it make the newest record superfluous? */
static bool replaces_newest(const struct feed *feed, const struct feed_record *record)
{
    const struct feed_record *newest = feed->count > 0 ? record_at(feed, feed->count - 1) : NULL;
    const char *write = operation_name(CHANGE_WRITE);

    return newest && record->operation == write && newest->operation == write &&
           record->node == newest->node && record->version > newest->version &&
           g_strcmp0(record->path, newest->path) == 0;
}

static void forget_oldest(struct feed *feed)
{
    feed->forgotten = record_at(feed, 0)->sequence;
    record_free(feed->records[feed->first]);
    feed->first = (feed->first + 1) % FEED_RECORDS;
    feed->count--;
}

static void append(struct feed *feed, struct feed_record *record)
{
    if (replaces_newest(feed, record)) {
        struct feed_record *newest = feed->records[(feed->first + --feed->count) % FEED_RECORDS];
        record->from = newest->from;
        record_free(newest);
    } else if (feed->count == FEED_RECORDS) {
        forget_oldest(feed);
    }
    record->sequence = feed->next++;
    feed->records[(feed->first + feed->count++) % FEED_RECORDS] = record;
    feed->version = MAX(feed->version, record->version);
}

static gint compare_versions(gconstpointer a, gconstpointer b)
{
    const struct feed_record *first = *(struct feed_record *const *)a;
    const struct feed_record *second = *(struct feed_record *const *)b;

    return (first->version > second->version) - (first->version < second->version);
}

/* Moves early records to their positions: those up to `known`, whatever is missing before them, and
 * what follows them without a gap. */
static void take_early(struct feed *feed, uint64_t known)
{
    guint taken = 0;

    g_ptr_array_sort(feed->early, compare_versions);
    while (taken < feed->early->len) {
        struct feed_record *record = feed->early->pdata[taken];
        if (record->version > known && record->version > feed->version + 1)
            break;
        feed->early->pdata[taken++] = NULL;
        append(feed, record);
    }
    if (taken > 0)
        g_ptr_array_remove_range(feed->early, 0, taken);
}

static void add_change(struct feed *feed, const struct effect *effect)
{
    struct feed_record *record = record_of_effect(effect);

    if (feed->version == 0 || record->version <= feed->version + 1)
        append(feed, record);
    else
        g_ptr_array_add(feed->early, record);
}

static void keep_path(struct feed_record *record, const char *path, size_t *bytes)
{
    size_t size = strlen(path);

    if (record->paths->len < RESYNC_PATHS_MAX && *bytes + size <= RESYNC_BYTES_MAX) {
        g_ptr_array_add(record->paths, g_strdup(path));
        *bytes += size;
    } else if (path_is_private(path)) {
        record->more_private++;
    } else {
        record->more++;
    }
}

static void add_resync(struct feed *feed, const GPtrArray *effects)
{
    struct feed_record *record = g_new0(struct feed_record, 1);
    size_t bytes = 0;

    record->operation = "resync";
    record->version = feed->version;
    record->paths = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = effects->pdata[i];
        record->version = effect->version;
        record->time = effect->time;
        record->node = effect->writer;
        if (effect->path)
            keep_path(record, effect->path, &bytes);
    }
    /* A change that was made here since then may be known already: it comes after this. */
    take_early(feed, record->version);
    record->from = feed->version;
    append(feed, record);
    take_early(feed, 0);
}

void feed_add(struct feed *feed, const GPtrArray *effects, bool rebuilt)
{
    if (rebuilt) {
        add_resync(feed, effects);
        return;
    }
    for (guint i = 0; i < effects->len; i++)
        add_change(feed, effects->pdata[i]);
    if (feed->early->len > 0)
        take_early(feed, feed->early->len > EARLY_MAX ? UINT64_MAX : 0);
}

uint64_t feed_find(const struct feed *feed, uint64_t version, uint64_t *missed)
{
    size_t low = 0;
    size_t high = feed->count;
    uint64_t before = feed->count > 0 ? record_at(feed, 0)->from : feed->version;

    *missed = before > version ? before - version : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (record_at(feed, middle)->version <= version)
            low = middle + 1;
        else
            high = middle;
    }
    return low < feed->count ? record_at(feed, low)->sequence : feed->next;
}

const struct feed_record *feed_get(const struct feed *feed, uint64_t *sequence, uint64_t *missed)
{
    size_t low = 0;
    size_t high = feed->count;

    *missed = *sequence <= feed->forgotten ? feed->forgotten + 1 - *sequence : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (record_at(feed, middle)->sequence < *sequence)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == feed->count)
        return NULL;
    *sequence = record_at(feed, low)->sequence;
    return record_at(feed, low);
}

static bool may_see(const char *path, bool all)
{
    return all || !path || !path_is_private(path);
}

static void add_paths(json_t *object, const struct feed_record *record, bool all)
{
    json_t *array = json_array();
    uint32_t more = record->more + (all ? record->more_private : 0);

    for (guint i = 0; i < record->paths->len; i++) {
        const char *path = record->paths->pdata[i];
        if (may_see(path, all))
            json_array_append_new(array, json_text_string(path, strlen(path)));
    }
    json_object_set_new(object, "paths", array);
    if (more > 0)
        json_text_set_number(object, "more", more);
}

/* The command line, which may tell more than a path does, is for those who may see all. */
static json_t *actor_object(const struct history_actor *actor, bool all)
{
    json_t *object = json_object();

    json_text_set_number(object, "uid", actor->uid);
    if (actor->login != UINT32_MAX)
        json_text_set_number(object, "login", actor->login);
    json_text_set_number(object, "pid", actor->pid);
    json_text_set_string(object, "name", actor->name);
    if (all && *actor->command)
        json_text_set_string(object, "command", actor->command);
    return object;
}

char *feed_record_text(const struct feed_record *record, const char *node_name,
                       const struct history_actor *actor, bool all)
{
    /* A move across the border would tell a private name too. */
    if (!may_see(record->path, all) || !may_see(record->target, all))
        return NULL;
    json_t *object = json_object();
    json_text_set_number(object, "version", record->version);
    json_text_set_number(object, "time", record->time);
    json_object_set_new(object, "node",
                        node_name ? json_text_string(node_name, strlen(node_name))
                                  : json_integer(record->node));
    json_text_set_string(object, "operation", record->operation);
    if (record->path)
        json_text_set_string(object, "path", record->path);
    if (record->target)
        json_text_set_string(object, "target", record->target);
    if (record->paths) {
        json_text_set_number(object, "from", record->from);
        add_paths(object, record, all);
    } else {
        json_text_set_number(object, "size", record->size);
        if (actor)
            json_object_set_new(object, "who", actor_object(actor, all));
    }
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}
