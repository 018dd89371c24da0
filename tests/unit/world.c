/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A small replicated state for the core's tests: changes in a line each, and what must hold after
 * every one of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "core/publish.h"
#include "world.h"

void world_start(struct world *world)
{
    *world = (struct world){.writer = 1, .time = 1000, .now = 1};
    world->state = state_new(tree_new(), world->now);
    world->draft = draft_new(world->state);
}

void world_stop(struct world *world)
{
    draft_free(world->draft);
    state_free(world->state);
}

/* Sizes and children as a walk over all entries finds them. */
static void assert_proper(const struct draft *draft)
{
    g_autoptr(GPtrArray) sorted = draft_sorted(draft);
    g_autofree char *problem = NULL;
    uint64_t bytes = 0;

    if (draft_check(draft, &problem))
        fail_msg("%s", problem);
    for (guint i = 0; i < sorted->len; i++) {
        const struct entry *entry = sorted->pdata[i];
        bytes += entry->size;
        assert_true(draft_has_children(draft, entry->parent));
    }
    assert_int_equal(bytes, draft->bytes);
}

static void assert_effect(const struct draft *draft, const struct change *change, guint effects)
{
    assert_int_equal(draft->effects->len, effects + 1);
    const struct effect *effect = draft->effects->pdata[effects];
    assert_int_equal(effect->operation, change->operation);
    assert_int_equal(effect->version, draft->root.version);
    assert_int_equal(effect->writer, change->writer);
    assert_int_equal(effect->time, change->time);
    assert_string_equal(effect->path, change->path);
    assert_true(effect->before || effect->after);
    assert_true(effect->truncated == (change->operation == CHANGE_WRITE && change->truncate));
    if (effect->after)
        assert_ptr_equal(effect->after, draft_entry(draft, effect->after->inode));
    else
        assert_null(draft_entry(draft, effect->before->inode));
}

int world_apply(struct world *world, struct change change)
{
    struct draft *draft = world->draft;
    struct root before = draft->root;
    guint effects = draft->effects->len;
    struct buffer *index = index_build(draft);
    g_autofree char *guests = world_guests(world);

    change.writer = world->writer;
    change.time = world->time;
    int result = apply(draft, &change, NULL);
    struct buffer *after = index_build(draft);
    if (result) {
        g_autofree char *same = world_guests(world);
        assert_true(result < 0);
        assert_int_equal(after->capacity, index->capacity);
        assert_memory_equal(after->data, index->data, index->capacity);
        assert_string_equal(same, guests);
        assert_int_equal(draft->effects->len, effects);
    } else {
        assert_int_equal(draft->root.version, before.version + 1);
        assert_int_equal(draft->root.writer, change.writer);
        assert_int_equal(draft->root.mtime,
                         change.operation == CHANGE_MTIME ? change.offset : change.time);
        assert_effect(draft, &change, effects);
        assert_proper(draft);
    }
    buffer_unref(after);
    buffer_unref(index);
    return result;
}

int world_create(struct world *world, const char *path)
{
    return world_apply(world, (struct change){.operation = CHANGE_CREATE, .path = path});
}

int world_mkdir(struct world *world, const char *path)
{
    return world_apply(world, (struct change){.operation = CHANGE_MKDIR, .path = path});
}

int world_delete(struct world *world, const char *path)
{
    return world_apply(world, (struct change){.operation = CHANGE_DELETE, .path = path});
}

int world_rename(struct world *world, const char *path, const char *to)
{
    return world_apply(world, (struct change){.operation = CHANGE_RENAME, .path = path, .to = to});
}

int world_mtime(struct world *world, const char *path, uint32_t mtime)
{
    return world_apply(world,
                       (struct change){.operation = CHANGE_MTIME, .path = path, .offset = mtime});
}

int world_write(struct world *world, const char *path, uint32_t offset, const char *text)
{
    return world_apply(world, (struct change){.operation = CHANGE_WRITE,
                                              .path = path,
                                              .offset = offset,
                                              .size = (uint32_t)strlen(text),
                                              .data = (const uint8_t *)text});
}

