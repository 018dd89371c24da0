/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What may have been meant by a name that nothing has. */
#include "ctl/suggest.h"

#include <string.h>

#define NAME_MAX_LOOKED_AT 255u

/* Three rows of the usual table: two before this one are needed for letters that were swapped. */
unsigned int suggest_distance(const char *first, const char *second)
{
    size_t height = strnlen(first, NAME_MAX_LOOKED_AT);
    size_t width = strnlen(second, NAME_MAX_LOOKED_AT);
    unsigned int rows[3][NAME_MAX_LOOKED_AT + 1];
    unsigned int *before = rows[0];
    unsigned int *last = rows[1];
    unsigned int *row = rows[2];

    for (size_t j = 0; j <= width; j++)
        last[j] = (unsigned int)j;
    for (size_t i = 1; i <= height; i++) {
        char letter = g_ascii_tolower(first[i - 1]);
        row[0] = (unsigned int)i;
        for (size_t j = 1; j <= width; j++) {
            char other = g_ascii_tolower(second[j - 1]);
            unsigned int altered = last[j - 1] + (letter != other);
            row[j] = MIN(altered, MIN(last[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && letter == g_ascii_tolower(second[j - 2]) &&
                other == g_ascii_tolower(first[i - 2]))
                row[j] = MIN(row[j], before[j - 2] + 1);
        }
        unsigned int *oldest = before;
        before = last;
        last = row;
        row = oldest;
    }
    return last[width];
}

/* A third of the letters may be wrong, at least one, if not all are. */
const char *suggest(const char *word, const GPtrArray *known)
{
    size_t length = strlen(word);
    unsigned int best = (unsigned int)MIN(MAX(length / 3, 1), length);
    const char *nearest = NULL;

    for (guint i = 0; i < known->len; i++) {
        const char *name = known->pdata[i];
        unsigned int distance = suggest_distance(word, name);
        if (distance <= best && distance < strlen(name) && (!nearest || distance < best)) {
            best = distance;
            nearest = name;
        }
    }
    for (guint i = 0; !nearest && length > 1 && i < known->len; i++) {
        if (g_str_has_prefix(known->pdata[i], word))
            nearest = known->pdata[i];
    }
    return nearest;
}

char *suggest_text(const char *word, const GPtrArray *known)
{
    const char *nearest = suggest(word, known);

    return nearest ? g_strdup_printf("; did you mean '%s'?", nearest) : g_strdup("");
}
