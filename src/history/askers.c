/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who asks for changes on this node: processes, looked up while they wait for their answer. */
#include "history/askers.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/thread.h"

#define RECENT 1024u
/* A process id is not given to another within this time; a process may have become another
 * program. */
#define FRESH_SECONDS 1
#define SETTLE_MICROSECONDS G_USEC_PER_SEC

struct asker {
    uint32_t number; /* 0: unused */
    pid_t thread;
    struct history_actor actor;
};

struct recent {
    pid_t thread; /* 0: unused */
    uint32_t number;
    time_t seen; /* CLOCK_MONOTONIC, seconds */
};

struct askers {
    pthread_t thread;
    struct lock lock; /* never held over I/O; guards what follows */
    pthread_cond_t wake;
    pthread_cond_t done;
    bool stop;
    bool stuck;         /* somebody has waited in vain, and none was read since */
    uint32_t next;      /* number of the next one */
    uint32_t described; /* command lines up to this one were read */
    struct recent recent[RECENT];
    struct asker kept[ASKERS_KEPT];
};

/* The first bytes of a file in /proc, NUL-ended; how many, 0 if it cannot be read. */
static size_t read_proc(pid_t thread, const char *name, char *text, size_t room)
{
    char path[64];
    ssize_t size = 0;

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)thread, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        size = read(fd, text, room - 1);
        close(fd);
    }
    text[MAX(size, 0)] = '\0';
    return (size_t)MAX(size, 0);
}

/* --- While the caller waits: nothing here needs a lock that it may hold --- */

static void look_up(pid_t thread, uid_t uid, struct history_actor *actor)
{
    char login[16];
    pid_t group = getpgid(thread);

    *actor = (struct history_actor){.known = true, .uid = uid, .login = UINT32_MAX, .pid = thread};
    actor->group = MAX(group, 0);
    if (read_proc(thread, "loginuid", login, sizeof(login)) > 0)
        actor->login = (uint32_t)g_ascii_strtoull(login, NULL, 10);
    read_proc(thread, "comm", actor->name, sizeof(actor->name));
    actor->name[strcspn(actor->name, "\n")] = '\0';
}

/* Is it the program that it was a moment ago? */
static bool is_same(const struct asker *asker, const struct history_actor *actor)
{
    return asker->actor.uid == actor->uid && asker->actor.login == actor->login &&
           asker->actor.group == actor->group && strcmp(asker->actor.name, actor->name) == 0;
}

static struct asker *get(struct askers *askers, uint32_t number)
{
    struct asker *asker = &askers->kept[number % ASKERS_KEPT];

    return number > 0 && asker->number == number ? asker : NULL;
}

/* With the lock held. The number that the thread has had; 0: it is not known or may be old. */
static uint32_t find_recent(struct askers *askers, pid_t thread, uid_t uid, time_t now)
{
    const struct recent *recent = &askers->recent[(uint32_t)thread % RECENT];
    const struct asker *asker = recent->thread == thread && now - recent->seen <= FRESH_SECONDS
                                    ? get(askers, recent->number)
                                    : NULL;

    return asker && asker->actor.uid == uid ? recent->number : 0;
}

/* With the lock held. */
static uint32_t keep(struct askers *askers, pid_t thread, const struct history_actor *actor,
                     time_t now)
{
    struct recent *recent = &askers->recent[(uint32_t)thread % RECENT];
    const struct asker *asker = recent->thread == thread ? get(askers, recent->number) : NULL;

    if (!asker || !is_same(asker, actor)) {
        uint32_t number = askers->next++;
        if (askers->next == 0)
            askers->next = 1;
        askers->kept[number % ASKERS_KEPT] =
            (struct asker){.number = number, .thread = thread, .actor = *actor};
        *recent = (struct recent){.thread = thread, .number = number};
        pthread_cond_signal(&askers->wake);
    }
    recent->seen = now;
    return recent->number;
}