int world_truncate(struct world *world, const char *path, uint32_t size)
{
    return world_apply(
        world,
        (struct change){.operation = CHANGE_WRITE, .path = path, .offset = size, .truncate = true});
}

int world_unlock(struct world *world, const char *path, const uint8_t *digest)
{
    struct change change = {.operation = CHANGE_UNLOCK, .path = path};

    memcpy(change.digest, digest, DIGEST_SIZE);
    return world_apply(world, change);
}

void world_make(struct world *world, const char *const *directories)
{
    for (; *directories; directories++)
        assert_int_equal(world_mkdir(world, *directories), 0);
}

void world_file(struct world *world, const char *path, const char *text)
{
    assert_int_equal(world_create(world, path), 0);
    if (*text)
        assert_int_equal(world_write(world, path, 0, text), 0);
}

void world_publish(struct world *world)
{
    struct draft *draft = world->draft;
    struct buffer *before = index_build(draft);
    g_autofree char *guests = world_guests(world);
    uint64_t bytes = draft->bytes;

    state_publish(world->state, draft, world->now);
    assert_true(draft_is_empty(draft));
    struct buffer *after = index_build(draft);
    g_autofree char *published = world_guests(world);
    assert_int_equal(after->capacity, before->capacity);
    assert_memory_equal(after->data, before->data, before->capacity);
    assert_string_equal(published, guests);
    assert_int_equal(world->state->tree->bytes, bytes);
    assert_proper(draft);
    buffer_unref(after);
    buffer_unref(before);
}

struct entry *world_entry(const struct world *world, const char *path)
{
    int error;
    struct entry *entry = draft_lookup(world->draft, path, &error);

    if (!entry)
        fail_msg("%s is not there (%d)", path, error);
    return entry;
}

void world_assert_content(const struct world *world, const char *path, const char *text)
{
    const struct entry *entry = world_entry(world, path);

    assert_int_equal(entry->size, strlen(text));
    if (!*text) {
        assert_null(entry->content);
        return;
    }
    assert_non_null(entry->content);
    assert_memory_equal(entry->content->data, text, entry->size);
}

static gint compare_guests(gconstpointer a, gconstpointer b)
{
    const struct guest *first = *(struct guest *const *)a;
    const struct guest *second = *(struct guest *const *)b;

    return (first->id > second->id) - (first->id < second->id);
}

char *world_guests(const struct world *world)
{
    g_autoptr(GHashTable) ids = g_hash_table_new(g_direct_hash, g_direct_equal);
    g_autoptr(GPtrArray) guests = g_ptr_array_new();
    GString *text = g_string_new(NULL);
    GHashTableIter iter;
    gpointer id;

    g_hash_table_iter_init(&iter, world->state->guests.by_id);
    while (g_hash_table_iter_next(&iter, &id, NULL))
        g_hash_table_add(ids, id);
    g_hash_table_iter_init(&iter, world->draft->guests);
    while (g_hash_table_iter_next(&iter, &id, NULL))
        g_hash_table_add(ids, id);
    g_hash_table_iter_init(&iter, ids);
    while (g_hash_table_iter_next(&iter, &id, NULL)) {
        const struct guest *guest = draft_guest(world->draft, (uint32_t)(uintptr_t)id);
        if (guest)
            g_ptr_array_add(guests, (gpointer)(uintptr_t)guest);
    }
    g_ptr_array_sort(guests, compare_guests);
    for (guint i = 0; i < guests->len; i++) {
        const struct guest *guest = guests->pdata[i];
        g_string_append_printf(text, "%s%u=%s/%s", i ? " " : "", guest->id, guest->node,
                               guest_type_name(guest->type));
    }
    return g_string_free(text, FALSE);
}

void world_assert_guests(const struct world *world, const char *expected)
{
    g_autofree char *guests = world_guests(world);

    assert_string_equal(guests, expected);
}
