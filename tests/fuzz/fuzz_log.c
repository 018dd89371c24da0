/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: cluster log buffers and entries of other members, and the JSON that is made of them.
 */
#include <glib.h>
#include <jansson.h>
#include <string.h>

#include "fuzz.h"
#include "status/cluster_log.h"

/* A buffer of the usual size that begins with a piece of the input; the rest is zeros. */
static uint8_t *take_buffer(struct reader *input, bool sized)
{
    uint8_t *buffer = calloc(1, CLUSTER_LOG_SIZE);
    size_t size;
    uint8_t *piece = take_piece(input, &size);

    memcpy(buffer, piece, size);
    if (sized)
        put_le32(buffer, CLUSTER_LOG_SIZE);
    free(piece);
    return buffer;
}

static size_t check_walk(const uint8_t *buffer)
{
    struct cluster_log_walk walk;
    struct cluster_log_entry entry;
    size_t count = 0;

    if (cluster_log_walk_start(&walk, buffer, CLUSTER_LOG_SIZE) != 0)
        return 0;
    while (cluster_log_walk_next(&walk, &entry)) {
        struct cluster_log_entry again;
        MUST(entry.bytes >= buffer && entry.bytes + entry.size <= buffer + CLUSTER_LOG_SIZE);
        MUST(cluster_log_entry_parse(entry.bytes, entry.size, &again) == 0);
        MUST(strlen(entry.message) == entry.message_length);
        MUST(++count <= CLUSTER_LOG_SIZE / 48);
    }
    return count;
}

static void check_text(const uint8_t *buffer, uint32_t max, const char *user)
{
    struct buffer *text = cluster_log_text(buffer, max, user);
    json_error_t error;
    json_t *object = json_loadb((const char *)text->data, text->capacity, 0, &error);

    MUST(object != NULL);
    MUST(json_array_size(json_object_get(object, "data")) <= (max ? max : CLUSTER_LOG_SHOWN));
    json_decref(object);
    buffer_unref(text);
}

static void insert_entry(struct cluster_log *log, struct reader *input)
{
    size_t size;
    uint8_t *piece = take_piece(input, &size);
    struct cluster_log_entry entry;

    if (cluster_log_entry_parse(piece, size, &entry) == 0) {
        MUST(entry.size == size);
        if (cluster_log_insert(log, &entry))
            MUST(!cluster_log_insert(log, &entry)); /* the same is never taken twice */
    }
    free(piece);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader input = {.data = data, .left = size};
    uint8_t flags = reader_u8(&input);
    struct cluster_log *log = cluster_log_new();
    uint8_t *buffers[2];
    struct cluster_log_buffer list[2];

    for (size_t i = 0; i < 2; i++) {
        buffers[i] = take_buffer(&input, !(flags & 1u << i));
        list[i] = (struct cluster_log_buffer){buffers[i], CLUSTER_LOG_SIZE};
        check_walk(buffers[i]);
        check_text(buffers[i], flags >> 4, flags & 4 ? "root@pam" : NULL);
    }
    insert_entry(log, &input);
    MUST(cluster_log_merge(log, list, 2) <= 2);
    size_t count = check_walk(log->buffer);
    check_text(log->buffer, 0, NULL);
    /* To merge the same again changes nothing. */
    g_autofree uint8_t *before = g_memdup2(log->buffer, CLUSTER_LOG_SIZE);
    list[0] = (struct cluster_log_buffer){before, CLUSTER_LOG_SIZE};
    cluster_log_merge(log, list, 1);
    MUST(check_walk(log->buffer) == count);
    while (input.left > 0 && !input.bad)
        insert_entry(log, &input);
    check_text(log->buffer, UINT32_MAX, NULL);
    cluster_log_free(log);
    free(buffers[0]);
    free(buffers[1]);
    return 0;
}
