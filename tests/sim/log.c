/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The daemon's log as a part of the simulator's trace. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Set by main() with --trace. */
extern bool log_traced;
bool log_traced;

#define LOG_FUNCTION(name, mark)                                                                   \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        va_list arguments;                                                                         \
        if (!log_traced)                                                                           \
            return;                                                                                \
        va_start(arguments, format);                                                               \
        printf("          " mark);                                                                 \
        vprintf(format, arguments);                                                                \
        printf("\n");                                                                              \
        va_end(arguments);                                                                         \
    }

LOG_FUNCTION(log_error, "ERROR ")
LOG_FUNCTION(log_warning, "warning ")
LOG_FUNCTION(log_info, "")
LOG_FUNCTION(log_debug, "")
