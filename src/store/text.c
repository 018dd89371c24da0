/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Bytes from anywhere as texts that can be printed. */
#include "store/text.h"

/* Bytes of a name that are shown. */
#define NAME_SHOWN 128u

void text_append_shown(GString *text, const char *bytes, size_t length, size_t limit)
{
    const char *end = bytes + MIN(length, limit);

    while (bytes < end) {
        gunichar character = g_utf8_get_char_validated(bytes, end - bytes);
        if (character < 0x110000 && g_unichar_isprint(character)) {
            g_string_append_unichar(text, character);
            bytes = g_utf8_next_char(bytes);
        } else {
            g_string_append_printf(text, "\\x%02x", (unsigned char)*bytes++);
        }
    }
    if (length > limit)
        g_string_append(text, "...");
}

static char *shown(const char *bytes, size_t length, size_t limit)
{
    GString *text = g_string_new(NULL);

    text_append_shown(text, bytes, length, limit);
    return g_string_free(text, FALSE);
}

char *store_text_shown(const char *bytes, size_t length)
{
    return shown(bytes, length, length);
}

char *text_name_shown(const char *bytes, size_t length)
{
    return shown(bytes, length, NAME_SHOWN);
}
