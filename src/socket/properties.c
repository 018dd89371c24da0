/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Properties of guests, as their configurations hold them: requests 11 and 13 (doc/ipc.md). */
#include "socket/properties.h"

#include <errno.h>
#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "core/state.h"
#include "status/json_text.h"

/* Different lists of names whose answers are remembered. Clients ask for a handful. */
#define LISTS_MAX 8

/* Configurations that are looked up while the state's lock is held. */
#define BATCH_SIZE 64

/* What a list of names found in one guest. */
struct finding {
    uint64_t version; /* of the guest that was parsed */
    uint32_t walk;    /* the last walk over all guests that met it */
    size_t length;    /* bytes of text */
    char *text;       /* "ID":{"NAME":"value"}; NULL: the guest has none of the properties */
};

/* The answers for one list of names. */
struct list {
    char **names;
    GArray *sorted;        /* of the names, as sort_names() makes it */
    GHashTable *findings;  /* guest id → struct finding, owned */
    uint64_t last_version; /* the guest list's when the answer was made */
    guint guest_count;     /* the same; both together tell whether any guest changed */
    uint32_t walk;
    uint64_t used;       /* the request that used it last */
    int error;           /* of the answer: 0 or -EMSGSIZE */
    struct buffer *text; /* of the answer; NULL: none was made yet, or there is an error */
};

struct properties {
    struct replica *replica;
    GPtrArray *lists; /* struct list, owned */
    uint64_t requests;
    uint64_t parsed;
};

/* A configuration that was taken out of the tree. */
struct configuration {
    uint32_t id;
    uint32_t size;
    uint64_t version;
    struct buffer *content; /* a reference, NULL: empty */
};

static void finding_free(gpointer data)
{
    struct finding *finding = data;

    g_free(finding->text);
    g_free(finding);
}

static void list_free(gpointer data)
{
    struct list *list = data;

    g_strfreev(list->names);
    g_array_unref(list->sorted);
    g_hash_table_unref(list->findings);
    buffer_unref(list->text);
    g_free(list);
}

struct properties *properties_new(struct replica *replica)
{
    struct properties *properties = g_new0(struct properties, 1);

    properties->replica = replica;
    properties->lists = g_ptr_array_new_with_free_func(list_free);
    return properties;
}

void properties_free(struct properties *properties)
{
    if (!properties)
        return;
    g_ptr_array_unref(properties->lists);
    g_free(properties);
}

uint64_t properties_parsed(const struct properties *properties)
{
    return properties->parsed;
}

/* Names: whoever may read can ask for 255 in one request, so that no line of thousands of
 * configurations is compared with each of them. */

struct span {
    const char *start;
    size_t length;
};

struct name {
    struct span text;
    size_t index; /* in the list that was asked for; of one that is there twice, the first */
};

/* By length first: most words are told from each other by that. */
static int compare_names(gconstpointer a, gconstpointer b)
{
    const struct span *first = &((const struct name *)a)->text;
    const struct span *second = &((const struct name *)b)->text;

    if (first->length != second->length)
        return first->length < second->length ? -1 : 1;
    return memcmp(first->start, second->start, first->length);
}

/* The names (struct name, which points to them) in the order to look them up in. */
static GArray *sort_names(const char *const *names)
{
    GArray *sorted = g_array_new(FALSE, FALSE, sizeof(struct name));

    for (size_t i = 0; names[i]; i++) {
        struct name name = {.text = {names[i], strlen(names[i])}, .index = i};
        g_array_append_val(sorted, name);
    }
    g_array_sort(sorted, compare_names); /* keeps the order of those that are equal */
    for (guint i = 1; i < sorted->len; i++) {
        struct name *name = &g_array_index(sorted, struct name, i);
        if (compare_names(name - 1, name) == 0)
            name->index = name[-1].index;
    }
    return sorted;
}

/* Parsing */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct span strip(const char *start, const char *end)
{
    while (start < end && is_space(*start))
        start++;
    while (end > start && is_space(end[-1]))
        end--;
    return (struct span){start, (size_t)(end - start)};
}

