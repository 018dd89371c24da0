/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The core against the recordings: each database that a real node wrote has the index that a real
 * node sent, and the guest list that it showed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "cluster/wire.h"
#include "core/index.h"
#include "core/state.h"
#include "store/store.h"
#include "trace.h"

/* So many databases the recordings have; one that is not found would test nothing. */
static const struct recording {
    const char *name;
    unsigned nodes;
    unsigned databases;
} recordings[] = {{"three-nodes", 3, 11}, {"partition", 3, 9}, {"timers", 2, 2}};

struct scratch {
    char *directory;
};

static int start(void **state)
{
    struct scratch *scratch = g_new0(struct scratch, 1);

    scratch->directory = g_dir_make_tmp("pmxcfs-vectors-XXXXXX", NULL);
    *state = scratch;
    return scratch->directory ? 0 : -1;
}

static void empty_directory(const char *path)
{
    GDir *directory = g_dir_open(path, 0, NULL);
    const char *name;

    assert_non_null(directory);
    while ((name = g_dir_read_name(directory))) {
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_unlink(file);
    }
    g_dir_close(directory);
}

static int stop(void **state)
{
    struct scratch *scratch = *state;

    empty_directory(scratch->directory);
    g_rmdir(scratch->directory);
    g_free(scratch->directory);
    g_free(scratch);
    return 0;
}

/* The names of the databases of a recording: "1-joined.node2". */
static GPtrArray *list_databases(const struct recording *recording)
{
    const char *vectors = g_getenv("VECTORS");
    g_autofree char *path =
        g_build_filename(vectors ? vectors : "tests/vectors", recording->name, NULL);
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GDir *directory = g_dir_open(path, 0, NULL);
    const char *name;

    assert_non_null(directory);
    while ((name = g_dir_read_name(directory))) {
        if (g_str_has_suffix(name, ".db"))
            g_ptr_array_add(names, g_strndup(name, strlen(name) - 3));
    }
    g_dir_close(directory);
    assert_int_equal(names->len, recording->databases);
    return names;
}

static struct tree *load(const char *path, struct store **store)
{
    struct store_options options = {0};
    struct tree *tree = NULL;
    g_autofree char *message = NULL;

    if (store_open(path, &options, store, &tree, &message))
        fail_msg("%s", message);
    return tree;
}

/* A copy of a recording's database, opened and loaded. */
static struct state *load_recorded(const struct scratch *scratch, const struct recording *recording,
                                   const char *name, struct store **store)
{
    g_autofree char *file = g_strconcat(name, ".db", NULL);
    g_autofree char *copy = g_build_filename(scratch->directory, "recorded.db", NULL);
    size_t size;
    g_autofree char *bytes = trace_file(recording->name, file, &size);

    assert_true(g_file_set_contents(copy, bytes, (gssize)size, NULL));
    return state_new(load(copy, store), 0);
}

static struct buffer *index_of(const struct state *state)
{
    struct draft *draft = draft_new(state);
    struct buffer *index = index_build(draft);

    draft_free(draft);
    return index;
}

/* All STATE messages of the configuration group that a recording's nodes sent, as their bodies. */
static GPtrArray *collect_states(const struct recording *recording)
{
    GPtrArray *states = g_ptr_array_new_with_free_func((GDestroyNotify)buffer_unref);

    for (unsigned node = 1; node <= recording->nodes; node++) {
        g_autoptr(GPtrArray) trace = trace_load(recording->name, node);
        for (guint i = 0; i < trace->len; i++) {
            const struct trace_event *event = trace_at(trace, i);
            struct header header;
            if (event->type != TRACE_SEND || event->group != TRACE_CONFIGURATION)
                continue;
            assert_int_equal(
                wire_parse_header(event->message->data, event->message->capacity, &header), 0);
            if (header.type == MESSAGE_STATE)
                g_ptr_array_add(states, buffer_copy(header.body, (uint32_t)header.body_size));
        }
    }
    assert_true(states->len > 0);
    return states;
}

static bool same_buffer(const struct buffer *a, const struct buffer *b)
{
    return a->capacity == b->capacity && memcmp(a->data, b->data, a->capacity) == 0;
}

static bool is_among(const GPtrArray *states, const struct buffer *index)
{
    for (guint i = 0; i < states->len; i++) {
        if (same_buffer(states->pdata[i], index))
            return true;
    }
    return false;
}

static void test_index(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(recordings); i++) {
        g_autoptr(GPtrArray) names = list_databases(&recordings[i]);
        g_autoptr(GPtrArray) states = collect_states(&recordings[i]);
        for (guint j = 0; j < names->len; j++) {
            struct store *store;
            struct state *loaded = load_recorded(*state, &recordings[i], names->pdata[j], &store);
            struct buffer *index = index_of(loaded);
            /* Nobody joined or left any more after the last step of these recordings. */
            bool expected = !g_str_has_prefix(names->pdata[j], "4-end") &&
                            strcmp(recordings[i].name, "timers") != 0;
            if (is_among(states, index) != expected)
                fail_msg("%s/%s: its index was %s by any node", recordings[i].name,
                         (char *)names->pdata[j], expected ? "not sent" : "sent");
            buffer_unref(index);
            state_free(loaded);
            store_close(store);
        }
    }
}

