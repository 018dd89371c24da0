/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The local socket: a libqb service that answers what the status and the tree hold. */
#ifndef PMXCFS_SOCKET_SOCKET_H
#define PMXCFS_SOCKET_SOCKET_H

#include <sys/types.h>

#include "socket/sources.h"

struct socket_service;

struct socket_options {
    const char *name; /* of the service: pve2 */
    gid_t group;      /* whose processes may connect, read-only */

    /* What answers are made of, but for the service's own; all must outlive the service. */
    struct request_sources sources;
};

/* Starts the service (doc/ipc.md) in a thread of its own, after removing what a killed daemon left
 * in /dev/shm. Returns when clients can connect: 0 and *service; or a negative errno (-EADDRINUSE:
 * a service of that name runs already). */
int socket_start(const struct socket_options *options, struct socket_service **service);

/* Disconnects all clients and ends the thread; prompt, whatever the clients do. NULL is allowed. */
void socket_stop(struct socket_service *service);

#endif