/* Notes the value of a line NAME:value, if it has one and its name is asked for. */
static void note_line(const char *line, const char *end, const GArray *sorted, struct span *values)
{
    const char *colon = memchr(line, ':', (size_t)(end - line));
    guint found;

    if (!colon)
        return;
    struct name word = {.text = {line, (size_t)(colon - line)}};
    if (!g_array_binary_search((GArray *)sorted, &word, compare_names, &found))
        return;
    struct span value = strip(colon + 1, end);
    if (value.length > 0)
        values[g_array_index(sorted, struct name, found).index] = value;
}

/* The properties of a configuration as a JSON object; NULL if it has none of them. */
static json_t *parse(const char *text, size_t size, const char *const *names, const GArray *sorted)
{
    size_t count = sorted->len;
    g_autofree struct span *values = g_new0(struct span, count);
    const char *end = text + size;
    json_t *object = NULL;

    while (text < end && *text != '[') {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline ? newline : end;
        note_line(text, line_end, sorted, values);
        text = newline ? newline + 1 : end;
    }
    for (size_t i = 0; i < count; i++) {
        if (!values[i].start)
            continue;
        if (!object)
            object = json_object();
        json_text_set(object, names[i], json_text_string(values[i].start, values[i].length));
    }
    return object;
}

/* "ID":{...} of a configuration, NULL if it has none of the properties; g_free() it. Answers for
 * all guests are put together from these, so that one guest's change costs one guest's work. */
static char *describe(struct properties *properties, const struct configuration *configuration,
                      const char *const *names, const GArray *sorted)
{
    const char *text = configuration->content ? (const char *)configuration->content->data : "";
    size_t size = configuration->content ? configuration->size : 0;
    json_t *object = parse(text, size, names, sorted);

    properties->parsed++;
    if (!object)
        return NULL;
    char *json = json_dumps(object, JSON_COMPACT);
    char *description = g_strdup_printf("\"%u\":%s", configuration->id, json);
    free(json);
    json_decref(object);
    return description;
}

/* Looking up; the state's lock is held. */

static const char *guest_directory(enum guest_type type)
{
    static const char *const names[] = {
        [GUEST_QEMU] = "qemu-server", [GUEST_LXC] = "lxc", [GUEST_OPENVZ] = "openvz"};

    return names[type];
}

static bool find_configuration(const struct state *state, uint32_t id,
                               struct configuration *configuration)
{
    const struct guest *guest = g_hash_table_lookup(state->guests.by_id, GUINT_TO_POINTER(id));
    int error;

    if (!guest)
        return false;
    g_autofree char *path =
        g_strdup_printf("nodes/%s/%s/%u.conf", guest->node, guest_directory(guest->type), id);
    const struct entry *entry = tree_lookup(state->tree, path, &error);
    *configuration = (struct configuration){.id = id, .version = guest->version};
    if (entry && entry->content) {
        configuration->content = buffer_ref(entry->content);
        configuration->size = entry->size;
    }
    return true;
}

/* Appends to `stale` the ids (uint32_t) of the guests that changed since they were parsed, and
 * marks what is known of the others with the present walk. */
static void find_stale(const struct state *state, struct list *list, GArray *stale)
{
    GHashTableIter iter;
    gpointer value;

    list->walk++;
    list->last_version = state->guests.last_version;
    list->guest_count = g_hash_table_size(state->guests.by_id);
    g_hash_table_iter_init(&iter, state->guests.by_id);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct guest *guest = value;
        struct finding *finding = g_hash_table_lookup(list->findings, GUINT_TO_POINTER(guest->id));
        if (finding && finding->version == guest->version)
            finding->walk = list->walk;
        else
            g_array_append_val(stale, guest->id);
    }
}

/* One guest */

static int get_one(struct properties *properties, uint32_t id, const char *const *names,
                   struct buffer **text)
{
    struct configuration configuration;
    bool found = find_configuration(replica_read_lock(properties->replica), id, &configuration);

    replica_read_unlock(properties->replica);
    if (!found)
        return -ENOENT;
    g_autoptr(GArray) sorted = sort_names(names);
    g_autofree char *description = describe(properties, &configuration, names, sorted);
    buffer_unref(configuration.content);
    g_autofree char *answer = g_strdup_printf("{%s}", description ? description : "");
    size_t size = strlen(answer);
    if (size > PROPERTIES_TEXT_MAX)
        return -EMSGSIZE;
    *text = buffer_copy(answer, (uint32_t)size);
    return 0;
}

/* All guests */

