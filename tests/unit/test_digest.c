/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unit tests of digests and the index, against bytes laid out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <openssl/sha.h>
#include <string.h>

#include "base/util.h"
#include "world.h"

/* Appends the fields of a digest as the format says, by their own little code. */
static void put_fields(GByteArray *to, uint64_t version, uint32_t writer, uint32_t mtime,
                       uint32_t size, uint8_t type, uint64_t parent, const char *name,
                       const char *data)
{
    uint8_t bytes[33];

    put_le64(bytes, version);
    put_le32(bytes + 8, writer);
    put_le32(bytes + 12, mtime);
    put_le32(bytes + 16, size);
    bytes[20] = type;
    put_le64(bytes + 21, parent);
    g_byte_array_append(to, bytes, 29);
    g_byte_array_append(to, (const uint8_t *)name, (guint)strlen(name));
    g_byte_array_append(to, (const uint8_t *)data, (guint)strlen(data));
}

static void put_inode(GByteArray *to, uint64_t inode)
{
    uint8_t bytes[8];

    put_le64(bytes, inode);
    g_byte_array_append(to, bytes, sizeof(bytes));
}

static void assert_digest(GByteArray *bytes, const uint8_t *digest)
{
    uint8_t expected[DIGEST_SIZE];

    SHA256(bytes->data, bytes->len, expected);
    assert_memory_equal(digest, expected, DIGEST_SIZE);
    g_byte_array_set_size(bytes, 0);
}

static void start(struct world *world)
{
    world_start(world);
    world->writer = 0x01020304;
    world->time = 0x50607080;
    world_make(world, (const char *const[]){"d", NULL});   /* inode 2 */
    world_file(world, "d/file", "content");                /* inode 3, version 4 */
    assert_int_equal(world_create(world, "hole"), 0);      /* inode 5 */
    assert_int_equal(world_truncate(world, "hole", 9), 0); /* a size without content, version 6 */
}

static void test_digests(void **unused)
{
    struct world world;
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint8_t digest[DIGEST_SIZE];

    (void)unused;
    start(&world);
    put_fields(bytes, 2, 0x01020304, 0x50607080, 0, 4, 0, "d", "");
    assert_digest(bytes, entry_digest(world_entry(&world, "d")));
    put_fields(bytes, 4, 0x01020304, 0x50607080, 7, 8, 2, "file", "content");
    assert_digest(bytes, entry_digest(world_entry(&world, "d/file")));
    put_fields(bytes, 6, 0x01020304, 0x50607080, 9, 8, 0, "hole", "");
    assert_digest(bytes, entry_digest(world_entry(&world, "hole")));
    put_inode(bytes, 2);
    put_fields(bytes, 2, 0x01020304, 0x50607080, 0, 4, 0, "d", "");
    lock_digest(world_entry(&world, "d"), digest);
    assert_digest(bytes, digest);
    put_fields(bytes, 6, 0x01020304, 0x50607080, 0, 4, 0, "", "");
    root_digest(&world.draft->root, digest);
    assert_digest(bytes, digest);
    world_publish(&world);
    put_inode(bytes, 0);
    put_fields(bytes, 6, 0x01020304, 0x50607080, 0, 4, 0, "", "");
    put_inode(bytes, 2);
    put_fields(bytes, 2, 0x01020304, 0x50607080, 0, 4, 0, "d", "");
    put_inode(bytes, 3);
    put_fields(bytes, 4, 0x01020304, 0x50607080, 7, 8, 2, "file", "content");
    put_inode(bytes, 5);
    put_fields(bytes, 6, 0x01020304, 0x50607080, 9, 8, 0, "hole", "");
    tree_checksum(world.state->tree, digest);
    assert_digest(bytes, digest);
    world_stop(&world);
}

/* A digest is kept until the entry changes, and then it changes. */
static void test_digest_follows(void **unused)
{
    struct world world;
    uint8_t before[DIGEST_SIZE];

    (void)unused;
    start(&world);
    for (int step = 0; step < 4; step++) {
        const char *path = step == 3 ? "d/file2" : "d/file";
        memcpy(before, entry_digest(world_entry(&world, "d/file")), DIGEST_SIZE);
        if (step == 0)
            assert_int_equal(world_write(&world, path, 2, "X"), 0);
        else if (step == 1)
            assert_int_equal(world_mtime(&world, path, 77), 0);
        else if (step == 2)
            assert_int_equal(world_truncate(&world, path, 1), 0);
        else
            assert_int_equal(world_rename(&world, "d/file", path), 0);
        assert_memory_not_equal(before, entry_digest(world_entry(&world, path)), DIGEST_SIZE);
    }
    world_stop(&world);
}

