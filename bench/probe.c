/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A writer or reader that never rests, and tells how long its longest call took; of ours and of the
 * null file system. */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "timing.h"

/* Calls that are told one by one on stderr. */
#define SLOW 0.008

static volatile sig_atomic_t ended;

static void end(int number)
{
    (void)number;
    ended = 1;
}

enum kind { WRITER, READER };

struct probe {
    char path[PATH_MAX];
    const char *root;
    unsigned calls;
    unsigned failures;
    double longest;
    double longest_at; /* seconds since the machine's start */
    const char *longest_call;
};

/* Times one call and remembers the longest. */
static void time_call(struct probe *probe, const char *name, bool (*call)(const struct probe *))
{
    double before = seconds_now();
    bool good = call(probe);
    double taken = seconds_now() - before;

    probe->calls++;
    probe->failures += !good;
    if (taken > probe->longest) {
        probe->longest = taken;
        probe->longest_at = before;
        probe->longest_call = name;
    }
    if (taken > SLOW)
        fprintf(stderr, "%.6f: %s took %.3f ms\n", before, name, taken * 1e3);
}

/* Rewrites a file. */
static bool write_file(const struct probe *probe)
{
    char content[500];
    memset(content, 'x', sizeof(content));
    int file = open(probe->path, O_WRONLY | O_CREAT | O_TRUNC, 0640);
    bool good = file >= 0 && write(file, content, sizeof(content)) == (ssize_t)sizeof(content);
    if (file >= 0)
        close(file);
    return good;
}

static bool read_path(const char *path)
{
    char content[4096];
    int file = open(path, O_RDONLY);
    bool good = file >= 0 && read(file, content, sizeof(content)) >= 0;
    if (file >= 0)
        close(file);
    return good;
}

/* What the kernel may know. */
static bool read_file(const struct probe *probe)
{
    return read_path(probe->path);
}

/* What it must ask for. */
static bool read_version(const struct probe *probe)
{
    char path[PATH_MAX + 16];
    snprintf(path, sizeof(path), "%s/.version", probe->root);
    return read_path(path);
}

static bool read_size(const struct probe *probe)
{
    struct statvfs size;
    return statvfs(probe->root, &size) == 0;
}

static void run(struct probe *probe, enum kind kind)
{
    while (!ended) {
        if (kind == WRITER) {
            time_call(probe, "a rewrite", write_file);
        } else {
            time_call(probe, "reading a file", read_file);
            time_call(probe, "reading .version", read_version);
            time_call(probe, "statfs", read_size);
        }
        pause_seconds(PROBE_PAUSE);
    }
}

static enum kind parse_kind(const char *word)
{
    static const char *const words[] = {"writer", "reader"};
    for (int kind = WRITER; kind <= READER; kind++) {
        if (strcmp(word, words[kind]) == 0)
            return (enum kind)kind;
    }
    errno = 0;
    fail("usage: probe writer|reader ROOT FILE (until SIGTERM)");
}

int main(int argc, char **argv)
{
    struct probe probe = {0};
    enum kind kind = parse_kind(argc == 4 ? argv[1] : "");
    probe.root = argv[2];
    snprintf(probe.path, sizeof(probe.path), "%s/%s", argv[2], argv[3]);
    signal(SIGTERM, end);
    if (!write_file(&probe))
        fail("%s", probe.path);
    printf("started\n");
    fflush(stdout);
    run(&probe, kind);
    printf("{\"longest\": %.9f, \"call\": \"%s\", \"at\": %.3f, \"calls\": %u, \"failures\": %u}\n",
           probe.longest, probe.longest_call, probe.longest_at, probe.calls, probe.failures);
    return 0;
}
