/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl db import: a new database from files, as if each had been written through the mount. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/admit.h"
#include "core/apply.h"
#include "core/limits.h"
#include "core/path.h"
#include "core/publish.h"
#include "ctl/commands.h"
#include "ctl/db.h"
#include "ctl/tools/save.h"
#include "store/text.h"

struct import {
    struct state *state;
    struct draft *draft;
    struct progress progress;
    unsigned int problems;
    unsigned int skipped;
};

static void complain(struct import *import, const char *path, const char *reason)
{
    g_autofree char *shown = store_text_shown(path, strlen(path));

    progress_hide(&import->progress);
    fprintf(stderr, "error: %s: %s\n", *shown ? shown : ".", reason);
    import->problems++;
}

/* Makes one change by the rules of the daemon; true if it was made. */
static bool make_change(struct import *import, const struct change *change)
{
    const struct admit_reserve nothing = {0};
    struct admit_reserve reserve;
    const char *reason;
    int error = admit(import->state, change, &nothing, &reserve, &reason);

    if (!error)
        error = apply(import->draft, change, NULL);
    if (!error) {
        state_publish(import->state, import->draft, 0);
        g_ptr_array_unref(draft_take_effects(import->draft));
        return true;
    }
    complain(import, change->path,
             reason             ? reason
             : error == -EEXIST ? "the guest of this number is there already"
                                : g_strerror(-error));
    return false;
}

/* All of a file, up to one byte more than is allowed; NULL with errno. */
static GByteArray *read_file(int directory, const char *name)
{
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    GByteArray *content = fd < 0 ? NULL : g_byte_array_new();
    uint8_t buffer[65536];
    ssize_t got = 0;

    while (content && content->len <= FILE_SIZE_MAX &&
           (got = read(fd, buffer, sizeof(buffer))) != 0) {
        if (got > 0) {
            g_byte_array_append(content, buffer, (guint)got);
        } else if (errno != EINTR) {
            int error = errno;
            g_byte_array_unref(g_steal_pointer(&content));
            errno = error;
        }
    }
    if (fd >= 0)
        close(fd);
    return content;
}

static void import_file(struct import *import, int directory, const char *name, const char *path,
                        uint32_t time)
{
    struct change change = {.operation = CHANGE_CREATE, .path = path, .time = time};
    g_autoptr(GByteArray) content = read_file(directory, name);

    if (!content) {
        complain(import, path, g_strerror(errno));
        return;
    }
    if (!make_change(import, &change) || content->len == 0)
        return;
    change.operation = CHANGE_WRITE;
    change.truncate = true;
    change.data = content->data;
    change.size = content->len;
    make_change(import, &change);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The names in a directory, sorted, so that the same files give the same database. NULL with errno.
 */
static GPtrArray *list(int directory)
{
    int fd = dup(directory);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *item;

    if (!listing) {
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    while ((item = readdir(listing))) {
        if (strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0)
            g_ptr_array_add(names, g_strdup(item->d_name));
    }
    closedir(listing);
    g_ptr_array_sort(names, compare_names);
    return names;
}

static void import_directory(struct import *import, int parent, const char *name, const char *path);

static void import_entry(struct import *import, int directory, const char *name, const char *path)
{
    struct stat info;

    progress_step(&import->progress, 0, 0);
    if (path_is_virtual(path)) {
        import->skipped++;
        return;
    }
    if (fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) < 0) {
        complain(import, path, g_strerror(errno));
        return;
    }
    uint32_t time = (uint32_t)CLAMP(info.st_mtime, 0, (time_t)UINT32_MAX);
    struct change mkdir = {.operation = CHANGE_MKDIR, .path = path, .time = time};
    if (S_ISREG(info.st_mode))
        import_file(import, directory, name, path, time);
    else if (!S_ISDIR(info.st_mode))
        complain(import, path, "only files and directories can be in a database");
    else if (make_change(import, &mkdir))
        import_directory(import, directory, name, path);
}

static void import_directory(struct import *import, int parent, const char *name, const char *path)
{
    /* The first may be a link, if that is what it was called by. */
    int directory =
        openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (*path ? O_NOFOLLOW : 0));
    g_autoptr(GPtrArray) names = directory < 0 ? NULL : list(directory);

    if (!names)
        complain(import, path, g_strerror(errno));
    for (guint i = 0; names && i < names->len; i++) {
        const char *item = names->pdata[i];
        g_autofree char *item_path = *path ? g_strconcat(path, "/", item, NULL) : g_strdup(item);
        import_entry(import, directory, item, item_path);
    }
    if (directory >= 0)
        close(directory);
}

static int save(const struct context *context, struct import *import, const char *file)
{
    const struct tree *tree = import->state->tree;
    g_autofree char *message = NULL;

    if (import->problems > 0) {
        fprintf(stderr, "error: %u %s in the way: %s was not written\n", import->problems,
                import->problems == 1 ? "thing is" : "things are", file);
        return EXIT_FAILED;
    }
    progress_start(&import->progress, "writing the database");
    int error = tools_save(tree, file, &message);
    progress_end(&import->progress);
    if (error) {
        fprintf(stderr, "error: %s\n", message);
        return EXIT_FAILED;
    }
    if (import->skipped > 0)
        fprintf(stderr, "%u %s left out\n", import->skipped,
                import->skipped == 1 ? "name that pmxcfs makes up itself was"
                                     : "names that pmxcfs makes up itself were");
    if (context->json)
        db_print_json(db_json_written(file, tree));
    else
        db_print_written(file, tree);
    return EXIT_DONE;
}

int command_db_import(const struct context *context, int argc, char **argv)
{
    if (!command_parse(
            &argc, &argv, NULL, "DIR FILE",
            "Makes FILE, which must not exist, a database of all files below DIR, by the\n"
            "rules and limits of pmxcfs. Names that pmxcfs makes up itself (local, .version\n"
            "...) are left out, so DIR may be a copy of /etc/pve.",
            2, 2))
        return EXIT_WRONG_USE;
    struct import import = {.state = state_new(tree_new(), 0)};
    import.draft = draft_new(import.state);
    progress_start(&import.progress, "reading files");
    import_directory(&import, AT_FDCWD, argv[1], "");
    progress_end(&import.progress);
    int code = save(context, &import, argv[2]);
    draft_free(import.draft);
    state_free(import.state);
    return code;
}
