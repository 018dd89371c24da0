/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: entries from a leader, put into a draft that is checked and published. */
#include <glib.h>
#include <string.h>

#include "cluster/wire.h"
#include "core/index.h"
#include "core/publish.h"
#include "fuzz.h"

/* An entry goes out as it came in. */
static void check_round_trip(const struct entry *entry)
{
    struct epoch epoch = {0};
    struct root root = {entry->version, entry->writer, entry->mtime};
    struct entry *again;
    struct buffer *message = wire_build_update(&epoch, 0, entry->inode == 0 ? NULL : entry, &root);

    MUST(wire_parse_update(message->data + SYNC_HEADER_SIZE, message->capacity - SYNC_HEADER_SIZE,
                           &again) == 0);
    MUST(again->inode == entry->inode && again->version == entry->version &&
         again->size == entry->size && strcmp(again->name, entry->name) == 0);
    entry_unref(again);
    buffer_unref(message);
}

/* Takes what the draft made of the entries, if it is a tree. */
static void publish(struct state *state, struct draft *draft)
{
    g_autofree char *problem = NULL;
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;
    uint32_t id;

    if (draft_check(draft, &problem) != 0) {
        MUST(problem != NULL);
        return;
    }
    if (draft_find_duplicate_guest(draft, &id, &first, &second))
        return;
    struct buffer *index = index_build(draft);
    struct index_view view;
    MUST(index_parse(index->data, index->capacity, &view) == 0);
    g_autoptr(GPtrArray) drafted = draft_sorted(draft);
    MUST(view.count == drafted->len + 1); /* with the root */
    draft->rebuild = true;
    state_publish(state, draft, 1000);
    MUST(tree_entry_count(state->tree) == view.count);
    g_autoptr(GPtrArray) sorted = tree_sorted(state->tree);
    for (guint i = 0; i < sorted->len; i++) {
        const struct entry *entry = sorted->pdata[i];
        g_autofree char *path = tree_path(state->tree, entry->inode);
        int error;
        MUST(path && tree_lookup(state->tree, path, &error) == entry);
    }
    buffer_unref(index);
}

static void take_update(struct draft *draft, struct reader *input)
{
    size_t size;
    uint8_t *body = take_piece(input, &size);
    struct entry *entry = NULL;
    int error = wire_parse_update(body, size, &entry);

    MUST(error == wire_check_update(body, size));
    if (!error) {
        check_round_trip(entry);
        if (entry->inode != 0) {
            draft_put(draft, entry);
        } else {
            draft->root = (struct root){entry->version, entry->writer, entry->mtime};
            entry_unref(entry);
        }
    }
    free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader input = {.data = data, .left = size};
    struct state *state = state_new(tree_new(), 0);
    struct draft *draft = draft_new(state);

    while (input.left > 0 && !input.bad) {
        uint8_t step = reader_u8(&input);
        if (step == 0)
            publish(state, draft);
        else if (step == 1)
            draft_remove(draft, reader_u8(&input));
        else
            take_update(draft, &input);
    }
    publish(state, draft);
    draft_free(draft);
    state_free(state);
    return 0;
}
