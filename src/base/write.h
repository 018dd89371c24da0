/* SPDX-License-Identifier: GPL-3.0-or-later */
/* write() until all is written. */
#ifndef PMXCFS_BASE_WRITE_H
#define PMXCFS_BASE_WRITE_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

/* 0 or a negative errno (errno too), and then some of it may be written. */
static inline int write_all(int fd, const uint8_t *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -errno;
        data += written;
        size -= (size_t)written;
    }
    return 0;
}

#endif
