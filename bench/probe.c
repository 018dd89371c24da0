/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A writer or reader that never rests, and tells how long its longest call took. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "timing.h"

/* Between two calls, so that what is measured stays measurable on few processors. */
#define PAUSE 0.0005

static volatile sig_atomic_t ended;

static void end(int number)
{
    (void)number;
    ended = 1;
}

struct probe {
    char path[PATH_MAX];
    const char *root;
    unsigned calls;
    unsigned failures;
    double longest;
    double longest_at; /* seconds after the start */
};

/* Rewrites a file. */
static bool write_once(const struct probe *probe)
{
    char content[500];
    memset(content, 'x', sizeof(content));
    int file = open(probe->path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    bool good = file >= 0 && write(file, content, sizeof(content)) == (ssize_t)sizeof(content);
    if (file >= 0)
        close(file);
    return good;
}

static bool read_file(const char *path)
{
    char content[4096];
    int file = open(path, O_RDONLY);
    bool good = file >= 0 && read(file, content, sizeof(content)) >= 0;
    if (file >= 0)
        close(file);
    return good;
}

/* A file that the kernel may know, and a status file and the file system's size, for which it must
 * ask. */
static bool read_once(const struct probe *probe)
{
    char version[PATH_MAX + 16];
    struct statvfs size;
    snprintf(version, sizeof(version), "%s/.version", probe->root);
    return read_file(probe->path) && read_file(version) && statvfs(probe->root, &size) == 0;
}

static void run(struct probe *probe, bool (*once)(const struct probe *probe))
{
    double start = seconds_now();
    while (!ended) {
        double before = seconds_now();
        probe->failures += !once(probe);
        double taken = seconds_now() - before;
        probe->calls++;
        if (taken > probe->longest) {
            probe->longest = taken;
            probe->longest_at = before - start;
        }
        pause_seconds(PAUSE);
    }
}

int main(int argc, char **argv)
{
    struct probe probe = {0};
    bool writer = argc == 4 && strcmp(argv[1], "writer") == 0;
    if (argc != 4 || (!writer && strcmp(argv[1], "reader") != 0))
        fail("usage: probe writer|reader ROOT FILE (until SIGTERM)");
    probe.root = argv[2];
    snprintf(probe.path, sizeof(probe.path), "%s/%s", argv[2], argv[3]);
    signal(SIGTERM, end);
    if (!write_once(&probe))
        fail("%s", probe.path);
    printf("started\n");
    fflush(stdout);
    run(&probe, writer ? write_once : read_once);
    printf("{\"longest\": %.9f, \"at\": %.3f, \"calls\": %u, \"failures\": %u}\n", probe.longest,
           probe.longest_at, probe.calls, probe.failures);
    return 0;
}
