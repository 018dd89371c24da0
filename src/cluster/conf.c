/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The version in a corosync.conf. */
#include "cluster/conf.h"

#include <stdbool.h>
#include <string.h>

static const uint8_t *skip_blanks(const uint8_t *at, const uint8_t *end)
{
    while (at < end && (*at == ' ' || (*at >= '\t' && *at <= '\r')))
        at++;
    return at;
}

/* What stands after the word, or false: no colon or no digits. */
static bool parse_number(const uint8_t *at, const uint8_t *end, uint64_t *number)
{
    at = skip_blanks(at, end);
    if (at == end || *at != ':')
        return false;
    at = skip_blanks(at + 1, end);
    if (at == end || *at < '0' || *at > '9')
        return false;
    *number = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(*number, (uint64_t)10, number) ||
            __builtin_add_overflow(*number, (uint64_t)(*at - '0'), number)) {
            *number = UINT64_MAX;
            break;
        }
    }
    return true;
}

uint64_t conf_version(const uint8_t *data, size_t size)
{
    static const char word[] = "config_version";
    const size_t length = sizeof(word) - 1;
    const uint8_t *at = data;
    const uint8_t *end = size > 0 ? data + size : data;
    uint64_t number;

    while (at && (at = memmem(at, (size_t)(end - at), word, length))) {
        at += length;
        if (parse_number(at, end, &number))
            return number;
    }
    return 0;
}
