/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The bytes of a journal's file as they are now. */
#include "journal/read.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "journal/record.h"

/* A daemon may be writing to it: what is read then is what a crash at this moment would leave. */
static int read_file(int file, GByteArray *bytes)
{
    const size_t size_max = (size_t)JOURNAL_AREAS * JOURNAL_AREA_SIZE;
    struct stat info;
    ssize_t count = 1;

    if (fstat(file, &info) < 0)
        return -errno;
    if (!S_ISREG(info.st_mode))
        return -EINVAL;
    size_t size = MIN((size_t)info.st_size, size_max);
    g_byte_array_set_size(bytes, (guint)size);
    size_t done = 0;
    while (done < size && count > 0) {
        count = pread(file, bytes->data + done, size - done, (off_t)done);
        if (count < 0)
            return -errno;
        done += (size_t)count;
    }
    g_byte_array_set_size(bytes, (guint)done);
    return 0;
}

int journal_read(const char *path, GByteArray **bytes, char **message)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int error = file < 0 ? -errno : 0;

    *bytes = g_byte_array_new();
    if (!error)
        error = read_file(file, *bytes);
    if (file >= 0)
        close(file);
    if (error == 0 || error == -ENOENT)
        return 0;
    *message = g_strdup_printf("cannot read %s, which may hold changes that are not in config.db "
                               "yet: %s",
                               path, g_strerror(-error));
    g_byte_array_unref(*bytes);
    *bytes = NULL;
    return error;
}
