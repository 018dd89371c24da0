/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Times file system work, on several file systems in turn so that noise hits all of them. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "timing.h"

#define CONTENT_SIZE 500
#define LIST_SIZE 1000
#define DD_WRITE_SIZE 512
#define DD_WRITES 1000
#define PROCESSES_MAX 16
#define TARGETS_MAX 4

/* What one run of a work is told. Everything happens below `directory`. */
struct job {
    const char *directory;
    unsigned operations; /* in all, of all processes */
    unsigned processes;
};

/* Where processes that run at the same time meet; shared memory. */
struct meeting {
    pthread_barrier_t start;
    double began[PROCESSES_MAX];
    double ended[PROCESSES_MAX];
};

struct work {
    const char *name;
    const char *limit; /* the target beside ours for which it makes sense */
    unsigned operations;
    unsigned processes;
    void (*prepare)(const struct job *job);
    void (*run)(const struct job *job, unsigned process); /* timed */
    void (*tidy)(const struct job *job);                  /* NULL: nothing to do */
    bool in_root; /* not in a directory of its own: each level of a path costs something */
};

struct target {
    const char *name;
    const char *root;
};

static char content[CONTENT_SIZE];

__attribute__((format(printf, 3, 4))) static void make_path(char *path, const struct job *job,
                                                            const char *format, ...)
{
    va_list arguments;
    int size = snprintf(path, PATH_MAX, "%s/", job->directory);
    va_start(arguments, format);
    vsnprintf(path + size, (size_t)(PATH_MAX - size), format, arguments);
    va_end(arguments);
}

static int open_file(const char *path, int flags)
{
    int file = open(path, flags, 0640);
    if (file < 0)
        fail("open %s", path);
    return file;
}

static void write_at(int file, const void *data, size_t size, off_t offset)
{
    ssize_t written = pwrite(file, data, size, offset);
    if (written != (ssize_t)size)
        fail("write");
}

static void store(const char *path, int flags)
{
    int file = open_file(path, O_WRONLY | flags);
    write_at(file, content, sizeof(content), 0);
    close(file);
}

static void prepare_directory(const struct job *job)
{
    if (mkdir(job->directory, 0755) < 0 && errno != EEXIST)
        fail("mkdir %s", job->directory);
}

static void prepare_files(const struct job *job)
{
    char path[PATH_MAX];
    prepare_directory(job);
    for (unsigned process = 0; process < job->processes; process++) {
        make_path(path, job, "file%u", process);
        store(path, O_CREAT | O_TRUNC);
    }
}

static void remove_files(const struct job *job)
{
    char path[PATH_MAX];
    for (unsigned process = 0; process < job->processes; process++) {
        make_path(path, job, "file%u", process);
        unlink(path);
    }
    rmdir(job->directory);
}

/* Reading what was just read. */

static void run_read(const struct job *job, unsigned process)
{
    char path[PATH_MAX];
    char buffer[4096];
    make_path(path, job, "file%u", process);
    for (unsigned i = 0; i < job->operations / job->processes; i++) {
        int file = open_file(path, O_RDONLY);
        if (read(file, buffer, sizeof(buffer)) != CONTENT_SIZE)
            fail("read %s", path);
        close(file);
    }
}

static void run_stat(const struct job *job, unsigned process)
{
    char path[PATH_MAX];
    struct stat attributes;
    make_path(path, job, "file%u", process);
    for (unsigned i = 0; i < job->operations; i++) {
        if (stat(path, &attributes) < 0)
            fail("stat %s", path);
    }
}

static void list_once(const struct job *job)
{
    unsigned found = 0;
    DIR *directory = opendir(job->directory);
    if (!directory)
        fail("opendir %s", job->directory);
    while (readdir(directory))
        found++;
    closedir(directory);
    if (found < LIST_SIZE)
        fail("%s lists %u entries", job->directory, found);
}

static void prepare_list(const struct job *job)
{
    char path[PATH_MAX];
    prepare_directory(job);
    for (unsigned i = 0; i < LIST_SIZE; i++) {
        make_path(path, job, "entry%u", i);
        close(open_file(path, O_WRONLY | O_CREAT));
    }
    list_once(job);
}

static void run_list(const struct job *job, unsigned process)
{
    (void)process;
    for (unsigned i = 0; i < job->operations; i++)
        list_once(job);
}

static void remove_list(const struct job *job)
{
    char path[PATH_MAX];
    for (unsigned i = 0; i < LIST_SIZE; i++) {
        make_path(path, job, "entry%u", i);
        unlink(path);
    }
    rmdir(job->directory);
}

