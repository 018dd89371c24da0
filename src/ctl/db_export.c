/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl db export: a database as files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/write.h"
#include "ctl/commands.h"
#include "ctl/db.h"
#include "ctl/where.h"
#include "store/text.h"

static int fail(const char *what, const char *path)
{
    g_autofree char *shown = store_text_shown(path, strlen(path));

    fprintf(stderr, "error: cannot %s %s: %s\n", what, shown, g_strerror(errno));
    return -1;
}

/* Makes the directory, or takes one that is empty; private from now on. A descriptor or -1. */
static int open_target(const char *path)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return fail("make the directory", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(dup(fd));
    if (!listing) {
        fail("open the directory", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    const struct dirent *item;
    int count = 0;
    while ((item = readdir(listing)))
        count += strcmp(item->d_name, ".") != 0 && strcmp(item->d_name, "..") != 0;
    closedir(listing);
    if (count > 0)
        fprintf(stderr, "error: %s is not empty: name a directory that is, or is not there\n",
                path);
    else if (fchmod(fd, 0700) < 0)
        fail("make private", path);
    else
        return fd;
    close(fd);
    return -1;
}

/* A path of the tree may be longer than a call takes: a descriptor, the caller's, of a directory
 * from where the rest, which *path is moved to, is short enough. -1 with errno. */
static int descend(int directory, const char **path)
{
    int at = dup(directory);

    while (at >= 0 && strlen(*path) >= PATH_MAX) {
        g_autofree char *part = g_strndup(*path, PATH_MAX - 1);
        char *slash = strrchr(part, '/'); /* names are shorter */
        *slash = '\0';
        int next = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int error = errno;
        close(at);
        errno = error;
        at = next;
        *path += slash + 1 - part;
    }
    return at;
}

static int write_file(int directory, const char *path, const struct entry *entry)
{
    const struct timespec times[2] = {{.tv_sec = entry->mtime}, {.tv_sec = entry->mtime}};
    const char *rest = path;
    int parent = descend(directory, &rest);

    if (parent < 0)
        return fail("make", path);
    int fd = openat(parent, rest, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        fail("make", path);
    close(parent);
    if (fd < 0)
        return -1;
    int result = entry->content ? write_all(fd, entry->content->data, entry->size) : 0;
    if (result < 0 || fchmod(fd, 0600) < 0 || futimens(fd, times) < 0)
        result = fail("write", path);
    if (close(fd) < 0 && result == 0)
        result = fail("write", path);
    return result;
}

static int make_directory(int directory, const char *path)
{
    const char *rest = path;
    int parent = descend(directory, &rest);
    int result =
        parent < 0 || mkdirat(parent, rest, 0700) < 0 || fchmodat(parent, rest, 0700, 0) < 0
            ? fail("make the directory", path)
            : 0;

    if (parent >= 0)
        close(parent);
    return result;
}

static int set_time(int directory, const char *path, const struct entry *entry)
{
    const struct timespec times[2] = {{.tv_sec = entry->mtime}, {.tv_sec = entry->mtime}};
    const char *rest = path;
    int parent = descend(directory, &rest);
    int result =
        parent < 0 || utimensat(parent, rest, times, 0) < 0 ? fail("set the time of", path) : 0;

    if (parent >= 0)
        close(parent);
    return result;
}

/* Once all is in them. */
static int set_directory_times(int directory, const GArray *entries)
{
    for (guint i = entries->len; i-- > 0;) {
        const struct db_entry *item = &g_array_index(entries, struct db_entry, i);
        if (entry_is_directory(item->entry) && set_time(directory, item->path, item->entry) < 0)
            return -1;
    }
    return 0;
}

static int export_entries(int directory, const GArray *entries)
{
    struct progress progress;
    int result = 0;

    progress_start(&progress, "writing files");
    for (guint i = 0; i < entries->len && result == 0; i++) {
        const struct db_entry *item = &g_array_index(entries, struct db_entry, i);
        progress_step(&progress, i, entries->len);
        result = entry_is_directory(item->entry) ? make_directory(directory, item->path)
                                                 : write_file(directory, item->path, item->entry);
    }
    progress_end(&progress);
    if (result == 0)
        result = set_directory_times(directory, entries);
    if (result == 0 && syncfs(directory) < 0)
        result = fail("sync", "the file system");
    return result;
}

int command_db_export(const struct context *context, int argc, char **argv)
{
    g_autofree char *database = NULL;
    const GOptionEntry entries[] = {{"database", 0, 0, G_OPTION_ARG_FILENAME, &database,
                                     "the database (" DEFAULT_DATABASE ")", "FILE"},
                                    {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(
            &argc, &argv, entries, "DIR",
            "Writes all files of a database below DIR, which must be empty or not there.\n"
            "All is readable for its owner only: private keys are among the files.",
            1, 1))
        return EXIT_WRONG_USE;
    g_autofree char *path = where_database(context, database, &code);
    if (!path)
        return code;
    struct tree *tree = db_read(path);
    if (!tree)
        return EXIT_FAILED;
    int directory = open_target(argv[1]);
    int result = -1;
    if (directory >= 0) {
        GArray *sorted = db_sorted(tree);
        result = export_entries(directory, sorted);
        if (result == 0 && context->json)
            db_print_json(db_json_written(argv[1], tree));
        else if (result == 0)
            db_print_written(argv[1], tree);
        g_array_unref(sorted);
        close(directory);
    }
    tree_free(tree);
    return result == 0 ? EXIT_DONE : EXIT_FAILED;
}
