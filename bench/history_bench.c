/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A history.db of 100 000 changes: what a change takes in time and room, and how soon those of one
 * path are found. */
#include <glib.h>
#include <stdint.h>
#include <sys/resource.h>

#include "core/draft.h"
#include "history/batch.h"
#include "history/reader.h"
#include "timing.h"

#define PATHS 2000u
#define CHANGES 100000u
#define BATCH 1000u /* of a fold every few seconds, when much is done */
#define CONTENT_SIZE 1000u
#define LOOKS 21u

/* A guest's configuration in which a line is another one each time. */
static struct entry *make_entry(unsigned path, unsigned change)
{
    GString *text = g_string_new(NULL);

    g_string_append_printf(text, "name: guest%u\nmemory: %u\n", path, change);
    for (unsigned line = 0; text->len < CONTENT_SIZE; line++)
        g_string_append_printf(text, "option%u: value %08x,bridge=vmbr%u\n", line,
                               (path * 31u + line) * 2654435761u, line % 3);
    struct buffer *content = buffer_copy(text->str, (uint32_t)text->len);
    struct entry *entry = entry_new(path + 1, 0, 8, "name", 4, content, (uint32_t)text->len);
    entry->version = change + 1;
    entry->mtime = 1700000000u + change;
    buffer_unref(content);
    g_string_free(text, TRUE);
    return entry;
}

static void write_all(struct batch_writer *writer)
{
    struct entry *last[PATHS] = {NULL};
    struct record_queue queue = {0};
    g_autofree char *message = NULL;
    uint64_t rows;

    for (unsigned change = 0; change < CHANGES; change++) {
        unsigned path = change % PATHS;
        char name[64];
        snprintf(name, sizeof(name), "nodes/node%u/qemu-server/%u.conf", path % 32, 100 + path);
        struct entry *entry = make_entry(path, change);
        struct effect effect = {.operation = last[path] ? CHANGE_WRITE : CHANGE_CREATE,
                                .version = entry->version,
                                .time = entry->mtime,
                                .writer = 1,
                                .path = name,
                                .before = last[path],
                                .after = entry};
        record_queue_add(&queue, record_of_effect(&effect, false));
        entry_unref(last[path]);
        last[path] = entry;
        if (queue.count < BATCH && change + 1 < CHANGES)
            continue;
        if (batch_write(writer, &queue, 0, NULL, &rows, &message))
            fail("%s", message);
        record_queue_clear(&queue);
    }
    for (unsigned path = 0; path < PATHS; path++)
        entry_unref(last[path]);
}

static void look(const char *path, struct history_summary *summary)
{
    const struct history_filter filter = {.path = "nodes/node3/qemu-server/103.conf"};
    struct history_reader *reader;
    g_autofree char *message = NULL;
    GPtrArray *changes;

    for (unsigned i = 0; i < LOOKS; i++) {
        double start = seconds_now();
        if (history_open(path, &reader, &message) || history_list(reader, &filter, &changes))
            fail("%s", message ? message : path);
        if (changes->len != CHANGES / PATHS)
            fail("%u changes", changes->len);
        printf("{\"work\": \"history-list\", \"value\": %.9f}\n", seconds_now() - start);
        g_ptr_array_unref(changes);
        if (history_summary(reader, summary))
            fail("%s", path);
        history_close(reader);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2)
        fail("usage: history_bench DIRECTORY");
    g_autofree char *path = g_build_filename(argv[1], HISTORY_FILE, NULL);
    struct patterns *patterns = patterns_new(NULL);
    struct batch_writer writer = {
        .path = path,
        .limits = {.bytes = 1u << 30, .age = 4000LL * 86400, .deleted_age = 86400},
        .patterns = patterns};
    struct history_summary summary;
    struct rusage usage;

    double start = seconds_now();
    write_all(&writer);
    printf("{\"work\": \"history-write\", \"value\": %.9f}\n", (seconds_now() - start) / CHANGES);
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"work\": \"history-memory\", \"value\": %ld}\n", usage.ru_maxrss * 1024);
    look(path, &summary);
    if (summary.changes != CHANGES)
        fail("%u changes", (unsigned)summary.changes);
    printf("{\"work\": \"history-size\", \"value\": %.1f}\n", (double)summary.bytes / CHANGES);
    history_store_close(writer.store);
    patterns_free(patterns);
    return 0;
}
