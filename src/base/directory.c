/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names in directories, made safe. */
#include "base/directory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_parent(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *parent = !slash ? strdup(".") : slash == path ? strdup("/") : strndup(path, slash - path);
    int directory = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    free(parent);
    return directory;
}

int directory_sync(const char *path)
{
    int directory = open_parent(path);

    if (directory < 0)
        return -errno;
    int error = fsync(directory) < 0 ? -errno : 0;
    close(directory);
    return error;
}
