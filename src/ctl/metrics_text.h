/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The daemon's metrics in the forms that collectors read. */
#ifndef PMXCFS_CTL_METRICS_TEXT_H
#define PMXCFS_CTL_METRICS_TEXT_H

#include "ctl/commands.h"

/* The daemon's metrics (OpenMetrics) with pmxcfs_up 1 among them; if none answers, in time, that
 * alone with 0. Never NULL; g_free() it. Any thread. */
char *metrics_text_ask(const struct context *context);

/* The same in the format that was before (0.0.4), which the node exporter reads: types by the
 * samples' names, no units, no end. g_free() it. */
char *metrics_text_plain(const char *open_metrics);

#endif
