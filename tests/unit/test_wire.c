/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of messages as bytes and back: layouts byte by byte, and every way to be malformed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "core/tree.h"

static const struct epoch some_epoch = {0x01020304, 0x11121314, 3, 0x4567};

/* The header */

static void header_of_normal(void **state)
{
    static const uint8_t message[] = {0, 0, 5, 0, 1, 0, 0, 0, 4, 3, 2,   1,   0,  0,
                                      0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 'b', 'o', 'd'};
    struct header header;

    (void)state;
    assert_int_equal(wire_parse_header(message, sizeof(message), &header), 0);
    assert_int_equal(header.type, MESSAGE_NORMAL);
    assert_int_equal(header.subtype, 5);
    assert_int_equal(header.protocol, 1);
    assert_int_equal(header.time, 0x01020304);
    assert_true(header.count == 0x0102030405060708ull);
    assert_int_equal(header.body_size, 3);
    assert_memory_equal(header.body, "bod", 3);
}

static void header_of_sync(void **state)
{
    static const uint8_t expected[] = {4, 0, 0, 0, 1,    0,    0,    0,    9,    0,    0,    0,
                                       0, 0, 0, 0, 4,    3,    2,    1,    0x14, 0x13, 0x12, 0x11,
                                       3, 0, 0, 0, 0x67, 0x45, 0x00, 0x00, 'x',  'y'};
    struct buffer *message = wire_build_sync(MESSAGE_UPDATE_COMPLETE, CONFIGURATION_PROTOCOL,
                                             &some_epoch, 9, (const uint8_t *)"xy", 2);
    struct header header;

    (void)state;
    assert_int_equal(message_size(message), sizeof(expected));
    assert_memory_equal(message->data, expected, sizeof(expected));
    assert_int_equal(wire_parse_header(message->data, message_size(message), &header), 0);
    assert_int_equal(header.type, MESSAGE_UPDATE_COMPLETE);
    assert_int_equal(header.time, 9);
    assert_memory_equal(&header.epoch, &some_epoch, sizeof(some_epoch));
    assert_int_equal(header.body_size, 2);
    assert_memory_equal(header.body, "xy", 2);
    buffer_unref(message);
}

static void header_too_short(void **state)
{
    uint8_t message[SYNC_HEADER_SIZE] = {0};
    struct header header;

    (void)state;
    put_le32(message + 4, 7);
    for (uint16_t type = 0; type <= 8; type++) {
        size_t least = type == MESSAGE_NORMAL ? NORMAL_HEADER_SIZE : SYNC_HEADER_SIZE;
        put_le16(message, type);
        for (size_t size = 0; size < least; size++) {
            assert_int_equal(wire_parse_header(message, size, &header), -EBADMSG);
            assert_int_equal(header.protocol, size < HEADER_SIZE ? 0 : 7);
            assert_int_equal(header.type, size < HEADER_SIZE ? 0 : type);
        }
        assert_int_equal(wire_parse_header(message, least, &header), 0);
        assert_int_equal(header.body_size, 0);
    }
}

static void normal_message(void **state)
{
    static const uint8_t expected[] = {0, 0, 3, 0, 0, 0, 0, 0, 2, 1, 0, 0,   0,
                                       0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 'k', 'v'};
    struct buffer *message =
        wire_build_normal(3, STATUS_PROTOCOL, 7, 0x0102, (const uint8_t *)"kv", 2);

    (void)state;
    assert_int_equal(message_size(message), sizeof(expected));
    assert_memory_equal(message->data, expected, sizeof(expected));
    buffer_unref(message);
}

/* Changes */

/* The body that a change makes must be `expected`, and must give the same change when read. */
static void check_change(const struct change *change, const char *expected, size_t size)
{
    struct buffer *message;
    struct header header;
    struct change back;

    assert_int_equal(wire_build_change(change, &message), 0);
    wire_number(message, 7, 0x0102);
    assert_int_equal(wire_parse_header(message->data, message_size(message), &header), 0);
    assert_int_equal(header.type, MESSAGE_NORMAL);
    assert_int_equal(header.subtype, change->operation);
    assert_int_equal(header.protocol, CONFIGURATION_PROTOCOL);
    assert_int_equal(header.time, 0x0102);
    assert_int_equal(header.count, 7);
    assert_int_equal(header.body_size, size);
    assert_memory_equal(header.body, expected, size);
    assert_int_equal(wire_parse_change(header.subtype, header.body, header.body_size, &back), 0);
    assert_int_equal(back.operation, change->operation);
    assert_int_equal(back.truncate, change->truncate);
    assert_int_equal(back.offset, change->offset);
    assert_int_equal(back.size, change->size);
    assert_true(!back.path == !change->path);
    assert_true(!back.to == !change->to);
    if (change->path)
        assert_string_equal(back.path, change->path);
    if (change->to)
        assert_string_equal(back.to, change->to);
    if (change->size > 0)
        assert_memory_equal(back.data, change->data, change->size);
    assert_memory_equal(back.digest, change->digest, DIGEST_SIZE);
    buffer_unref(message);
}

