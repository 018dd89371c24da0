/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: the bytes of a history.db from anywhere. */
#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "core/limits.h"
#include "fuzz.h"
#include "history/reader.h"

#define INPUT_MAX (256u * 1024)

/* Where the reader finds it: in memory, one for the whole run. */
static const char *file_path(void)
{
    static char path[64];

    if (!*path)
        snprintf(path, sizeof(path), "/dev/shm/fuzz-history-%d", (int)getpid());
    return path;
}

static void check_path(const char *path)
{
    MUST(*path != '/' && !strstr(path, "//"));
    MUST(strcmp(path, "..") != 0 && strncmp(path, "../", 3) != 0 && !strstr(path, "/../"));
}

static void check_text(const char *text, size_t most)
{
    MUST(strlen(text) <= most);
    for (; *text; text++)
        MUST(!g_ascii_iscntrl(*text));
}

static void check_content(struct history_reader *reader, const struct history_version *version)
{
    GBytes *bytes;

    if (history_content(reader, version->content, &bytes) != 0)
        return;
    MUST(g_bytes_get_size(bytes) <= CONTENT_MAX);
    g_bytes_unref(bytes);
}

static void check_changes(struct history_reader *reader, GPtrArray *changes)
{
    for (guint i = 0; i < changes->len; i++) {
        const struct history_change *change = changes->pdata[i];
        check_path(change->path);
        if (change->other)
            check_path(change->other);
        check_text(change->actor.name, HISTORY_NAME_MAX);
        check_text(change->actor.command, HISTORY_COMMAND_MAX);
        check_content(reader, &change->before);
        check_content(reader, &change->after);
        g_free(history_node_name(reader, change->node));
    }
    g_ptr_array_unref(changes);
}

static void check_names(struct history_reader *reader)
{
    GPtrArray *names;
    GArray *users;

    if (history_known_paths(reader, &names) == 0)
        g_ptr_array_unref(names);
    if (history_known_users(reader, &users) == 0)
        g_array_unref(users);
    if (history_known_nodes(reader, &names) != 0)
        return;
    for (guint i = 0; i < names->len; i++)
        check_text(names->pdata[i], SIZE_MAX);
    g_ptr_array_unref(names);
}

static void use(struct history_reader *reader)
{
    const struct history_filter filter = {.pattern = "*a*[", .path = "nodes", .limit = 100};
    struct history_summary summary;
    struct history_change *change;
    GPtrArray *changes;
    int64_t position;

    history_summary(reader, &summary);
    check_names(reader);
    if (history_list(reader, &(struct history_filter){.limit = 1000}, &changes) == 0)
        check_changes(reader, changes);
    if (history_list(reader, &filter, &changes) == 0)
        check_changes(reader, changes);
    if (history_tree(reader, HISTORY_NOW, NULL, &changes) == 0)
        check_changes(reader, changes);
    if (history_position_of_time(reader, 1700000000, &position) == 0 &&
        history_at(reader, "file", position, &change) == 0)
        history_change_free(change);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *message = NULL;
    struct history_reader *reader;

    if (size > INPUT_MAX ||
        !g_file_set_contents(file_path(), (const char *)data, (gssize)size, NULL))
        return 0;
    int error = history_open(file_path(), &reader, &message);
    MUST((error == 0) == (reader != NULL) && (error != 0) == (message != NULL));
    if (reader)
        use(reader);
    history_close(reader);
    unlink(file_path());
    return 0;
}
