/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A text that is kept as long as what it was made of has the same version. */
#include "status/cached_text.h"

struct buffer *kept_text(struct cached_text *cached, uint64_t version)
{
    if (!cached->text || cached->version != version)
        return NULL;
    counter_add(&cached->kept, 1);
    return buffer_ref(cached->text);
}

struct buffer *keep_text(struct cached_text *cached, uint64_t version, struct buffer *text)
{
    counter_add(&cached->made, 1);
    buffer_unref(cached->text);
    cached->text = buffer_ref(text);
    cached->version = version;
    return text;
}

struct buffer *keep_first_text(struct cached_text *cached, uint64_t version, struct buffer *text)
{
    struct buffer *first = kept_text(cached, version);

    if (first) {
        buffer_unref(text);
        return first;
    }
    return cached->text && cached->version > version ? text : keep_text(cached, version, text);
}