#define CHECK_CHANGE(expected, ...)                                                                \
    check_change(&(const struct change){__VA_ARGS__}, expected, sizeof(expected) - 1)

static void changes(void **state)
{
    (void)state;
    CHECK_CHANGE("\3\0\0\0\2\1\0\0\4\0\0\0\0\0\0\0\1\0\0\0a/b\0dat", .operation = CHANGE_WRITE,
                 .truncate = true, .offset = 0x102, .size = 3, .path = "a/b",
                 .data = (const uint8_t *)"dat");
    CHECK_CHANGE("\0\0\0\0\x32\0\0\0\2\0\0\0\0\0\0\0\1\0\0\0a\0", .operation = CHANGE_WRITE,
                 .truncate = true, .offset = 50, .path = "a");
    CHECK_CHANGE("\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0d\0", .operation = CHANGE_MKDIR,
                 .path = "d");
    CHECK_CHANGE("\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0d\0", .operation = CHANGE_DELETE,
                 .path = "d");
    CHECK_CHANGE("\0\0\0\0\0\0\0\0\2\0\0\0\3\0\0\0\0\0\0\0a\0bc\0", .operation = CHANGE_RENAME,
                 .path = "a", .to = "bc");
    CHECK_CHANGE("\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0f\0", .operation = CHANGE_CREATE,
                 .path = "f");
    CHECK_CHANGE("\0\0\0\0\4\3\2\1\2\0\0\0\0\0\0\0\0\0\0\0f\0", .operation = CHANGE_MTIME,
                 .offset = 0x01020304, .path = "f");
    CHECK_CHANGE("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", .operation = CHANGE_CREATE);
    CHECK_CHANGE("0123456789abcdef0123456789ABCDEFpriv/lock/x\0", .operation = CHANGE_UNLOCK,
                 .path = "priv/lock/x", .digest = "0123456789abcdef0123456789ABCDEF");
    CHECK_CHANGE("0123456789abcdef0123456789ABCDEFl\0", .operation = CHANGE_UNLOCK_REQUEST,
                 .path = "l", .digest = "0123456789abcdef0123456789ABCDEF");
}

static void change_too_long(void **state)
{
    g_autofree uint8_t *data = g_malloc0(MESSAGE_SIZE_MAX);
    struct change change = {.operation = CHANGE_WRITE, .path = "f", .data = data};
    struct buffer *message;

    (void)state;
    change.size = MESSAGE_SIZE_MAX - NORMAL_HEADER_SIZE - 22;
    assert_int_equal(wire_build_change(&change, &message), 0);
    assert_int_equal(message_size(message), MESSAGE_SIZE_MAX);
    buffer_unref(message);
    change.size++;
    assert_int_equal(wire_build_change(&change, &message), -EMSGSIZE);
    assert_null(message);
    change.size = UINT32_MAX;
    assert_int_equal(wire_build_change(&change, &message), -EMSGSIZE);
    assert_null(message);
}

static int parse(uint16_t subtype, const char *body, size_t size)
{
    /* A copy of its own, so that a sanitizer sees a read beyond its end. */
    g_autofree uint8_t *copy = g_memdup2(body, size);
    struct change change;

    return wire_parse_change(subtype, copy, size, &change);
}

#define PARSE(subtype, body) parse(subtype, body, sizeof(body) - 1)

