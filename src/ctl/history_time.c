/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Times as people write them. */
#include "ctl/history_time.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <time.h>

/* A moment of a day, by the clock of this place. */
static int64_t at_clock(int64_t now, int days_before, const struct tm *clock)
{
    time_t seconds = (time_t)now;
    struct tm local;

    localtime_r(&seconds, &local);
    local.tm_hour = clock->tm_hour;
    local.tm_min = clock->tm_min;
    local.tm_sec = clock->tm_sec;
    local.tm_mday -= days_before;
    local.tm_isdst = -1;
    return (int64_t)mktime(&local);
}

/* "h" or "min" at *text, which is moved behind it; 0: no unit is there. */
static int64_t take_unit(const char **text)
{
    static const struct {
        const char *name;
        int64_t seconds;
    } units[] = {{"s", 1},    {"sec", 1},   {"m", 60},    {"min", 60},
                 {"h", 3600}, {"d", 86400}, {"w", 604800}};
    size_t length = strspn(*text, "abcdefghijklmnopqrstuvwxyz");

    for (size_t i = 0; i < G_N_ELEMENTS(units); i++) {
        if (strlen(units[i].name) == length && strncmp(*text, units[i].name, length) == 0) {
            *text += length;
            return units[i].seconds;
        }
    }
    return 0;
}

/* "2h", "1h30m", "2h ago" */
static int parse_age(const char *text, int64_t now, int64_t *time)
{
    *time = now;
    do {
        size_t digits = strspn(text, "0123456789");
        if (digits == 0 || digits > 9)
            return -EINVAL;
        int64_t count = g_ascii_strtoll(text, NULL, 10);
        text += digits;
        int64_t unit = take_unit(&text);
        *time -= count * unit;
        if (unit == 0 || *time < 0)
            return -EINVAL;
    } while (*text && strcmp(text, " ago") != 0);
    return 0;
}

/* "18:41", "6:05:30" */
static int take_clock(const char *text, struct tm *clock)
{
    static const char *const forms[] = {"%H:%M", "%H:%M:%S"};

    if (!g_ascii_isdigit(*text))
        return -EINVAL;
    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        *clock = (struct tm){0};
        const char *end = strptime(text, forms[i], clock);
        if (end && !*end)
            return 0;
    }
    return -EINVAL;
}

/* "today", "yesterday 18:41", or "18:41": the last one, which was yesterday if today's is still to
 * come. */
static int parse_day(const char *text, int64_t now, int64_t *time)
{
    static const char *const days[] = {"today", "yesterday"};
    struct tm clock = {0};

    for (size_t i = 0; i < G_N_ELEMENTS(days); i++) {
        size_t length = strlen(days[i]);
        if (strncmp(text, days[i], length) != 0)
            continue;
        if (text[length] && (text[length] != ' ' || take_clock(text + length + 1, &clock)))
            return -EINVAL;
        *time = at_clock(now, (int)i, &clock);
        return 0;
    }
    if (take_clock(text, &clock))
        return -EINVAL;
    *time = at_clock(now, 0, &clock);
    if (*time > now)
        *time = at_clock(now, 1, &clock);
    return 0;
}

/* "Z", "+01:00", "-0330", "+01" and nothing behind it; *offset in seconds. */
static int take_zone(const char *text, int64_t *offset)
{
    const char *hours = text + 1;
    size_t digits = strspn(hours, "0123456789");
    const char *minutes = hours + 2 + (digits == 2 && hours[2] == ':');

    *offset = 0;
    if (strcmp(text, "Z") == 0 || strcmp(text, " UTC") == 0)
        return 0;
    if ((*text != '+' && *text != '-') || (digits != 2 && digits != 4))
        return -EINVAL;
    if (*minutes && (strspn(minutes, "0123456789") != 2 || minutes[2]))
        return -EINVAL;
    int64_t seconds = ((hours[0] - '0') * 10 + hours[1] - '0') * 3600;
    if (*minutes)
        seconds += ((minutes[0] - '0') * 10 + minutes[1] - '0') * 60;
    *offset = *text == '-' ? -seconds : seconds;
    return seconds <= 14 * 3600 ? 0 : -EINVAL;
}

/* Parts of a second do not count: "50.123", "50,1". */
static const char *skip_fraction(const char *text)
{
    size_t digits = *text == '.' || *text == ',' ? strspn(text + 1, "0123456789") : 0;

    return digits > 0 ? text + 1 + digits : text;
}

/* By the clock of this place, or of the zone that is named behind it. No 31st of June, and nothing
 * before 1970. */
static int make_time(struct tm *parts, const char *zone, int64_t *time)
{
    int month = parts->tm_mon, day = parts->tm_mday;
    int64_t offset = 0;

    if (*zone && take_zone(zone, &offset))
        return -EINVAL;
    time_t seconds = *zone ? timegm(parts) : mktime(parts);
    *time = (int64_t)seconds - offset;
    return *time < 0 || parts->tm_mon != month || parts->tm_mday != day ? -EINVAL : 0;
}

/* "2026-11-22", "2026-11-22T18:41:50", and with a zone */
static int parse_date(const char *text, int64_t *time)
{
    static const char *const forms[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M",
                                        "%Y-%m-%dT%H:%M", "%Y-%m-%d"};

    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        struct tm parts = {.tm_isdst = -1};
        const char *end = strptime(text, forms[i], &parts);
        if (end && i < 2)
            end = skip_fraction(end);
        if (end && (!*end || i < G_N_ELEMENTS(forms) - 1))
            return make_time(&parts, end, time);
    }
    return -EINVAL;
}

/* "Nov 22 18:41:50", as logs have it: the last one. */
static int parse_log_time(const char *text, int64_t now, int64_t *time)
{
    static const char *const forms[] = {"%b %d %H:%M:%S", "%b %d %H:%M", "%b %d"};
    time_t seconds = (time_t)now;
    struct tm today;

    localtime_r(&seconds, &today);
    for (size_t i = 0; g_ascii_isalpha(*text) && i < G_N_ELEMENTS(forms); i++) {
        struct tm parts = {.tm_isdst = -1, .tm_year = today.tm_year};
        const char *end = strptime(text, forms[i], &parts);
        if (!end || *end)
            continue;
        struct tm before = parts;
        before.tm_year--;
        int error = make_time(&parts, "", time);
        return !error && *time <= now ? 0 : make_time(&before, "", time);
    }
    return -EINVAL;
}

int history_time_parse(const char *text, int64_t now, int64_t *time)
{
    if (strcmp(text, "now") == 0) {
        *time = now;
        return 0;
    }
    if (parse_age(text, now, time) && parse_day(text, now, time) && parse_date(text, time))
        return parse_log_time(text, now, time);
    return 0;
}
