/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What /proc tells of the threads that ask: which system call they are in, what they have open. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mount/internal.h"

/* System calls that take a path, and for which the kernel looks the path up again after ESTALE. */
static const struct call {
    long number;
    enum thread_call kind;
    int flags; /* the argument with AT_EMPTY_PATH, which makes it one on a descriptor; 0: none */
} calls[] = {
#ifdef SYS_open /* newer architectures have the calls with a directory only */
    {SYS_open, THREAD_OPENS, 0},       {SYS_creat, THREAD_OPENS, 0},
    {SYS_stat, THREAD_LOOKS, 0},       {SYS_lstat, THREAD_LOOKS, 0},
    {SYS_access, THREAD_LOOKS, 0},
#endif
    {SYS_openat, THREAD_OPENS, 0},     {SYS_openat2, THREAD_OPENS, 0},
    {SYS_execve, THREAD_OPENS, 0},     {SYS_execveat, THREAD_OPENS, 0},
    {SYS_newfstatat, THREAD_LOOKS, 4}, {SYS_statx, THREAD_LOOKS, 3},
    {SYS_faccessat, THREAD_LOOKS, 0},  {SYS_faccessat2, THREAD_LOOKS, 4},
    {SYS_truncate, THREAD_LOOKS, 0},
};

/* The first line of /proc/THREAD/syscall; false: the thread has ended. */
static bool read_call(pid_t thread, char *text, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/syscall", (int)thread);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return false;
    ssize_t length = read(file, text, size - 1);
    close(file);
    text[MAX(length, 0)] = 0;
    return length > 0;
}

/* An argument of the call in `text`, counted from 1. */
static unsigned long long argument(const char *text, int number)
{
    for (; text && number > 0; number--)
        text = strchr(text + 1, ' ');
    return text ? strtoull(text, NULL, 16) : 0;
}

enum thread_call thread_call(pid_t thread)
{
    char text[256];
    char *end;

    if (!read_call(thread, text, sizeof(text)))
        return THREAD_ELSEWHERE;
    long number = strtol(text, &end, 10);
    if (end == text) /* "running" */
        return THREAD_RUNS;
    for (size_t i = 0; i < G_N_ELEMENTS(calls); i++) {
        const struct call *call = &calls[i];
        if (call->number == number)
            return call->flags && argument(text, call->flags) & AT_EMPTY_PATH ? THREAD_ELSEWHERE
                                                                              : call->kind;
    }
    return THREAD_ELSEWHERE;
}

/* True if what a descriptor leads to, `size` bytes of `target`, is a file called `name`. Its name
 * was dropped from the kernel's cache, which the kernel shows as a deletion. */
static bool leads_to(const char *target, size_t size, const char *name)
{
    static const char deleted[] = " (deleted)";
    const size_t suffix = sizeof(deleted) - 1;
    size_t length = strlen(name);

    if (size > suffix && memcmp(target + size - suffix, deleted, suffix) == 0)
        size -= suffix;
    return size > length && target[size - length - 1] == '/' &&
           memcmp(target + size - length, name, length) == 0;
}

/* True if a thread's descriptor leads to that inode number, or nobody can tell. */
static bool leads_to_inode(pid_t thread, const char *descriptor, uint64_t inode)
{
    char path[PATH_MAX];
    char line[256];
    unsigned long long number = inode;

    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", (int)thread, descriptor);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    while (fgets(line, sizeof(line), file) && sscanf(line, "ino: %llu", &number) != 1) {
    }
    fclose(file);
    return number == inode;
}

/* The name alone is not enough: files in other directories have the same one. */
bool thread_has_descriptor(pid_t thread, const char *name, uint64_t inode)
{
    char path[64];
    char target[PATH_MAX];
    struct dirent *entry;
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)thread);
    DIR *descriptors = opendir(path);
    while (descriptors && !found && (entry = readdir(descriptors))) {
        ssize_t size = readlinkat(dirfd(descriptors), entry->d_name, target, sizeof(target));
        found = size > 0 && leads_to(target, (size_t)size, name) &&
                leads_to_inode(thread, entry->d_name, inode);
    }
    if (descriptors)
        closedir(descriptors);
    return found;
}