/* Changing. */

static void run_create(const struct job *job, unsigned process)
{
    char path[PATH_MAX];
    for (unsigned i = 0; i < job->operations; i++) {
        make_path(path, job, "new%u-%u", process, i);
        store(path, O_CREAT | O_EXCL);
    }
}

static void remove_created(const struct job *job)
{
    char path[PATH_MAX];
    for (unsigned i = 0; i < job->operations; i++) {
        make_path(path, job, "new0-%u", i);
        unlink(path);
    }
    rmdir(job->directory);
}

static void run_rewrite(const struct job *job, unsigned process)
{
    char path[PATH_MAX];
    make_path(path, job, "file%u", process);
    for (unsigned i = 0; i < job->operations; i++)
        store(path, O_TRUNC);
}

static void run_rename(const struct job *job, unsigned process)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    make_path(path, job, "file%u", process);
    make_path(temporary, job, "file%u.tmp", process);
    for (unsigned i = 0; i < job->operations; i++) {
        store(temporary, O_CREAT | O_TRUNC);
        if (rename(temporary, path) < 0)
            fail("rename %s", path);
    }
}

/* Locks live in priv/lock, so this one works there. */
static void prepare_lock(const struct job *job)
{
    char path[PATH_MAX];
    prepare_directory(job);
    make_path(path, job, "../priv");
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        fail("mkdir %s", path);
    make_path(path, job, "../priv/lock");
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        fail("mkdir %s", path);
}

static void run_lock(const struct job *job, unsigned process)
{
    (void)process;
    char path[PATH_MAX];
    const char *end = strrchr(job->directory, '/');
    snprintf(path, sizeof(path), "%.*s/priv/lock/bench", (int)(end - job->directory),
             job->directory);
    for (unsigned i = 0; i < job->operations; i++) {
        if (mkdir(path, 0700) < 0)
            fail("mkdir %s", path);
        if (rmdir(path) < 0)
            fail("rmdir %s", path);
    }
}

static void run_write(const struct job *job, unsigned process)
{
    char path[PATH_MAX];
    make_path(path, job, "file%u", process);
    int file = open_file(path, O_WRONLY);
    for (unsigned i = 0; i < job->operations; i++)
        write_at(file, content, sizeof(content), 0);
    close(file);
}

static void run_writers(const struct job *job, unsigned process)
{
    char path[PATH_MAX];
    make_path(path, job, "file%u", process);
    for (unsigned i = 0; i < job->operations / job->processes; i++)
        store(path, 0);
}

static void run_dd(const struct job *job, unsigned process)
{
    char path[PATH_MAX];
    char data[DD_WRITE_SIZE] = {1};
    make_path(path, job, "file%u", process);
    for (unsigned i = 0; i < job->operations; i++) {
        int file = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
        for (unsigned part = 0; part < DD_WRITES; part++)
            write_at(file, data, sizeof(data), part * (off_t)sizeof(data));
        close(file);
    }
}

static const struct work works[] = {
    {"read", "tmpfs", 20000, 1, prepare_files, run_read, remove_files, true},
    {"read4", "tmpfs", 40000, 4, prepare_files, run_read, remove_files, true},
    {"stat", "tmpfs", 40000, 1, prepare_files, run_stat, remove_files, true},
    {"list", "tmpfs", 200, 1, prepare_list, run_list, remove_list, false},
    {"create", "null", 200, 1, prepare_directory, run_create, remove_created, false},
    {"rewrite", "null", 400, 1, prepare_files, run_rewrite, remove_files, false},
    {"rename", "null", 200, 1, prepare_files, run_rename, remove_files, false},
    {"lock", "null", 200, 1, prepare_lock, run_lock, remove_files, false},
    {"write", "null", 1000, 1, prepare_files, run_write, remove_files, false},
    {"writers", "null", 3200, PROCESSES_MAX, prepare_files, run_writers, remove_files, false},
    {"dd", "null", 1, 1, prepare_files, run_dd, remove_files, false},
};
#define WORKS (sizeof(works) / sizeof(works[0]))