static void note_finding(struct properties *properties, struct list *list,
                         const struct configuration *configuration)
{
    struct finding *finding = g_new(struct finding, 1);

    finding->version = configuration->version;
    finding->walk = list->walk;
    finding->text =
        describe(properties, configuration, (const char *const *)list->names, list->sorted);
    finding->length = finding->text ? strlen(finding->text) : 0;
    g_hash_table_replace(list->findings, GUINT_TO_POINTER(configuration->id), finding);
}

/* Parses the configurations of `stale`, a few at a time so that the lock is free in between. */
static void parse_stale(struct properties *properties, struct list *list, const GArray *stale)
{
    struct configuration batch[BATCH_SIZE];

    for (guint next = 0; next < stale->len;) {
        const struct state *state = replica_read_lock(properties->replica);
        size_t count = 0;
        while (next < stale->len && count < BATCH_SIZE) {
            if (find_configuration(state, g_array_index(stale, uint32_t, next++), &batch[count]))
                count++;
        }
        replica_read_unlock(properties->replica);
        for (size_t i = 0; i < count; i++) {
            note_finding(properties, list, &batch[i]);
            buffer_unref(batch[i].content);
        }
    }
}

/* Forgets guests that are gone; gives the size of what the others found, put together. */
static size_t sum_findings(struct list *list)
{
    GHashTableIter iter;
    gpointer value;
    size_t size = strlen("{}");

    g_hash_table_iter_init(&iter, list->findings);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct finding *finding = value;
        if (finding->walk != list->walk)
            g_hash_table_iter_remove(&iter);
        else if (finding->text)
            size += finding->length + strlen(",");
    }
    return size;
}

static struct buffer *join_findings(const struct list *list, size_t size)
{
    g_autofree char *text = g_malloc(size);
    char *end = text;
    GHashTableIter iter;
    gpointer value;

    *end++ = '{';
    g_hash_table_iter_init(&iter, list->findings);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const struct finding *finding = value;
        if (!finding->text)
            continue;
        if (end > text + 1)
            *end++ = ',';
        memcpy(end, finding->text, finding->length);
        end += finding->length;
    }
    *end++ = '}';
    return buffer_copy(text, (uint32_t)(end - text));
}

/* Makes the answer of a list anew from what is parsed already and what changed. */
static void refresh(struct properties *properties, struct list *list)
{
    g_autoptr(GArray) stale = g_array_new(FALSE, FALSE, sizeof(uint32_t));

    find_stale(replica_read_lock(properties->replica), list, stale);
    replica_read_unlock(properties->replica);
    parse_stale(properties, list, stale);
    size_t size = sum_findings(list);
    buffer_unref(list->text);
    list->text = NULL;
    list->error = size > PROPERTIES_TEXT_MAX ? -EMSGSIZE : 0;
    if (!list->error)
        list->text = join_findings(list, size);
}

static bool is_current(struct properties *properties, const struct list *list)
{
    const struct guest_list *guests = &replica_read_lock(properties->replica)->guests;
    bool current = guests->last_version == list->last_version &&
                   g_hash_table_size(guests->by_id) == list->guest_count;

    replica_read_unlock(properties->replica);
    return current && (list->text || list->error);
}

/* The remembered answers for these names; those that were not used for longest make room. */
static struct list *find_list(struct properties *properties, const char *const *names)
{
    guint oldest = 0;

    for (guint i = 0; i < properties->lists->len; i++) {
        struct list *list = properties->lists->pdata[i];
        if (g_strv_equal((const gchar *const *)list->names, names))
            return list;
        if (list->used < ((struct list *)properties->lists->pdata[oldest])->used)
            oldest = i;
    }
    if (properties->lists->len >= LISTS_MAX)
        g_ptr_array_remove_index_fast(properties->lists, oldest);
    struct list *list = g_new0(struct list, 1);
    list->names = g_strdupv((gchar **)names);
    list->sorted = sort_names((const char *const *)list->names);
    list->findings = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, finding_free);
    g_ptr_array_add(properties->lists, list);
    return list;
}

int properties_get(struct properties *properties, uint32_t id, const char *const *names,
                   struct buffer **text)
{
    if (id != 0)
        return get_one(properties, id, names, text);
    struct list *list = find_list(properties, names);
    list->used = ++properties->requests;
    if (!is_current(properties, list))
        refresh(properties, list);
    *text = buffer_ref(list->text);
    return list->error;
}
