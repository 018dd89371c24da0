/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Preloaded (LD_PRELOAD): while the file FAILING_DISK is there, whatever would alter the database,
 * its log or its journal fails with the error whose number is in that file, as on a disk that is
 * broken or was made read-only. With the word "hang" in it the thread that writes stays there for
 * ever, after it has made FAILING_DISK.hangs. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

/* (With 64 bits for offsets, as SQLite has them too: pwrite() here is pwrite64() for the linker.)
 */

static void hang(const char *control)
{
    char path[4096];

    snprintf(path, sizeof(path), "%s.hangs", control);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    for (;;)
        pause();
}

/* Sets errno if it has to fail. */
static bool fails(int fd)
{
    const char *control = getenv("FAILING_DISK");
    char link[64];
    char path[4096];
    char number[16] = "";

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = control ? readlink(link, path, sizeof(path) - 1) : -1;
    if (length < 0)
        return false;
    path[length] = '\0';
    if (!strstr(path, "/config.db"))
        return false;
    int file = open(control, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    ssize_t got = read(file, number, sizeof(number) - 1);
    close(file);
    if (got <= 0)
        return false;
    if (strcmp(number, "hang") == 0)
        hang(control);
    errno = atoi(number);
    return true;
}

#define REAL(type, name) ((type)dlsym(RTLD_NEXT, #name))

typedef ssize_t (*pwrite_function)(int, const void *, size_t, off_t);
typedef ssize_t (*write_function)(int, const void *, size_t);
typedef ssize_t (*writev_function)(int, const struct iovec *, int);
typedef ssize_t (*pwritev_function)(int, const struct iovec *, int, off_t);
typedef int (*sync_function)(int);
typedef int (*size_function)(int, off_t);
typedef int (*room_function)(int, off_t, off_t);
typedef int (*allocate_function)(int, int, off_t, off_t);

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return fails(fd) ? -1 : REAL(pwrite_function, pwrite)(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size)
{
    return fails(fd) ? -1 : REAL(write_function, write)(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return fails(fd) ? -1 : REAL(writev_function, writev)(fd, parts, count);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return fails(fd) ? -1 : REAL(pwritev_function, pwritev)(fd, parts, count, offset);
}

int fsync(int fd)
{
    return fails(fd) ? -1 : REAL(sync_function, fsync)(fd);
}

int fdatasync(int fd)
{
    return fails(fd) ? -1 : REAL(sync_function, fdatasync)(fd);
}

int ftruncate(int fd, off_t size)
{
    return fails(fd) ? -1 : REAL(size_function, ftruncate)(fd, size);
}

int posix_fallocate(int fd, off_t offset, off_t size)
{
    return fails(fd) ? errno : REAL(room_function, posix_fallocate)(fd, offset, size);
}

int fallocate(int fd, int mode, off_t offset, off_t size)
{
    return fails(fd) ? -1 : REAL(allocate_function, fallocate)(fd, mode, offset, size);
}
