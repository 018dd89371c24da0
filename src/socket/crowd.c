/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How many may be connected: clients, and those who have not said yet who they are. */
#include "socket/crowd.h"

#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* Descriptors that are left for all else: strangers, database, history, FUSE, corosync, /proc. */
#define RESERVE (UNWELCOME_MAX + WELCOME_MAX + 96u)

void crowd_init(struct crowd *crowd, gid_t group)
{
    struct rlimit limit = {.rlim_cur = 1024}; /* of a service that may not ask for it */

    getrlimit(RLIMIT_NOFILE, &limit);
    size_t most = (size_t)(limit.rlim_cur < SIZE_MAX ? limit.rlim_cur : SIZE_MAX);
    *crowd = (struct crowd){.group = group};
    crowd->strangers[STRANGER_UNWELCOME].most = UNWELCOME_MAX;
    crowd->strangers[STRANGER_WELCOME].most = WELCOME_MAX;
    crowd->clients_max = most > 2u * RESERVE ? most - RESERVE : most / 2;
    crowd->readers_max = crowd->clients_max / 2;
}

/* libqb asks it for the same when it speaks; that is what counts. */
static enum stranger_kind kind_of(const struct crowd *crowd, int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
        (peer.gid == crowd->group || (peer.uid == 0 && peer.gid == 0)))
        return STRANGER_WELCOME;
    return STRANGER_UNWELCOME;
}

static void forget(struct strangers *strangers, size_t position)
{
    struct stranger *gone = strangers->list + position;

    strangers->count--;
    memmove(gone, gone + 1, (strangers->count - position) * sizeof(*gone));
}

void crowd_add_stranger(struct crowd *crowd, struct stranger stranger)
{
    struct strangers *strangers = &crowd->strangers[kind_of(crowd, stranger.fd)];

    if (strangers->count == strangers->most) {
        shutdown(strangers->list[0].fd, SHUT_RDWR); /* libqb finds it disconnected and closes it */
        forget(strangers, 0);
    }
    strangers->list[strangers->count++] = stranger;
}

void crowd_remove_stranger(struct crowd *crowd, int fd)
{
    for (size_t kind = 0; kind < STRANGER_KINDS; kind++) {
        struct strangers *strangers = &crowd->strangers[kind];
        for (size_t i = 0; i < strangers->count; i++) {
            if (strangers->list[i].fd == fd) {
                forget(strangers, i);
                return;
            }
        }
    }
}

void crowd_dismiss_strangers(struct crowd *crowd)
{
    for (size_t kind = 0; kind < STRANGER_KINDS; kind++) {
        struct strangers *strangers = &crowd->strangers[kind];
        while (strangers->count > 0) {
            struct stranger last = strangers->list[--strangers->count];
            last.dispatch(last.fd, POLLHUP, last.data);
        }
    }
}

bool crowd_let_in(struct crowd *crowd, bool may_write)
{
    if (crowd->clients >= crowd->clients_max ||
        (!may_write && crowd->readers >= crowd->readers_max))
        return false;
    crowd->clients++;
    crowd->readers += !may_write;
    return true;
}

void crowd_let_out(struct crowd *crowd, bool may_write)
{
    crowd->clients--;
    crowd->readers -= !may_write;
}
