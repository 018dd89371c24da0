/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A file of the mount, written anew as one change. */
#include "ctl/replace_file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>

#include "base/write.h"

int replace_file(const char *file, const uint8_t *data, size_t size)
{
    g_autofree char *unfinished = g_strdup_printf("%s.tmp.%ld", file, (long)getpid());
    int fd = open(unfinished, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int error = fd < 0 ? errno : 0;

    if (fd >= 0 && write_all(fd, data, size) < 0)
        error = errno;
    if (fd >= 0 && close(fd) < 0 && !error)
        error = errno;
    if (!error && rename(unfinished, file) < 0)
        error = errno;
    if (error && fd >= 0)
        unlink(unfinished);
    return error;
}
