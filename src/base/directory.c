/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names in directories: made safe, and listed. */
#include "base/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <unistd.h>

int directory_sync(const char *path)
{
    g_autofree char *parent = g_path_get_dirname(path);
    int directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (directory < 0)
        return -errno;
    int error = fsync(directory) < 0 ? -errno : 0;
    close(directory);
    return error;
}

DIR *directory_open_in(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);

    if (fd >= 0 && !directory)
        close(fd);
    return directory;
}
