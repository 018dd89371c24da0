/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A text that is kept as long as what it was made of has the same version. */
#ifndef PMXCFS_STATUS_CACHED_TEXT_H
#define PMXCFS_STATUS_CACHED_TEXT_H

#include <stdint.h>

#include "base/metrics.h"
#include "core/buffer.h"

/* No lock: the owner serialises. */
struct cached_text {
    struct buffer *text; /* owned; NULL: none yet */
    uint64_t version;
    struct counter made; /* how often, and how often the one that was kept would do */
    struct counter kept;
};

/* A reference to the text of `version`, NULL if it is not kept. */
struct buffer *kept_text(struct cached_text *cached, uint64_t version);

/* Keeps `text`, which it gives (the caller's reference stays the caller's). */
struct buffer *keep_text(struct cached_text *cached, uint64_t version, struct buffer *text);

/* The same for a text that was made without the owner's lock: others may have made one meanwhile. A
 * newer one stays, and of two of the same version the first, which is given in place of `text`: so
 * nobody sees a text go back within a version. */
struct buffer *keep_first_text(struct cached_text *cached, uint64_t version, struct buffer *text);

#endif
