/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What /proc tells of other processes and their threads. */
#include "base/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* --- Dying --- */

/* Signals that do not end a process that has not said anything about them. */
static uint64_t harmless_signals(void)
{
    static const int numbers[] = {SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP,
                                  SIGTTIN, SIGTTOU, SIGURG,  SIGWINCH};
    uint64_t mask = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
        mask |= 1ull << (numbers[i] - 1);
    return mask;
}

/* The signal masks of a thread. */
struct signal_masks {
    uint64_t pending;
    uint64_t blocked;
    uint64_t ignored;
    uint64_t caught;
};

/* False with errno: they cannot be read. */
static bool read_signal_masks(pid_t thread, struct signal_masks *masks)
{
    char path[64];
    char line[256];
    unsigned long long value;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "SigPnd: %llx", &value) == 1 || sscanf(line, "ShdPnd: %llx", &value) == 1)
            masks->pending |= value;
        else if (sscanf(line, "SigBlk: %llx", &value) == 1)
            masks->blocked = value;
        else if (sscanf(line, "SigIgn: %llx", &value) == 1)
            masks->ignored = value;
        else if (sscanf(line, "SigCgt: %llx", &value) == 1)
            masks->caught = value;
    }
    fclose(file);
    return true;
}

bool process_is_dying(pid_t thread)
{
    struct signal_masks masks = {0};

    if (!read_signal_masks(thread, &masks))
        return errno == ENOENT || errno == ESRCH;
    if (masks.pending & (1ull << (SIGKILL - 1)))
        return true;
    return masks.pending & ~(masks.blocked | masks.ignored | masks.caught | harmless_signals());
}

/* --- System calls --- */

/* truncate() of this architecture, and of the 32-bit programs that it runs (i386 and arm have the
 * same numbers). None of them is a call of the other kind that sets a size. */
static const long truncating_calls[] = {SYS_truncate, 92, 193};

/* And what writes to a file. Of the 32-bit ones only the usual: write, pwrite, writev. */
static const long writing_calls[] = {
    SYS_write,  SYS_pwrite64,        SYS_writev, SYS_pwritev, SYS_pwritev2, SYS_sendfile,
    SYS_splice, SYS_copy_file_range, 4,          181,         146};

/* The file that shows a thread's system call stays open for who asks about the same thread again:
 * many truncations are in a row, and opening costs more than reading. One of a thread that has
 * ended, whose number another has now, cannot be read any more. */
static ssize_t read_system_call(pid_t thread, char *text, size_t size)
{
    static _Thread_local pid_t last;
    static _Thread_local int file = -1;
    ssize_t got = file >= 0 && last == thread ? pread(file, text, size, 0) : -1;
    char path[64];

    if (got > 0)
        return got;
    if (file >= 0)
        close(file);
    snprintf(path, sizeof(path), "/proc/%d/syscall", (int)thread);
    file = open(path, O_RDONLY | O_CLOEXEC);
    last = thread;
    return file >= 0 ? pread(file, text, size, 0) : -1;
}

#define CALL_NONE (-1)    /* cannot be asked, or has ended */
#define CALL_RUNNING (-2) /* in none, or has not come to wait yet */

/* The number of the system call that the thread waits in, or one of the above. */
static long system_call(pid_t thread)
{
    char text[32];
    char *end;

    ssize_t size = read_system_call(thread, text, sizeof(text) - 1);
    if (size <= 0)
        return CALL_NONE;
    text[size] = 0;
    long number = strtol(text, &end, 10);
    return end == text ? CALL_RUNNING : number;
}

static bool is_among(long number, const long *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (calls[i] == number)
            return true;
    }
    return false;
}

bool process_truncates(pid_t thread)
{
    long number = system_call(thread);

    if (number == CALL_RUNNING) {
        sched_yield(); /* it may share our processor */
        number = system_call(thread);
    }
    return is_among(number, truncating_calls, G_N_ELEMENTS(truncating_calls));
}

bool process_may_be_writing(pid_t thread)
{
    long number = system_call(thread);

    return number == CALL_RUNNING || is_among(number, writing_calls, G_N_ELEMENTS(writing_calls));
}

/* What the process's "stat" says, in one piece; 0 or a negative errno. */
static int read_stat(pid_t process, char *text, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)process);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    ssize_t got = read(file, text, size - 1);
    int error = got < 0 ? -errno : 0;
    close(file);
    text[MAX(got, 0)] = '\0';
    return error;
}

uint64_t process_start_ticks(pid_t process)
{
    char text[1024];
    unsigned long long ticks = 0;

    int error = read_stat(process, text, sizeof(text));
    if (error == -ENOENT || error == -ESRCH)
        return 0;
    /* Field 22; the second one, a name in parentheses, may hold anything. */
    const char *field = error ? NULL : strrchr(text, ')');
    for (int i = 2; field && i < 22; i++)
        field = strchr(field + 1, ' ');
    return field && sscanf(field, " %llu", &ticks) == 1 ? ticks : TICKS_UNKNOWN;
}

/* --- Having something open --- */

static uint64_t inode_of_descriptor(const char *process, const char *descriptor)
{
    char path[PATH_MAX];
    char line[256];
    unsigned long long number = 0;

    snprintf(path, sizeof(path), "/proc/%s/fdinfo/%s", process, descriptor);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file) && sscanf(line, "ino: %llu", &number) != 1) {
    }
    if (file)
        fclose(file);
    return number;
}

/* True if a descriptor of the process leads to that inode below the mount point. */
static bool has_open(const char *process, const char *mountpoint, uint64_t inode)
{
    char path[PATH_MAX];
    char target[PATH_MAX];
    const size_t length = strlen(mountpoint);
    const struct dirent *entry;
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%s/fd", process);
    DIR *descriptors = opendir(path);
    while (descriptors && !found && (entry = readdir(descriptors))) {
        ssize_t size = readlinkat(dirfd(descriptors), entry->d_name, target, sizeof(target));
        found = size >= (ssize_t)length && memcmp(target, mountpoint, length) == 0 &&
                inode_of_descriptor(process, entry->d_name) == inode;
    }
    if (descriptors)
        closedir(descriptors);
    return found;
}

static char *describe(const char *process)
{
    g_autofree char *path = g_strdup_printf("/proc/%s/comm", process);
    g_autofree char *name = NULL;

    if (!g_file_get_contents(path, &name, NULL, NULL))
        return g_strdup_printf("process %s", process);
    return g_strdup_printf("process %s (%s)", process, g_strstrip(name));
}

char *process_that_has_open(const char *mountpoint, uint64_t inode)
{
    g_autofree char *self = g_strdup_printf("%d", (int)getpid());
    const struct dirent *entry;
    char *holder = NULL;

    DIR *processes = opendir("/proc");
    while (processes && !holder && (entry = readdir(processes))) {
        const char *process = entry->d_name;
        if (process[0] >= '1' && process[0] <= '9' && strcmp(process, self) != 0 &&
            has_open(process, mountpoint, inode))
            holder = describe(process);
    }
    if (processes)
        closedir(processes);
    return holder;
}
