/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How the whole daemon fares: the answer of request 101 (doc/ipc.md). */
#ifndef PMXCFS_SOCKET_OVERVIEW_H
#define PMXCFS_SOCKET_OVERVIEW_H

#include "core/buffer.h"
#include "socket/sources.h"

/* JSON, one reference. Memory and /proc only, no waiting. */
struct buffer *overview_text(const struct request_sources *sources);

/* What is known of the history alone: the answer of request 110. */
struct buffer *overview_history_text(struct recorder *recorder);

#endif
