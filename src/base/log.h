/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages for the administrator: to syslog as "pmxcfs", and to stderr in the foreground. */
#ifndef PMXCFS_BASE_LOG_H
#define PMXCFS_BASE_LOG_H

#include <stdbool.h>

/* Start logging; before that messages go to stderr alone. Any thread may log after it returned. */
void log_open(const char *identity, bool to_stderr, bool debug);

/* Stop copying messages to stderr (a daemon that has detached). */
void log_detach(void);

/* Debug messages on or off; any thread. */
void log_set_debug(bool debug);
bool log_debug_enabled(void);

/* printf-like, one line without a newline at its end; any thread. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
