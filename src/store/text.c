/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Bytes from anywhere as texts that can be printed. */
#include "store/text.h"

#include <glib.h>
#include <string.h>

/* Bytes of a name, and of a sentence, that are shown. */
#define NAME_SHOWN 128u
#define SENTENCE_SHOWN 200u

static char *shown(const char *bytes, size_t length, size_t limit)
{
    GString *text = g_string_new(NULL);
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

char *text_sentence_shown(const char *sentence)
{
    return shown(sentence, strlen(sentence), SENTENCE_SHOWN);
}