uint32_t askers_note(struct askers *askers, pid_t thread, uid_t uid)
{
    struct history_actor actor;
    struct timespec now;

    if (!askers || thread <= 0)
        return 0;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    lock_take(&askers->lock);
    uint32_t number = find_recent(askers, thread, uid, now.tv_sec);
    lock_give(&askers->lock);
    if (number > 0)
        return number;
    look_up(thread, uid, &actor);
    lock_take(&askers->lock);
    number = keep(askers, thread, &actor, now.tv_sec);
    lock_give(&askers->lock);
    return number;
}

void askers_settle(struct askers *askers)
{
    int64_t until = g_get_monotonic_time() + SETTLE_MICROSECONDS;

    if (!askers)
        return;
    LOCKED(&askers->lock);
    /* Numbers begin anew after UINT32_MAX: only their distance counts. */
    uint32_t last = askers->next - 1;
    while ((int32_t)(last - askers->described) > 0 && !askers->stuck)
        askers->stuck = lock_wait_until(&askers->lock, &askers->done, until) != 0;
}

bool askers_get(struct askers *askers, uint32_t number, struct history_actor *actor)
{
    if (!askers || number == 0)
        return false;
    lock_take(&askers->lock);
    const struct asker *asker = get(askers, number);
    if (asker)
        *actor = asker->actor;
    lock_give(&askers->lock);
    return asker != NULL;
}

/* --- The thread --- */

/* Words are separated by NULs. */
static void read_command(pid_t thread, char command[HISTORY_COMMAND_MAX + 1])
{
    size_t size = read_proc(thread, "cmdline", command, HISTORY_COMMAND_MAX + 1);

    while (size > 0 && command[size - 1] == '\0')
        size--;
    for (size_t i = 0; i < size; i++) {
        if (g_ascii_iscntrl(command[i]) || command[i] == '\0')
            command[i] = ' ';
    }
}

pid_t askers_process(pid_t thread)
{
    char text[512];
    const char *line;

    if (read_proc(thread, "status", text, sizeof(text)) == 0 || !(line = strstr(text, "\nTgid:")))
        return thread;
    return (pid_t)g_ascii_strtoll(line + strlen("\nTgid:"), NULL, 10);
}

/* Without the lock; it is taken for the result. */
static void describe(struct askers *askers, uint32_t number, pid_t thread)
{
    char command[HISTORY_COMMAND_MAX + 1] = "";
    pid_t process = askers_process(thread);

    read_command(thread, command);
    lock_take(&askers->lock);
    struct asker *asker = get(askers, number);
    if (asker) {
        asker->actor.pid = process;
        memcpy(asker->actor.command, command, sizeof(command));
    }
    lock_give(&askers->lock);
}

static void *askers_main(void *pointer)
{
    struct askers *askers = pointer;

    lock_take(&askers->lock);
    while (!askers->stop) {
        if (askers->described + 1 == askers->next) {
            lock_wait(&askers->lock, &askers->wake);
            continue;
        }
        uint32_t number = askers->described + 1;
        const struct asker *asker = get(askers, number);
        pid_t thread = asker ? asker->thread : 0;
        lock_give(&askers->lock);
        if (thread > 0)
            describe(askers, number, thread);
        lock_take(&askers->lock);
        askers->described = number;
        askers->stuck = false;
        pthread_cond_broadcast(&askers->done);
    }
    lock_give(&askers->lock);
    return NULL;
}

struct askers *askers_start(void)
{
    struct askers *askers = g_new0(struct askers, 1);

    askers->next = 1;
    lock_init(&askers->lock, LOCK_RANK_ASKERS);
    thread_condition_init(&askers->wake);
    thread_condition_init(&askers->done);
    int error = thread_start(&askers->thread, askers_main, askers);
    if (!error)
        return askers;
    pthread_cond_destroy(&askers->done);
    pthread_cond_destroy(&askers->wake);
    lock_destroy(&askers->lock);
    g_free(askers);
    errno = -error;
    return NULL;
}

void askers_stop(struct askers *askers)
{
    if (!askers)
        return;
    lock_take(&askers->lock);
    askers->stop = true;
    pthread_cond_signal(&askers->wake);
    lock_give(&askers->lock);
    pthread_join(askers->thread, NULL);
    pthread_cond_destroy(&askers->done);
    pthread_cond_destroy(&askers->wake);
    lock_destroy(&askers->lock);
    g_free(askers);
}
