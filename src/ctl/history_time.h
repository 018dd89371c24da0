/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Times as people write them. */
#ifndef PMXCFS_CTL_HISTORY_TIME_H
#define PMXCFS_CTL_HISTORY_TIME_H

#include <stdint.h>

/* Seconds since 1970 of "now", "today" and "yesterday" (their first second), "90s", "30m", "2h",
 * "3d", "1w" (so long before `now`), "18:41" (today), "2026-11-22", "2026-11-22 18:41[:50]" (also
 * with a T), by the local clock. 0, or -EINVAL: it is none of them. Pure, but for the time zone. */
int history_time_parse(const char *text, int64_t now, int64_t *time);

#endif
