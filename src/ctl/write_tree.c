/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files below a new directory, which nobody but their owner can read. */
#include "ctl/write_tree.h"

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

/* A path of the tree may be longer than a call takes: a descriptor, the caller's, of a directory
 * from where the rest, which *path is moved to, is short enough. -1 with errno. */
static int descend(int directory, const char **path)
{
    int at = dup(directory);

    while (at >= 0 && strlen(*path) >= PATH_MAX) {
        g_autofree char *part = g_strndup(*path, PATH_MAX - 1);
        char *slash = strrchr(part, '/');
        int next = -1;
        int error = ENAMETOOLONG; /* no slash: one that another member made */
        if (slash) {
            *slash = '\0';
            next = openat(at, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            error = errno;
        }
        close(at);
        errno = error;
        at = next;
        *path += slash ? slash + 1 - part : 0;
    }
    return at;
}

/* 0, 1 if it was there, or -1 with errno. */
static int make_directory(int directory, const char *path)
{
    int parent = descend(directory, &path);
    int result = parent < 0 || mkdirat(parent, path, 0700) < 0 ? -1 : 0;

    if (result < 0 && parent >= 0 && errno == EEXIST)
        result = 1;
    else if (result == 0)
        result = fchmodat(parent, path, 0700, 0);
    if (parent >= 0)
        close(parent);
    return result;
}

int write_tree_parents(int directory, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        g_autofree char *parent = g_strndup(path, (gsize)(slash - path));
        if (make_directory(directory, parent) < 0)
            return fail("make the directory", parent);
    }
    return 0;
}

int write_tree_directory(int directory, const char *path)
{
    int result = make_directory(directory, path);

    if (result > 0)
        errno = EEXIST;
    return result == 0 ? 0 : fail("make the directory", path);
}

static int open_new(int directory, const char *path)
{
    int parent = descend(directory, &path);

    if (parent < 0)
        return -1;
    int fd = openat(parent, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int error = errno;
    close(parent);
    errno = error;
    return fd;
}

int write_tree_file(int directory, const char *path, const void *bytes, size_t size, uint32_t mtime)
{
    const struct timespec times[2] = {{.tv_sec = mtime}, {.tv_sec = mtime}};
    int fd = open_new(directory, path);

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
    const char *rest = path;
    int parent = descend(directory, &rest);
    int result =
        parent < 0 || utimensat(parent, rest, times, 0) < 0 ? fail("set the time of", path) : 0;

    if (parent >= 0)
        close(parent);
    return result;
}

int write_tree_sync(int directory)
{
    return syncfs(directory) < 0 ? fail("sync", "the file system") : 0;
}
