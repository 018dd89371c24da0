/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What each request of the local socket means, and its answer (doc/ipc.md). */
#ifndef PMXCFS_SOCKET_REQUESTS_H
#define PMXCFS_SOCKET_REQUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/metrics.h"
#include "core/buffer.h"
#include "replica/replica.h"
#include "socket/properties.h"
#include "status/activity.h"
#include "status/overview.h"
#include "status/status.h"
#include "status/status_group.h"

/* What answers are made of. */
struct request_sources {
    struct replica *replica;
    struct status *status;
    struct status_group *status_group;
    struct guest_source *guests;
    struct properties *properties;
    struct overview *overview;
    struct activity *activity;
};

/* A request that arrived whole, without libqb's header. */
struct request {
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
struct reply request_answer(const struct request_sources *sources, const struct request *request);

#define REQUEST_CONFIG 6

/* What was counted of requests. Owned by whoever makes the service. */
#define REQUEST_ID_MAX 104
struct socket_metrics {
    struct counter requests[REQUEST_ID_MAX + 1]; /* by id; 0: those that there are not */
    struct counter refused;                      /* answered with an error */
    struct histogram answers;                    /* duration until the answer was made */
    struct counter clients_come;                 /* connections accepted ... */
    struct counter clients_gone;                 /* ... and ended */
    struct counter subscribers_come;
    struct counter subscribers_gone;
};

/* The label of a request; NULL: there is none of that id. */
const char *request_name(int32_t id);

#endif