static void change_malformed(void **state)
{
    static const char rename[] = "\3\0\0\0\0\0\0\0\2\0\0\0\3\0\0\0\0\0\0\0a\0bc\0dat";

    (void)state;
    assert_int_equal(PARSE(CHANGE_RENAME, rename), 0);
    for (size_t size = 0; size < sizeof(rename) - 1; size++)
        assert_int_equal(parse(CHANGE_RENAME, rename, size), -EBADMSG);
    assert_int_equal(parse(CHANGE_RENAME, rename, sizeof(rename)), -EBADMSG); /* one byte more */
    for (unsigned subtype = 0; subtype <= UINT16_MAX; subtype++)
        if (subtype < 1 || subtype > 8)
            assert_int_equal(PARSE((uint16_t)subtype, rename), -EBADMSG);
    /* No NUL at the end of the path, of the target. */
    assert_int_equal(PARSE(4, "\0\0\0\0\0\0\0\0\2\0\0\0\2\0\0\0\0\0\0\0abb\0"), -EBADMSG);
    assert_int_equal(PARSE(4, "\0\0\0\0\0\0\0\0\2\0\0\0\2\0\0\0\0\0\0\0a\0bb"), -EBADMSG);
    /* Lengths whose sum wraps around 32 bits to the right one. */
    assert_int_equal(PARSE(1, "\0\0\0\200\0\0\0\0\2\0\0\200\0\0\0\0\0\0\0\0a\0"), -EBADMSG);
    assert_int_equal(PARSE(1, "\377\377\377\377\0\0\0\0\3\0\0\0\0\0\0\0\0\0\0\0a\0"), -EBADMSG);
    assert_int_equal(PARSE(1, "\0\0\0\0\0\0\0\0\377\377\377\377\3\0\0\0\0\0\0\0a\0"), -EBADMSG);
}

static void change_lenient(void **state)
{
    static const char any_flag[] = "\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0\200a\0";
    static const char two_nuls[] = "\0\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\0\0\0\0a\0b\0";
    struct change change;

    (void)state;
    assert_int_equal(wire_parse_change(1, (const uint8_t *)any_flag, sizeof(any_flag) - 1, &change),
                     0);
    assert_true(change.truncate);
    assert_int_equal(wire_parse_change(2, (const uint8_t *)two_nuls, sizeof(two_nuls) - 1, &change),
                     0);
    assert_string_equal(change.path, "a");
    assert_null(change.to);
    assert_null(change.data);
}

static void unlock_malformed(void **state)
{
    static const char unlock[] = "0123456789abcdef0123456789ABCDEFpath\0";

    (void)state;
    for (uint16_t subtype = 7; subtype <= 8; subtype++) {
        assert_int_equal(PARSE(subtype, unlock), 0);
        for (size_t size = 0; size < sizeof(unlock) - 1; size++)
            assert_int_equal(parse(subtype, unlock, size), -EBADMSG);
        assert_int_equal(PARSE(subtype, "0123456789abcdef0123456789ABCDEFpath\0x"), -EBADMSG);
        assert_int_equal(PARSE(subtype, "0123456789abcdef0123456789ABCDEF"), -EBADMSG);
    }
}

/* Updates */

static struct entry *some_entry(uint8_t type, const char *content, uint32_t size)
{
    struct buffer *buffer = content ? buffer_copy(content, size) : NULL;
    struct entry *entry = entry_new(0x22, 9, type, "name", 4, buffer, size);

    buffer_unref(buffer);
    entry->version = 0x1234;
    entry->writer = 3;
    entry->mtime = 0x01020304;
    return entry;
}

static void update_of_file(void **state)
{
    static const char expected[] =
        "\3\0\0\0\1\0\0\0\5\0\0\0\0\0\0\0"                        /* header */
        "\4\3\2\1\x14\x13\x12\x11\3\0\0\0\x67\x45\0\0"            /* epoch */
        "\x9\0\0\0\0\0\0\0\x22\0\0\0\0\0\0\0\x34\x12\0\0\0\0\0\0" /* u64 */
        "\3\0\0\0\4\3\2\1\3\0\0\0\5\0\0\0\x8name\0abc";
    struct entry *entry = some_entry(ENTRY_FILE, "abc", 3), *back = NULL;
    struct buffer *message = wire_build_update(&some_epoch, 5, entry, NULL);
    struct header header;

    (void)state;
    assert_int_equal(message_size(message), sizeof(expected) - 1);
    assert_memory_equal(message->data, expected, sizeof(expected) - 1);
    assert_int_equal(wire_parse_header(message->data, message_size(message), &header), 0);
    assert_int_equal(wire_check_update(header.body, header.body_size), 0);
    assert_int_equal(wire_parse_update(header.body, header.body_size, &back), 0);
    assert_true(back->inode == 0x22 && back->parent == 9 && back->version == 0x1234);
    assert_int_equal(back->writer, 3);
    assert_int_equal(back->mtime, 0x01020304);
    assert_int_equal(back->type, ENTRY_FILE);
    assert_string_equal(back->name, "name");
    assert_int_equal(back->size, 3);
    assert_memory_equal(back->content->data, "abc", 3);
    entry_unref(back);
    entry_unref(entry);
    buffer_unref(message);
}

