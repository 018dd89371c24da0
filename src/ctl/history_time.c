/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Times as people write them. */
#include "ctl/history_time.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static int64_t start_of_day(int64_t now, int days_before)
{
    time_t seconds = (time_t)now;
    struct tm local;

    localtime_r(&seconds, &local);
    local.tm_hour = local.tm_min = local.tm_sec = 0;
    local.tm_mday -= days_before;
    local.tm_isdst = -1;
    return (int64_t)mktime(&local);
}

/* "2h" */
static int parse_age(const char *text, int64_t now, int64_t *time)
{
    static const struct {
        char letter;
        int64_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits > 9 || strlen(text) != digits + 1)
        return -EINVAL;
    for (size_t i = 0; i < G_N_ELEMENTS(units); i++) {
        if (text[digits] == units[i].letter) {
            int64_t count = g_ascii_strtoll(text, NULL, 10);
            *time = now - count * units[i].seconds;
            return *time < 0 ? -EINVAL : 0;
        }
    }
    return -EINVAL;
}

/* "18:41": the last one, which was yesterday if today's is still to come. */
static int parse_clock(const char *text, int64_t now, int64_t *time)
{
    int end = 0;
    struct tm local;
    int hour, minute;
    time_t seconds = (time_t)now;

    if (sscanf(text, "%2d:%2d%n", &hour, &minute, &end) != 2 || text[end] ||
        !g_ascii_isdigit(*text))
        return -EINVAL;
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59)
        return -EINVAL;
    localtime_r(&seconds, &local);
    local.tm_hour = hour;
    local.tm_min = minute;
    local.tm_sec = 0;
    local.tm_isdst = -1;
    struct tm before = local;
    before.tm_mday--;
    *time = (int64_t)mktime(&local);
    if (*time > now)
        *time = (int64_t)mktime(&before);
    return 0;
}

/* "2026-11-22", "2026-11-22T18:41:50" */
static int parse_date(const char *text, int64_t *time)
{
    static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M",
                                        "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S"};

    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        struct tm local = {.tm_isdst = -1};
        const char *end = strptime(text, forms[i], &local);
        if (!end || *end)
            continue;
        int month = local.tm_mon, day = local.tm_mday;
        time_t seconds = mktime(&local);
        /* No 31st of June, and nothing before 1970. */
        if (seconds < 0 || local.tm_mon != month || local.tm_mday != day)
            return -EINVAL;
        *time = (int64_t)seconds;
        return 0;
    }
    return -EINVAL;
}

int history_time_parse(const char *text, int64_t now, int64_t *time)
{
    if (strcmp(text, "now") == 0)
        *time = now;
    else if (strcmp(text, "today") == 0)
        *time = start_of_day(now, 0);
    else if (strcmp(text, "yesterday") == 0)
        *time = start_of_day(now, 1);
    else if (parse_age(text, now, time) && parse_clock(text, now, time))
        return parse_date(text, time);
    return 0;
}
