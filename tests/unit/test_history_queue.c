/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What waits for the history: the steps of one piece of writing become one record, and nothing else
 * does (history/queue.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/entry.h"
#include "history/queue.h"

static struct entry *make(const char *text)
{
    struct buffer *content = text ? buffer_copy(text, (uint32_t)strlen(text)) : NULL;
    struct entry *entry =
        entry_new(7, 0, ENTRY_FILE, "file", 4, content, text ? (uint32_t)strlen(text) : 0);

    buffer_unref(content);
    return entry;
}

static struct entry *ref(struct entry *entry)
{
    return entry ? entry_ref(entry) : NULL;
}

struct step {
    enum change_operation operation;
    const char *text; /* what is there after it; NULL: no bytes */
    uint32_t asker;
    uint32_t node;
};

/* Hands over one change after the other of one file that had `text`; how many records there are. */
static size_t count(struct record_queue *queue, const char *text, const struct step *steps,
                    size_t size)
{
    struct entry *before = make(text);

    for (size_t i = 0; i < size; i++) {
        struct effect effect = {.operation = steps[i].operation,
                                .version = i + 1,
                                .writer = steps[i].node,
                                .asker = steps[i].asker,
                                .path = "file",
                                .before = steps[i].operation == CHANGE_CREATE ? NULL : before,
                                .after = make(steps[i].text)};
        struct record *record = record_of_effect(&effect, false);
        record_free(record_queue_absorb(queue, record));
        record_queue_add(queue, record);
        entry_unref(before);
        before = ref(effect.after);
        entry_unref(effect.after);
    }
    entry_unref(before);
    return queue->count;
}

#define ASSERT_RECORDS(expected, text, ...)                                                        \
    do {                                                                                           \
        const struct step steps[] = {__VA_ARGS__};                                                 \
        struct record_queue queue = {0};                                                           \
        assert_int_equal(count(&queue, text, steps, sizeof(steps) / sizeof(steps[0])), expected);  \
        assert_int_equal(queue.last->version, sizeof(steps) / sizeof(steps[0]));                   \
        record_queue_clear(&queue);                                                                \
        assert_null(queue.first);                                                                  \
    } while (0)

static void test_steps_of_one_writing_are_one(void **state)
{
    (void)state;
    ASSERT_RECORDS(1, "old", {CHANGE_WRITE, NULL, 1, 0}, {CHANGE_WRITE, "new", 1, 0});
    ASSERT_RECORDS(1, "a", {CHANGE_WRITE, "ab", 1, 0}, {CHANGE_WRITE, "abc", 1, 0},
                   {CHANGE_MTIME, "abc", 1, 0}, {CHANGE_WRITE, "abcd", 1, 0});
    ASSERT_RECORDS(1, "a", {CHANGE_MTIME, "a", 0, 3}, {CHANGE_MTIME, "a", 0, 3});
}

static void test_nothing_else_is(void **state)
{
    (void)state;
    /* Something would be lost. */
    ASSERT_RECORDS(2, "old", {CHANGE_WRITE, "new", 1, 0}, {CHANGE_WRITE, "newer", 1, 0},
                   {CHANGE_WRITE, "other", 1, 0});
    ASSERT_RECORDS(2, "old", {CHANGE_WRITE, "long", 1, 0}, {CHANGE_WRITE, "lo", 1, 0});
    /* Somebody else does it. */
    ASSERT_RECORDS(2, "a", {CHANGE_WRITE, "ab", 1, 0}, {CHANGE_WRITE, "abc", 2, 0});
    ASSERT_RECORDS(2, "a", {CHANGE_WRITE, "ab", 0, 1}, {CHANGE_WRITE, "abc", 0, 2});
    /* That it was made is a change of its own. */
    ASSERT_RECORDS(2, NULL, {CHANGE_CREATE, NULL, 1, 0}, {CHANGE_WRITE, "a", 1, 0});
}

static void test_what_was_there_before_stays(void **state)
{
    const struct step steps[] = {{CHANGE_WRITE, NULL, 1, 0},
                                 {CHANGE_WRITE, "n", 1, 0},
                                 {CHANGE_WRITE, "ne", 1, 0},
                                 {CHANGE_MTIME, "ne", 1, 0}};
    struct record_queue queue = {0};

    (void)state;
    assert_int_equal(count(&queue, "old", steps, 4), 1);
    assert_int_equal(queue.first->operation, HISTORY_WRITE);
    assert_memory_equal(queue.first->before->content->data, "old", 3);
    assert_memory_equal(queue.first->after->content->data, "ne", 2);
    assert_int_equal(queue.bytes, queue.first->bytes);
    record_queue_clear(&queue);
}

/* What is being written is not touched any more; order and numbers hold. */
static void test_moved(void **state)
{
    const struct step steps[] = {{CHANGE_WRITE, "ab", 1, 0}};
    struct record_queue batch = {0};
    struct record_queue pending = {0};

    (void)state;
    count(&pending, "a", steps, 1);
    struct record *first = pending.first;
    record_queue_move(&batch, &pending);
    assert_int_equal(pending.count + pending.bytes, 0);
    struct effect effect = {.operation = CHANGE_WRITE,
                            .asker = 1,
                            .path = "file",
                            .before = first->after,
                            .after = make("abc")};
    struct record *second = record_of_effect(&effect, false);
    assert_null(record_queue_absorb(&pending, second));
    record_queue_add(&pending, second);
    size_t bytes = batch.bytes + pending.bytes;
    record_queue_move(&batch, &pending);
    record_queue_move(&batch, &pending);
    assert_ptr_equal(batch.first, first);
    assert_ptr_equal(batch.last, second);
    assert_ptr_equal(first->next, second);
    assert_ptr_equal(second->previous, first);
    assert_int_equal(batch.count, 2);
    assert_int_equal(batch.bytes, bytes);
    entry_unref(effect.after);
    record_queue_clear(&batch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_of_one_writing_are_one),
        cmocka_unit_test(test_nothing_else_is),
        cmocka_unit_test(test_what_was_there_before_stays),
        cmocka_unit_test(test_moved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
