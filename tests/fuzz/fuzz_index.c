/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: two indexes from other members, and what one lacks of the other. */
#include <glib.h>

#include "core/index.h"
#include "fuzz.h"

#define LAYOUT_RIGHT 1u /* flag: count and size are put right, to get behind the first test */

static bool has(const struct index_view *view, uint64_t inode)
{
    for (uint32_t i = 0; i < view->count; i++)
        if (get_le64(view->entries + (size_t)i * INDEX_ENTRY_SIZE) == inode)
            return true;
    return false;
}

static void check_difference(const struct index_view *these, const struct index_view *those,
                             const GArray *inodes, bool absent)
{
    for (guint i = 0; i < inodes->len; i++) {
        uint64_t inode = g_array_index(inodes, uint64_t, i);
        MUST(has(these, inode));
        MUST(!absent || !has(those, inode));
        MUST(i == 0 || inode > g_array_index(inodes, uint64_t, i - 1));
    }
}

static void compare(const struct index_view *leader, const struct index_view *own)
{
    g_autoptr(GArray) missing = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    g_autoptr(GArray) surplus = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    index_missing(leader, own, missing);
    index_surplus(own, leader, surplus);
    check_difference(leader, own, missing, false);
    check_difference(own, leader, surplus, true);
    /* Taking the missing and dropping the surplus gives as many entries as the leader has. */
    guint fresh = 0;
    for (guint i = 0; i < missing->len; i++)
        fresh += !has(own, g_array_index(missing, uint64_t, i));
    MUST(own->count - surplus->len + fresh == leader->count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader input = {.data = data, .left = size};
    uint8_t flags = reader_u8(&input);
    struct index_view views[2];
    uint8_t *pieces[2];
    int errors[2];

    for (size_t i = 0; i < 2; i++) {
        size_t length;
        pieces[i] = take_piece(&input, &length);
        if (flags & LAYOUT_RIGHT && length >= INDEX_HEADER_SIZE) {
            size_t count = (length - INDEX_HEADER_SIZE) / INDEX_ENTRY_SIZE;
            length = INDEX_HEADER_SIZE + count * INDEX_ENTRY_SIZE;
            put_le32(pieces[i] + 24, (uint32_t)count);
            put_le32(pieces[i] + 28, (uint32_t)length);
        }
        errors[i] = index_parse(pieces[i], length, &views[i]);
    }
    if (!errors[0] && !errors[1])
        compare(&views[0], &views[1]);
    free(pieces[0]);
    free(pieces[1]);
    return 0;
}