/* Content buffers may have more room, and more bytes, than the entry looks at. */
static void update_of_growing_file(void **state)
{
    struct buffer *buffer = buffer_append(NULL, 0, "abcdef", 6);
    struct entry *entry = entry_new(1, 0, ENTRY_FILE, "f", 1, buffer, 3);
    struct buffer *message = wire_build_update(&some_epoch, 5, entry, NULL);

    (void)state;
    assert_int_equal(message_size(message), SYNC_HEADER_SIZE + 41 + 2 + 3);
    assert_memory_equal(message->data + SYNC_HEADER_SIZE + 41, "f\0abc", 5);
    buffer_unref(message);
    entry_unref(entry);
    buffer_unref(buffer);
}

static void check_back(const struct entry *entry)
{
    struct buffer *message = wire_build_update(&some_epoch, 5, entry, NULL);
    struct entry *back = NULL;

    assert_int_equal(wire_parse_update(message->data + SYNC_HEADER_SIZE,
                                       message_size(message) - SYNC_HEADER_SIZE, &back),
                     0);
    assert_int_equal(back->type, entry->type);
    assert_int_equal(back->size, entry->size);
    assert_null(back->content);
    entry_unref(back);
    buffer_unref(message);
}

static void update_without_data(void **state)
{
    struct entry *directory = some_entry(ENTRY_DIRECTORY, NULL, 0);
    struct entry *empty = some_entry(ENTRY_FILE, NULL, 0);
    struct entry *hole = some_entry(ENTRY_FILE, NULL, 77);

    (void)state;
    check_back(directory);
    check_back(empty);
    check_back(hole);
    entry_unref(directory);
    entry_unref(empty);
    entry_unref(hole);
}

static void update_of_root(void **state)
{
    struct root root = {.version = 24, .writer = 1, .mtime = 1795348310};
    struct buffer *message = wire_build_update(&some_epoch, 5, NULL, &root);
    static const char expected[] = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x18\0\0\0\0\0\0\0\1\0\0\0"
                                   "\x56\xd7\x02\x6b\0\0\0\0\1\0\0\0\4\0";
    struct entry *back = NULL;

    (void)state;
    assert_int_equal(message_size(message), SYNC_HEADER_SIZE + sizeof(expected) - 1);
    assert_memory_equal(message->data + SYNC_HEADER_SIZE, expected, sizeof(expected) - 1);
    assert_int_equal(wire_parse_update((const uint8_t *)expected, sizeof(expected) - 1, &back), 0);
    assert_true(back->inode == 0 && back->version == 24);
    assert_int_equal(back->name_length, 0);
    assert_int_equal(back->mtime, 1795348310);
    entry_unref(back);
    buffer_unref(message);
}

/* An UPDATE's body, to be spoilt. */
static GByteArray *update_body(uint64_t inode, uint32_t size, uint32_t name_size, uint8_t type,
                               const char *rest, size_t rest_size)
{
    GByteArray *body = g_byte_array_new();
    uint8_t fields[41] = {0};

    put_le64(fields + 8, inode);
    put_le32(fields + 32, size);
    put_le32(fields + 36, name_size);
    fields[40] = type;
    g_byte_array_append(body, fields, sizeof(fields));
    g_byte_array_append(body, (const guint8 *)rest, (guint)rest_size);
    return body;
}

static int try_update(uint64_t inode, uint32_t size, uint32_t name_size, uint8_t type,
                      const char *rest, size_t rest_size)
{
    g_autoptr(GByteArray) body = update_body(inode, size, name_size, type, rest, rest_size);
    g_autofree uint8_t *copy = g_memdup2(body->data, body->len);
    struct entry *entry = NULL;
    int result = wire_parse_update(copy, body->len, &entry);

    assert_int_equal(wire_check_update(copy, body->len), result);
    if (result == 0)
        entry_unref(entry);
    return result;
}

