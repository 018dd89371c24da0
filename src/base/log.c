/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages for the administrator: to syslog as "pmxcfs", and to stderr in the foreground. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <syslog.h>

/* The process has one log; these are its switches. */
static atomic_bool use_syslog;
static atomic_bool use_stderr = true;
static atomic_bool use_debug;

void log_open(const char *identity, bool to_stderr, bool debug)
{
    openlog(identity, LOG_PID, LOG_DAEMON);
    atomic_store(&use_stderr, to_stderr);
    atomic_store(&use_debug, debug);
    atomic_store(&use_syslog, true);
}

void log_detach(void)
{
    atomic_store(&use_stderr, false);
}

void log_set_debug(bool debug)
{
    atomic_store(&use_debug, debug);
}

bool log_debug_enabled(void)
{
    return atomic_load(&use_debug);
}

__attribute__((format(printf, 3, 0))) static void write_line(int priority, const char *prefix,
                                                             const char *format, va_list arguments)
{
    char line[2048];

    if (priority == LOG_DEBUG && !log_debug_enabled())
        return;
    vsnprintf(line, sizeof(line), format, arguments);
    /* Names and commands may be in it: one message is one line, which no terminal obeys. */
    for (char *at = line; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == '\x7f')
            *at = '?';
    }
    if (atomic_load(&use_syslog))
        syslog(priority, "%s%s", prefix, line);
    if (atomic_load(&use_stderr))
        fprintf(stderr, "%s%s\n", prefix, line);
}

#define DEFINE_LOG(name, priority, prefix)                                                         \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, format);                                                               \
        write_line(priority, prefix, format, arguments);                                           \
        va_end(arguments);                                                                         \
    }

DEFINE_LOG(log_error, LOG_ERR, "error: ")
DEFINE_LOG(log_warning, LOG_WARNING, "warning: ")
DEFINE_LOG(log_info, LOG_INFO, "")
DEFINE_LOG(log_debug, LOG_DEBUG, "debug: ")
