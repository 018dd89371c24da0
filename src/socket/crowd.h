/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How many may be connected: clients, and those who have not said yet who they are. */
#ifndef PMXCFS_SOCKET_CROWD_H
#define PMXCFS_SOCKET_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Any process of the host can connect to the service's name and say nothing. libqb waits for it
 * without end, and takes connections until the daemon has no descriptor left. */
enum stranger_kind {
    STRANGER_UNWELCOME, /* made by a process that would be refused in any case */
    STRANGER_WELCOME,   /* by one that may connect, as many do at once after a start */
    STRANGER_KINDS,
};

#define UNWELCOME_MAX 32u
#define WELCOME_MAX 256u

/* A connection that has not said who it is: what libqb wants to be called with. */
struct stranger {
    int fd;
    void *data;
    int32_t (*dispatch)(int32_t fd, int32_t events, void *data);
};

/* Those of a kind, in the order in which they came. */
struct strangers {
    struct stranger list[WELCOME_MAX];
    size_t count;
    size_t most;
};

/* The descriptors that connections have of the process's. No lock: the service's thread. */
struct crowd {
    gid_t group; /* whose processes may connect, beside root's */
    struct strangers strangers[STRANGER_KINDS];
    size_t clients; /* that were let in ... */
    size_t readers; /* ... and of these who may not write */
    size_t clients_max;
    size_t readers_max; /* less: others than root cannot keep root out */
};

/* Takes the limits from the process's limit of descriptors. */
void crowd_init(struct crowd *crowd, gid_t group);

/* A connection came. If there are too many of its kind, the oldest of them is disconnected. */
void crowd_add_stranger(struct crowd *crowd, struct stranger stranger);

/* It has said who it is, or is gone; a descriptor that is none of theirs is ignored. */
void crowd_remove_stranger(struct crowd *crowd, int fd);

/* At the end: libqb frees what it has for strangers only when these go. */
void crowd_dismiss_strangers(struct crowd *crowd);

/* Counts a client; false: there are too many. */
bool crowd_let_in(struct crowd *crowd, bool may_write);
void crowd_let_out(struct crowd *crowd, bool may_write);

#endif