static struct meeting *make_meeting(unsigned processes)
{
    struct meeting *meeting =
        mmap(NULL, sizeof(*meeting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_barrierattr_t shared;
    if (meeting == MAP_FAILED)
        fail("mmap");
    pthread_barrierattr_init(&shared);
    pthread_barrierattr_setpshared(&shared, PTHREAD_PROCESS_SHARED);
    pthread_barrier_init(&meeting->start, &shared, processes);
    return meeting;
}

/* The time from the first one's start to the last one's end. */
static double whole_time(const struct meeting *meeting, unsigned processes)
{
    double began = meeting->began[0], ended = meeting->ended[0];
    for (unsigned i = 1; i < processes; i++) {
        began = meeting->began[i] < began ? meeting->began[i] : began;
        ended = meeting->ended[i] > ended ? meeting->ended[i] : ended;
    }
    return ended - began;
}

static void run_process(const struct work *work, const struct job *job, unsigned process,
                        struct meeting *meeting)
{
    pthread_barrier_wait(&meeting->start);
    meeting->began[process] = seconds_now();
    work->run(job, process);
    meeting->ended[process] = seconds_now();
}

static double run_processes(const struct work *work, const struct job *job)
{
    struct meeting *meeting = make_meeting(job->processes);
    bool good = true;

    for (unsigned process = 1; process < job->processes; process++) {
        pid_t child = fork();
        if (child < 0)
            fail("fork");
        if (child == 0) {
            run_process(work, job, process, meeting);
            _exit(0);
        }
    }
    run_process(work, job, 0, meeting);
    for (unsigned process = 1; process < job->processes; process++) {
        int status = 0;
        good = wait(&status) > 0 && status == 0 && good;
    }
    if (!good)
        fail("%s: a process failed", work->name);
    double seconds = whole_time(meeting, job->processes);
    munmap(meeting, sizeof(*meeting));
    return seconds;
}

/* Seconds per operation of one round. */
static double run_once(const struct work *work, const struct target *target, unsigned divisor)
{
    char directory[PATH_MAX];
    unsigned operations = work->operations / divisor;
    struct job job = {.directory = directory, .processes = work->processes};

    job.operations = operations > work->processes ? operations : work->processes;
    snprintf(directory, sizeof(directory), "%s%s", target->root, work->in_root ? "" : "/bench");
    work->prepare(&job);
    double seconds = run_processes(work, &job);
    if (work->tidy)
        work->tidy(&job);
    return seconds / job.operations;
}

static bool is_meant(const struct work *work, const struct target *target)
{
    bool limit = strcmp(target->name, "tmpfs") == 0 || strcmp(target->name, "null") == 0;
    return !limit || strcmp(target->name, work->limit) == 0;
}

/* The first round warms up and is not told. */
static void measure(const struct work *work, const struct target *targets, unsigned target_count,
                    unsigned rounds, unsigned divisor)
{
    for (unsigned round = 0; round <= rounds; round++) {
        for (unsigned i = 0; i < target_count; i++) {
            const struct target *target = &targets[(i + round) % target_count];
            if (!is_meant(work, target))
                continue;
            double seconds = run_once(work, target, round ? divisor : divisor * 4);
            if (round)
                printf("{\"work\": \"%s\", \"target\": \"%s\", \"seconds\": %.9f}\n", work->name,
                       target->name, seconds);
        }
        fflush(stdout);
    }
}

static bool is_wanted(const char *name, const char *only)
{
    if (!only)
        return true;
    for (const char *at = only; (at = strstr(at, name)); at++) {
        char after = at[strlen(name)];
        if ((at == only || at[-1] == ',') && (after == ',' || after == '\0'))
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    struct target targets[TARGETS_MAX];
    unsigned target_count = 0, rounds = 7, divisor = 1;
    const char *only = NULL;
    int option;

    while ((option = getopt(argc, argv, "r:d:o:")) != -1) {
        if (option == 'r')
            rounds = (unsigned)atoi(optarg);
        else if (option == 'd')
            divisor = (unsigned)atoi(optarg);
        else if (option == 'o')
            only = optarg;
        else
            return 2;
    }
    for (; optind < argc && target_count < TARGETS_MAX; optind++) {
        char *root = strchr(argv[optind], '=');
        if (!root)
            fail("not NAME=DIRECTORY: %s", argv[optind]);
        *root = '\0';
        targets[target_count++] = (struct target){.name = argv[optind], .root = root + 1};
    }
    if (!target_count || !divisor)
        fail("usage: workload [-r ROUNDS] [-d DIVISOR] [-o WORK,...] NAME=DIRECTORY...");
    memset(content, 'x', sizeof(content));
    for (size_t i = 0; i < WORKS; i++) {
        if (is_wanted(works[i].name, only))
            measure(&works[i], targets, target_count, rounds, divisor);
    }
    return 0;
}
