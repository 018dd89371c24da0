/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Texts that must be JSON. */
#ifndef PMXCFS_TESTS_JSON_TEXT_H
#define PMXCFS_TESTS_JSON_TEXT_H

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/buffer.h"

/* Takes over the reference to `text`; json_decref() the result. The test fails if it is no JSON. */
static inline json_t *json_of_text(struct buffer *text)
{
    json_error_t error;
    json_t *json = json_loadb((const char *)text->data, text->capacity, 0, &error);

    if (!json)
        fail_msg("invalid JSON: %s in %.*s", error.text, (int)text->capacity, text->data);
    buffer_unref(text);
    return json;
}

#endif
