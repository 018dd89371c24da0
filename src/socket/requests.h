/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What each request of the local socket means, and its answer (doc/ipc.md). */
#ifndef PMXCFS_SOCKET_REQUESTS_H
#define PMXCFS_SOCKET_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/buffer.h"
#include "socket/sources.h"

/* A request that arrived whole, without libqb's header, and what it is answered from. */
struct socket_request {
    const struct request_sources *sources; /* borrowed */
    int32_t id;
    bool may_write; /* the client has all rights */
    pid_t client;
    const uint8_t *data; /* borrowed */
    size_t size;
};

struct reply {
    int error; /* 0 or a negative errno; then there is no data */
    struct buffer
        *buffer; /* holds the data: a reference that is the taker's; NULL: there is none */
    size_t size; /* bytes of the buffer that are the data */
};

/* Answers a request; every one has exactly one answer. Touches memory only. Called by the socket's
 * thread alone. */
struct reply request_answer(const struct socket_request *request);

#define REQUEST_CONFIG 6

/* The label of a request; NULL: there is none of that id. */
const char *request_name(int32_t id);

#endif