/* Every byte of an index counts: the comparison above must be able to fail. */
static void test_index_notices(void **state)
{
    const struct recording *recording = &recordings[0];
    g_autoptr(GPtrArray) states = collect_states(recording);
    struct store *store;
    struct state *loaded = load_recorded(*state, recording, "2-worked.node1", &store);
    struct draft *draft = draft_new(loaded);
    g_autoptr(GPtrArray) sorted = draft_sorted(draft);

    assert_true(sorted->len > 10);
    for (guint i = 0; i < sorted->len; i++) {
        struct entry *entry = entry_clone(sorted->pdata[i]);
        entry->writer++;
        draft_put(draft, entry);
        struct buffer *index = index_build(draft);
        assert_false(is_among(states, index));
        buffer_unref(index);
        draft_restart(draft);
    }
    draft_free(draft);
    state_free(loaded);
    store_close(store);
}

static void assert_guest(const struct state *state, const char *id, const json_t *guest)
{
    uint32_t number = (uint32_t)strtoul(id, NULL, 10);
    const struct guest *found = g_hash_table_lookup(state->guests.by_id, GUINT_TO_POINTER(number));

    if (!found)
        fail_msg("guest %s is not in the list", id);
    assert_string_equal(found->node, json_string_value(json_object_get(guest, "node")));
    assert_string_equal(guest_type_name(found->type),
                        json_string_value(json_object_get(guest, "type")));
}

static void test_guests(void **state)
{
    unsigned lists = 0;
    size_t guests = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(recordings); i++) {
        g_autoptr(GPtrArray) names = list_databases(&recordings[i]);
        for (guint j = 0; j < names->len && strcmp(recordings[i].name, "timers"); j++) {
            g_autofree char *file = g_strconcat(names->pdata[j], ".vmlist", NULL);
            g_autofree char *text = trace_file(recordings[i].name, file, NULL);
            json_t *list = json_loads(text, 0, NULL);
            json_t *ids = json_object_get(list, "ids");
            struct store *store;
            struct state *loaded = load_recorded(*state, &recordings[i], names->pdata[j], &store);
            const char *id;
            json_t *guest;
            assert_non_null(list);
            assert_int_equal(json_object_size(ids), g_hash_table_size(loaded->guests.by_id));
            json_object_foreach(ids, id, guest) assert_guest(loaded, id, guest);
            guests += json_object_size(ids);
            lists++;
            json_decref(list);
            state_free(loaded);
            store_close(store);
        }
    }
    assert_int_equal(lists, 20);
    assert_true(guests >= 20);
}

/* All nodes of a recording have the same at each step. */
static void test_nodes_agree(void **state)
{
    for (size_t i = 0; i < G_N_ELEMENTS(recordings); i++) {
        g_autoptr(GPtrArray) names = list_databases(&recordings[i]);
        g_autoptr(GHashTable) steps =
            g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)buffer_unref);
        for (guint j = 0; j < names->len; j++) {
            struct store *store;
            struct state *loaded = load_recorded(*state, &recordings[i], names->pdata[j], &store);
            struct buffer *index = index_of(loaded);
            const char *name = names->pdata[j];
            char *step = g_strndup(name, (gsize)(strchr(name, '.') - name));
            struct buffer *other = g_hash_table_lookup(steps, step);
            if (other && !same_buffer(other, index))
                fail_msg("%s/%s differs from another node", recordings[i].name, name);
            g_hash_table_insert(steps, step, index);
            state_free(loaded);
            store_close(store);
        }
    }
}

/* Commits all of a state's entries to an empty database. */
static void save(const struct state *state, const char *path)
{
    struct store *store;
    struct state *empty = state_new(load(path, &store), 0);
    struct draft *draft = draft_new(empty);
    g_autoptr(GPtrArray) sorted = tree_sorted(state->tree);

    for (guint i = 0; i < sorted->len; i++)
        draft_put(draft, entry_ref(sorted->pdata[i]));
    draft->root = state->tree->root;
    assert_int_equal(store_commit(store, draft), 0);
    draft_free(draft);
    state_free(empty);
    store_close(store);
}

static void test_load_save_load(void **state)
{
    const struct scratch *scratch = *state;

    for (size_t i = 0; i < G_N_ELEMENTS(recordings); i++) {
        g_autoptr(GPtrArray) names = list_databases(&recordings[i]);
        for (guint j = 0; j < names->len; j++) {
            g_autofree char *path = g_build_filename(scratch->directory, "saved.db", NULL);
            struct store *store;
            struct state *loaded = load_recorded(scratch, &recordings[i], names->pdata[j], &store);
            struct buffer *before = index_of(loaded);
            save(loaded, path);
            state_free(loaded);
            store_close(store);
            loaded = state_new(load(path, &store), 0);
            struct buffer *after = index_of(loaded);
            assert_true(same_buffer(before, after));
            buffer_unref(after);
            buffer_unref(before);
            state_free(loaded);
            store_close(store);
            empty_directory(scratch->directory);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index),          cmocka_unit_test(test_index_notices),
        cmocka_unit_test(test_guests),         cmocka_unit_test(test_nodes_agree),
        cmocka_unit_test(test_load_save_load),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