static void update_malformed(void **state)
{
    (void)state;
    assert_int_equal(try_update(5, 3, 2, ENTRY_FILE, "f\0abc", 5), 0);
    assert_int_equal(try_update(5, 0, 2, ENTRY_DIRECTORY, "d", 2), 0);
    for (unsigned type = 0; type < 256; type++)
        assert_int_equal(try_update(5, 0, 2, (uint8_t)type, "x", 2),
                         type == ENTRY_FILE || type == ENTRY_DIRECTORY ? 0 : -EBADMSG);
    /* Lengths. */
    assert_int_equal(try_update(5, 3, 2, ENTRY_FILE, "f\0abcd", 6), -EBADMSG);
    assert_int_equal(try_update(5, 3, 2, ENTRY_FILE, "f\0ab", 4), -EBADMSG);
    assert_int_equal(try_update(5, 0, 2, ENTRY_FILE, "f\0a", 3), -EBADMSG);
    assert_int_equal(try_update(5, 3, 2, ENTRY_DIRECTORY, "d\0abc", 5), -EBADMSG);
    assert_int_equal(try_update(5, 3, 2, ENTRY_DIRECTORY, "d", 2), -EBADMSG);
    assert_int_equal(try_update(5, 3, UINT32_MAX, ENTRY_FILE, "f\0abc", 5), -EBADMSG);
    assert_int_equal(try_update(5, UINT32_MAX, 6, ENTRY_FILE, "fffff\0", 6), 0); /* a hole */
    assert_int_equal(try_update(5, UINT32_MAX - 1, 3, ENTRY_FILE, "f\0a", 3), -EBADMSG);
    /* Names. */
    assert_int_equal(try_update(5, 3, 0, ENTRY_FILE, "abc", 3), -EBADMSG);
    assert_int_equal(try_update(5, 3, 1, ENTRY_FILE, "\0abc", 4), -EBADMSG);
    assert_int_equal(try_update(5, 3, 2, ENTRY_FILE, "ffabc", 5), -EBADMSG);
    assert_int_equal(try_update(5, 3, 4, ENTRY_FILE, "f\0f\0abc", 7), -EBADMSG);
    /* The root. */
    assert_int_equal(try_update(0, 0, 1, ENTRY_DIRECTORY, "", 1), 0);
    assert_int_equal(try_update(0, 0, 1, ENTRY_FILE, "", 1), -EBADMSG);
    assert_int_equal(try_update(0, 0, 2, ENTRY_DIRECTORY, "r", 2), -EBADMSG);
    assert_int_equal(try_update(0, 0, 0, ENTRY_DIRECTORY, "", 0), -EBADMSG);
}

static void update_cut(void **state)
{
    g_autoptr(GByteArray) body = update_body(5, 3, 2, ENTRY_FILE, "f\0abc", 5);

    (void)state;
    for (guint size = 0; size < body->len; size++) {
        g_autofree uint8_t *copy = g_memdup2(body->data, size);
        /* Without any data it is a hole: the commit's index will tell. */
        assert_int_equal(wire_check_update(copy, size), size == 43 ? 0 : -EBADMSG);
    }
}

static void update_name_length(void **state)
{
    g_autofree char *name = g_malloc(UINT16_MAX + 2);

    (void)state;
    memset(name, 'n', UINT16_MAX + 2);
    name[UINT16_MAX] = '\0';
    assert_int_equal(try_update(5, 0, UINT16_MAX + 1, ENTRY_FILE, name, UINT16_MAX + 1), 0);
    name[UINT16_MAX] = 'n';
    name[UINT16_MAX + 1] = '\0';
    /* Application knows no longest one either. */
    assert_int_equal(try_update(5, 0, UINT16_MAX + 2, ENTRY_FILE, name, UINT16_MAX + 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_of_normal),
        cmocka_unit_test(header_of_sync),
        cmocka_unit_test(header_too_short),
        cmocka_unit_test(normal_message),
        cmocka_unit_test(changes),
        cmocka_unit_test(change_too_long),
        cmocka_unit_test(change_malformed),
        cmocka_unit_test(change_lenient),
        cmocka_unit_test(unlock_malformed),
        cmocka_unit_test(update_of_file),
        cmocka_unit_test(update_of_growing_file),
        cmocka_unit_test(update_without_data),
        cmocka_unit_test(update_of_root),
        cmocka_unit_test(update_malformed),
        cmocka_unit_test(update_cut),
        cmocka_unit_test(update_name_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