static void test_index(void **unused)
{
    struct world world;
    struct index_view view;

    (void)unused;
    start(&world);
    struct buffer *index = index_build(world.draft);
    assert_int_equal(index->capacity, 32 + 4 * 40);
    assert_int_equal(get_le64(index->data), 6);
    assert_int_equal(get_le64(index->data + 8), 5);
    assert_int_equal(get_le32(index->data + 16), 0x01020304);
    assert_int_equal(get_le32(index->data + 20), 0x50607080);
    assert_int_equal(get_le32(index->data + 24), 4);
    assert_int_equal(get_le32(index->data + 28), 32 + 4 * 40);
    static const uint64_t inodes[] = {0, 2, 3, 5};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(get_le64(index->data + 32 + i * 40), inodes[i]);
    assert_memory_equal(index->data + 32 + 2 * 40 + 8, entry_digest(world_entry(&world, "d/file")),
                        DIGEST_SIZE);
    assert_int_equal(index_parse(index->data, index->capacity, &view), 0);
    assert_int_equal(view.version, 6);
    assert_int_equal(view.count, 4);
    buffer_unref(index);
    world_stop(&world);
}

static void test_index_of_nothing(void **unused)
{
    struct world world;

    (void)unused;
    world_start(&world);
    struct buffer *index = index_build(world.draft);
    assert_int_equal(index->capacity, 72);
    assert_int_equal(get_le64(index->data), 1);
    assert_int_equal(get_le64(index->data + 8), 0);
    assert_int_equal(get_le32(index->data + 24), 1);
    buffer_unref(index);
    world_stop(&world);
}

/* Every index that a foreign node might send wrong. */
static void test_index_malformed(void **unused)
{
    struct world world;
    struct index_view view;

    (void)unused;
    start(&world);
    struct buffer *index = index_build(world.draft);
    for (uint32_t size = 0; size < index->capacity; size++) {
        g_autofree uint8_t *cut = g_malloc(size ? size : 1); /* so that reading beyond is noticed */
        memcpy(cut, index->data, size);
        assert_int_equal(index_parse(cut, size, &view), -EBADMSG);
        if (size < 32)
            continue;
        put_le32(cut + 28, size); /* `bytes` fits, `size` does not */
        assert_int_equal(index_parse(cut, size, &view), -EBADMSG);
    }
    static const uint32_t counts[] = {0, 3, 5, 0x06666667 /* × 40 = 8 in 32 bits */, 0xffffffff};
    for (size_t i = 0; i < G_N_ELEMENTS(counts); i++) {
        put_le32(index->data + 24, counts[i]);
        assert_int_equal(index_parse(index->data, index->capacity, &view), -EBADMSG);
    }
    put_le32(index->data + 24, 4);
    assert_int_equal(index_parse(index->data, index->capacity, &view), 0);
    put_le64(index->data + 32 + 2 * 40, 2); /* an inode twice */
    assert_int_equal(index_parse(index->data, index->capacity, &view), -EBADMSG);
    put_le64(index->data + 32 + 2 * 40, 1); /* descending */
    assert_int_equal(index_parse(index->data, index->capacity, &view), -EBADMSG);
    buffer_unref(index);
    world_stop(&world);
}

static void put_entry(GByteArray *index, uint64_t inode, uint8_t digest)
{
    uint8_t bytes[INDEX_ENTRY_SIZE];

    put_le64(bytes, inode);
    memset(bytes + 8, digest, DIGEST_SIZE);
    g_byte_array_append(index, bytes, sizeof(bytes));
}

static struct index_view view_of(const GByteArray *entries)
{
    return (struct index_view){.count = entries->len / INDEX_ENTRY_SIZE, .entries = entries->data};
}

static void assert_inodes(GArray *inodes, const uint64_t *expected, guint count)
{
    assert_int_equal(inodes->len, count);
    for (guint i = 0; i < count; i++)
        assert_int_equal(g_array_index(inodes, uint64_t, i), expected[i]);
    g_array_set_size(inodes, 0);
}

static void test_index_difference(void **unused)
{
    g_autoptr(GByteArray) leader = g_byte_array_new();
    g_autoptr(GByteArray) other = g_byte_array_new();
    g_autoptr(GArray) inodes = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    (void)unused;
    put_entry(leader, 0, 1);
    put_entry(leader, 2, 1);
    put_entry(leader, 5, 1);
    put_entry(leader, 9, 1);
    put_entry(leader, 12, 1);
    put_entry(other, 0, 2);
    put_entry(other, 1, 1);
    put_entry(other, 5, 1);
    put_entry(other, 9, 2);
    put_entry(other, 10, 1);
    struct index_view a = view_of(leader);
    struct index_view b = view_of(other);
    index_missing(&a, &b, inodes);
    assert_inodes(inodes, (const uint64_t[]){0, 2, 9, 12}, 4);
    index_surplus(&b, &a, inodes);
    assert_inodes(inodes, (const uint64_t[]){1, 10}, 2);
    index_missing(&a, &a, inodes);
    index_surplus(&a, &a, inodes);
    assert_int_equal(inodes->len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests),         cmocka_unit_test(test_digest_follows),
        cmocka_unit_test(test_index),           cmocka_unit_test(test_index_of_nothing),
        cmocka_unit_test(test_index_malformed), cmocka_unit_test(test_index_difference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
