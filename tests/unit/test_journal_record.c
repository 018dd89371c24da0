/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The bytes of records and rows: what is written gives the same when it is read (journal/record.h).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "core/entry.h"
#include "journal/record.h"

static struct entry *random_entry(GRand *random, uint64_t inode)
{
    uint32_t size = (uint32_t)g_rand_int_range(random, 0, 3000);
    struct buffer *content = g_rand_int_range(random, 0, 8) ? buffer_new(size) : NULL;
    char name[20];

    for (uint32_t i = 0; content && i < size; i++)
        content->data[i] = (uint8_t)g_rand_int_range(random, 0, 4);
    g_snprintf(name, sizeof(name), "n%d", g_rand_int_range(random, 0, 3));
    struct entry *entry = entry_new(inode, (uint64_t)g_rand_int_range(random, 0, 2), ENTRY_FILE,
                                    name, strlen(name), content, content ? size : 0);
    buffer_unref(content);
    entry->version = g_rand_int(random);
    entry->writer = g_rand_int(random);
    entry->mtime = g_rand_int(random);
    return entry;
}

/* Alters a few bytes in the middle, cuts, or extends. */
static struct entry *edited(GRand *random, const struct entry *before)
{
    if (!before || !before->content || g_rand_int_range(random, 0, 4) == 0)
        return random_entry(random, 7);
    int32_t delta = g_rand_int_range(random, 0, 2) ? 0 : g_rand_int_range(random, -300, 300);
    uint32_t size = (uint32_t)MAX(1, (int32_t)before->size + delta);
    struct buffer *content = buffer_new(size);
    memset(content->data, 1, size);
    memcpy(content->data, before->content->data, MIN(size, before->size));
    content->data[g_rand_int_range(random, 0, (int32_t)size)] ^= 1;
    struct entry *entry =
        entry_new(7, before->parent, ENTRY_FILE, before->name, before->name_length, content, size);
    buffer_unref(content);
    entry->version = before->version + 1;
    return entry;
}

/* What a row has of the content begins and ends with a byte that differs. */
static void assert_shortest(const struct journal_row *row, const struct entry *before,
                            const struct entry *after)
{
    uint32_t old_size = before && before->content ? before->size : 0;
    uint32_t size = after->content ? after->size : 0;
    uint32_t from = 0;
    uint32_t to = size;

    while (from < MIN(size, old_size) && after->content->data[from] == before->content->data[from])
        from++;
    while (size <= old_size && to > from &&
           after->content->data[to - 1] == before->content->data[to - 1])
        to--;
    assert_int_equal(row->offset, from);
    assert_int_equal(row->length, to - from);
}

static void assert_row_gives(const GByteArray *bytes, const struct entry *before,
                             struct entry *after)
{
    struct journal_record record;
    struct journal_row row;

    assert_true(journal_record_read(bytes->data, bytes->len, &record));
    assert_true(journal_record_is_whole(bytes->data, &record));
    assert_int_equal(journal_aligned(record.size), bytes->len);
    struct reader reader = {.data = record.rows, .left = record.rows_size};
    assert_true(journal_row_read(&reader, &row));
    assert_shortest(&row, before, after);
    struct entry *made = journal_row_apply(&row, before);
    uint8_t wanted[DIGEST_SIZE];
    uint8_t found[DIGEST_SIZE];
    assert_non_null(made);
    journal_digest(after, wanted);
    journal_digest(made, found);
    assert_memory_equal(found, wanted, DIGEST_SIZE);
    assert_int_equal(made->inode, 7);
    assert_false(journal_row_read(&reader, &row));
    assert_false(reader.bad);
    entry_unref(made);
}

static void test_rows_give_what_was_put_in(void **state)
{
    GRand *random = g_rand_new_with_seed(1);
    GByteArray *bytes = g_byte_array_new();
    struct root root = {5, 1, 2};
    struct entry *before = NULL;

    (void)state;
    for (unsigned i = 0; i < 20000; i++) {
        struct entry *after = edited(random, before);
        journal_record_begin(bytes, 1, i, &root, &root);
        journal_record_add(bytes, 7, g_rand_boolean(random), before, after);
        journal_record_finish(bytes);
        assert_row_gives(bytes, before, after);
        entry_unref(before);
        before = after;
    }
    entry_unref(before);
    g_byte_array_unref(bytes);
    g_rand_free(random);
}

static void test_a_damaged_byte_is_found(void **state)
{
    GByteArray *bytes = g_byte_array_new();
    struct root root = {5, 1, 2};
    struct journal_record record;
    struct entry *entry = entry_new(7, 0, ENTRY_DIRECTORY, "name", 4, NULL, 0);

    (void)state;
    journal_record_begin(bytes, 1, 0, &root, &root);
    journal_record_add(bytes, 7, false, NULL, entry);
    journal_record_finish(bytes);
    assert_true(journal_record_read(bytes->data, bytes->len, &record));
    for (uint32_t i = 0; i < record.size; i++) {
        struct journal_record damaged;
        bytes->data[i] ^= 0x10;
        assert_false(journal_record_read(bytes->data, bytes->len, &damaged) &&
                     damaged.size <= bytes->len && journal_record_is_whole(bytes->data, &damaged));
        bytes->data[i] ^= 0x10;
    }
    entry_unref(entry);
    g_byte_array_unref(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_give_what_was_put_in),
        cmocka_unit_test(test_a_damaged_byte_is_found),
    };

    return cmocka_run_group_tests_name("journal_record", tests, NULL, NULL);
}
