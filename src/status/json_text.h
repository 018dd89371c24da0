/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON values from bytes of any kind, and JSON texts as buffers. */
#ifndef PMXCFS_STATUS_JSON_TEXT_H
#define PMXCFS_STATUS_JSON_TEXT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buffer.h"

/* A JSON string of any bytes: what is not valid UTF-8 becomes U+FFFD. Never NULL. */
json_t *json_text_string(const char *bytes, size_t size);

/* object[key] = value (takes the reference), for a key of any bytes. */
void json_text_set(json_t *object, const char *key, json_t *value);

/* The same for values that are often met, with a key of our own. A string may be of any bytes;
 * NULL: null. */
void json_text_set_string(json_t *object, const char *key, const char *string);
void json_text_set_number(json_t *object, const char *key, uint64_t number);

/* The text of `value` with jansson's `flags` and a newline at its end, as a buffer with one
 * reference; `value` is given back. */
struct buffer *json_text_buffer(json_t *value, size_t flags);

#endif
