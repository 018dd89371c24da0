/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unit tests of shared immutable bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "core/buffer.h"

static void test_copy(void **unused)
{
    char text[] = "abc";

    (void)unused;
    struct buffer *buffer = buffer_copy(text, 3);
    text[0] = 'x';
    assert_int_equal(buffer->capacity, 3);
    assert_memory_equal(buffer->data, "abc", 3);
    buffer_unref(buffer);
    buffer = buffer_copy(NULL, 0);
    assert_int_equal(buffer->capacity, 0);
    buffer_unref(buffer);
    buffer_unref(NULL);
    assert_null(buffer_ref(NULL));
}

static void test_append_to_nothing(void **unused)
{
    (void)unused;
    struct buffer *buffer = buffer_append(NULL, 0, "abc", 3);
    assert_memory_equal(buffer->data, "abc", 3);
    assert_int_equal(buffer->capacity, 3); /* a file written in one piece has no spare room */
    buffer_unref(buffer);
}

/* Small appends share one buffer while there is room, and every holder keeps its own view. */
static void test_append_shares(void **unused)
{
    (void)unused;
    struct buffer *first = buffer_append(NULL, 0, "0123456789", 10);
    struct buffer *second = buffer_append(first, 10, "ab", 2);
    struct buffer *third = buffer_append(second, 12, "c", 1);
    assert_ptr_not_equal(first, second); /* no room yet */
    assert_ptr_equal(second, third);     /* that was made with room to spare */
    assert_memory_equal(first->data, "0123456789", 10);
    assert_memory_equal(third->data, "0123456789abc", 13);
    buffer_unref(third);
    assert_memory_equal(second->data, "0123456789ab", 12);
    buffer_unref(first);
    buffer_unref(second);
}

/* Two different continuations of the same bytes must not meet: a change that was undone, and the
 * one that came after it. */
static void test_append_forks(void **unused)
{
    (void)unused;
    struct buffer *base = buffer_append(NULL, 0, "0123456789", 10);
    struct buffer *old = buffer_append(base, 10, "ab", 2); /* has room to spare */
    struct buffer *undone = buffer_append(old, 12, "X", 1);
    struct buffer *again = buffer_append(old, 12, "Y", 1);
    assert_ptr_equal(undone, old);
    assert_ptr_not_equal(again, old);
    assert_memory_equal(undone->data, "0123456789abX", 13);
    assert_memory_equal(again->data, "0123456789abY", 13);
    struct buffer *shorter = buffer_append(old, 5, "Z", 1);
    assert_memory_equal(shorter->data, "01234Z", 6);
    assert_memory_equal(old->data, "0123456789ab", 12);
    buffer_unref(shorter);
    buffer_unref(again);
    buffer_unref(undone);
    buffer_unref(old);
    buffer_unref(base);
}

/* What a growing file costs: the bytes copied stay within a small multiple of its size. */
static void test_append_cost(void **unused)
{
    struct buffer *buffer = NULL;
    uint64_t copied = 0;

    (void)unused;
    for (uint32_t size = 0; size < 512 * 1024; size += 512) {
        uint8_t data[512];
        memset(data, (int)(size / 512), sizeof(data));
        struct buffer *next = buffer_append(buffer, size, data, sizeof(data));
        if (next != buffer)
            copied += size;
        assert_true(next->capacity <= (size + 512) + (size + 512) / 4);
        buffer_unref(buffer);
        buffer = next;
    }
    for (uint32_t at = 0; at < 512 * 1024; at += 512)
        assert_int_equal(buffer->data[at + 511], (uint8_t)(at / 512));
    assert_true(copied < 6ull * 512 * 1024);
    buffer_unref(buffer);
}

static void *take_and_give(void *pointer)
{
    struct buffer *buffer = pointer;

    for (int i = 0; i < 20000; i++) {
        struct buffer *mine = buffer_ref(buffer);
        if (mine->data[0] != 'a')
            return pointer;
        buffer_unref(mine);
    }
    buffer_unref(buffer);
    return NULL;
}

static void test_threads(void **unused)
{
    pthread_t threads[4];
    struct buffer *buffer = buffer_copy("a", 1);

    (void)unused;
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, buffer_ref(buffer)), 0);
    buffer_unref(buffer); /* the last thread frees it */
    for (size_t i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_null(result);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy),          cmocka_unit_test(test_append_to_nothing),
        cmocka_unit_test(test_append_shares), cmocka_unit_test(test_append_forks),
        cmocka_unit_test(test_append_cost),   cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
