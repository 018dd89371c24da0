/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files below a new directory, which nobody but their owner can read. */
#include "ctl/write_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/write.h"
#include "store/text.h"

static int fail(const char *what, const char *path)
{
    g_autofree char *shown = store_text_shown(path, strlen(path));

    fprintf(stderr, "error: cannot %s %s: %s\n", what, shown, g_strerror(errno));
    return -1;
}

int write_tree_open(const char *path)
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

int write_tree_parents(int directory, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        g_autofree char *parent = g_strndup(path, (gsize)(slash - path));
        if (mkdirat(directory, parent, 0700) < 0 && errno != EEXIST)
            return fail("make the directory", parent);
    }
    return 0;
}

int write_tree_directory(int directory, const char *path)
{
    if (mkdirat(directory, path, 0700) < 0 || fchmodat(directory, path, 0700, 0) < 0)
        return fail("make the directory", path);
    return 0;
}

int write_tree_file(int directory, const char *path, const void *bytes, size_t size, uint32_t mtime)
{
    const struct timespec times[2] = {{.tv_sec = mtime}, {.tv_sec = mtime}};
    int fd = openat(directory, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return fail("make", path);
    int result = size > 0 ? write_all(fd, bytes, size) : 0;
    if (result < 0 || fchmod(fd, 0600) < 0 || futimens(fd, times) < 0)
        result = fail("write", path);
    if (close(fd) < 0 && result == 0)
        result = fail("write", path);
    return result;
}

int write_tree_time(int directory, const char *path, uint32_t mtime)
{
    const struct timespec times[2] = {{.tv_sec = mtime}, {.tv_sec = mtime}};

    return utimensat(directory, path, times, 0) < 0 ? fail("set the time of", path) : 0;
}

int write_tree_sync(int directory)
{
    return syncfs(directory) < 0 ? fail("sync", "the file system") : 0;
}
