/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shared memory files of connections that a killed daemon left behind. */
#include "socket/leftovers.h"

#include <dirent.h>
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/directory.h"
#include "base/log.h"
#include "base/process.h"

/* The number of the server that made a connection's directory; 0: it is no such directory. */
static pid_t parse_server(const char *name)
{
    int server;
    int client;
    int descriptor;
    int end = 0;

    if (sscanf(name, "qb-%d-%d-%d-%n", &server, &client, &descriptor, &end) != 3 || end == 0)
        return 0;
    return strlen(name + end) == 6 && server > 0 ? server : 0;
}

/* When a process was started that is there, in seconds of the wall clock, rounded down. */
static time_t start_time(uint64_t ticks)
{
    struct timespec boot;
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec - boot.tv_sec + (time_t)(ticks / (uint64_t)sysconf(_SC_CLK_TCK));
}

/* True if the server that made a directory, last changed at `changed`, is no more; `ticks` are
 * those of the process of that number. Two seconds of doubt, for the rounding, are in favour of a
 * process that lives, and so is one of which nothing can be told. */
static bool is_gone(pid_t server, uint64_t ticks, time_t changed)
{
    if (server == getpid() || ticks == 0)
        return true;
    return ticks != TICKS_UNKNOWN && start_time(ticks) > changed + 2;
}

/* True if `name` is a buffer of service `service`: qb-KIND-SERVICE-header or -data. */
static bool is_buffer(const char *name, const char *service)
{
    static const char *const kinds[] = {"request", "response", "event"};
    static const char *const parts[] = {"header", "data"};

    for (size_t kind = 0; kind < G_N_ELEMENTS(kinds); kind++) {
        for (size_t part = 0; part < G_N_ELEMENTS(parts); part++) {
            char expected[512];
            snprintf(expected, sizeof(expected), "qb-%s-%s-%s", kinds[kind], service, parts[part]);
            if (strcmp(name, expected) == 0)
                return true;
        }
    }
    return false;
}

/* Removes a directory that holds buffers of ours alone. One that holds nothing could be another
 * service's, but nobody can need it once its server has ended. */
static bool remove_directory(int parent, const char *name, const char *service, bool may_be_empty)
{
    DIR *directory = directory_open_in(parent, name);
    const struct dirent *file;
    bool ours = true;
    bool empty = true;

    if (!directory)
        return false;
    while (ours && (file = readdir(directory))) {
        if (strcmp(file->d_name, ".") == 0 || strcmp(file->d_name, "..") == 0)
            continue;
        ours = is_buffer(file->d_name, service);
        empty = false;
    }
    ours = ours && (!empty || may_be_empty);
    rewinddir(directory);
    while (ours && (file = readdir(directory))) {
        if (is_buffer(file->d_name, service))
            unlinkat(dirfd(directory), file->d_name, 0);
    }
    closedir(directory);
    return ours && unlinkat(parent, name, AT_REMOVEDIR) == 0;
}

unsigned leftovers_remove(const char *directory, const char *name)
{
    DIR *parent = opendir(directory);
    const struct dirent *file;
    unsigned removed = 0;

    if (!parent)
        return 0;
    while ((file = readdir(parent))) {
        struct stat status;
        pid_t server = parse_server(file->d_name);
        if (server == 0 ||
            fstatat(dirfd(parent), file->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISDIR(status.st_mode))
            continue;
        uint64_t ticks = process_start_ticks(server);
        if (is_gone(server, ticks, status.st_mtime) &&
            remove_directory(dirfd(parent), file->d_name, name, ticks == 0))
            removed++;
    }
    closedir(parent);
    if (removed > 0)
        log_info("removed the shared memory of %u connections of a daemon that was killed",
                 removed);
    return removed;
}
