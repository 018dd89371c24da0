/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which paths the history does not keep: locks, temporary names, what changes all day by itself. */
#include "history/patterns.h"

#include <glib.h>
#include <string.h>

#include "core/path.h"

/* doc/history.md lists them too. */
static const char *const usual[] = {
    /* What the managers of a cluster write every few seconds. */
    "ha/manager_status",
    "ha/crm_commands",
    "ha/fence_state",
    "nodes/*/lrm_status",
    /* What programs rename over a file, or keep beside it while they write. */
    "*.tmp",
    "*.tmp.*",
    "tmp????????",
    "sed??????",
    "*~",
    ".*.sw?",
    ".#*",
    "#*#",
    "4913",
    "*.dpkg-new",
    "*.dpkg-tmp",
};

struct pattern {
    char *text;
    bool whole; /* of paths, not of names */
};

struct patterns {
    GArray *list; /* struct pattern */
};

static bool is_taken_away(char *const *changes, const char *pattern)
{
    for (; *changes; changes++) {
        if (**changes == '!' && strcmp(*changes + 1, pattern) == 0)
            return true;
    }
    return false;
}

static void add(struct patterns *patterns, const char *text)
{
    struct pattern pattern = {.whole = *text == '^' || strchr(text, '/')};

    if (*text == '\0')
        return;
    pattern.text = g_strdup(*text == '^' ? text + 1 : text);
    g_array_append_val(patterns->list, pattern);
}

struct patterns *patterns_new(const char *changes)
{
    struct patterns *patterns = g_new(struct patterns, 1);
    g_auto(GStrv) words = g_strsplit(changes ? changes : "", ",", -1);

    patterns->list = g_array_new(FALSE, FALSE, sizeof(struct pattern));
    for (size_t i = 0; i < G_N_ELEMENTS(usual); i++) {
        if (!is_taken_away(words, usual[i]))
            add(patterns, usual[i]);
    }
    for (char **word = words; *word; word++) {
        if (**word != '!')
            add(patterns, *word);
    }
    return patterns;
}

void patterns_free(struct patterns *patterns)
{
    if (!patterns)
        return;
    for (guint i = 0; i < patterns->list->len; i++)
        g_free(g_array_index(patterns->list, struct pattern, i).text);
    g_array_unref(patterns->list);
    g_free(patterns);
}

/* Behind the next character, or byte that is part of none. */
static const char *next_of(const char *text)
{
    do
        text++;
    while (((unsigned char)*text & 0xc0) == 0x80);
    return text;
}

/* Not by GLib's patterns, which end the process at a name that is no UTF-8. */
static bool fits(const char *pattern, const char *text)
{
    const char *star = NULL; /* the last one that was met */
    const char *from = NULL; /* what that one leaves to the rest of the pattern */

    while (*text) {
        if (*pattern == '*') {
            star = pattern++;
            from = text;
        } else if (*pattern == '?') {
            pattern++;
            text = next_of(text);
        } else if (*pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1;
            text = ++from;
        } else {
            return false;
        }
    }
    return pattern[strspn(pattern, "*")] == '\0';
}

bool patterns_skip(const struct patterns *patterns, const char *path)
{
    size_t parent;
    const char *name = path_split(path, &parent);

    if (path_is_below_lock(path))
        return true;
    for (guint i = 0; i < patterns->list->len; i++) {
        const struct pattern *pattern = &g_array_index(patterns->list, struct pattern, i);
        if (fits(pattern->text, pattern->whole ? path : name))
            return true;
    }
    return false;
}
