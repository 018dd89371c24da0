/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The daemon's metrics over HTTP. */
#ifndef PMXCFS_CTL_METRICS_SERVER_H
#define PMXCFS_CTL_METRICS_SERVER_H

#include "ctl/commands.h"

/* Serves them at `listen` ("[ADDRESS]:PORT"; without an address on loopback alone) under /metrics,
 * until SIGTERM or SIGINT. An exit code; what is wrong is told on stderr. */
int metrics_serve(const struct context *context, const char *listen);

#endif
