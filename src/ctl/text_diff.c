/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The difference of two texts, line by line, as diff -u shows it. Pure. */
#include "ctl/text_diff.h"

#include <string.h>

#include "store/text.h"

#define CONTEXT 3u
/* So many lines may be taken away and put in before a text counts as replaced. */
#define EDITS_MAX 1500

struct line {
    const char *bytes;
    size_t size; /* without the newline */
    bool ended;  /* by one */
};

/* The lines of both texts, and what becomes of them. */
struct edit {
    GArray *a;   /* struct line */
    GArray *b;   /* struct line */
    bool *gone;  /* of each line of a */
    bool *added; /* of each line of b */
};

bool text_diff_is_text(const char *bytes, size_t size)
{
    return !memchr(bytes, '\0', size) && g_utf8_validate_len(bytes, size, NULL);
}

static GArray *split(const char *text, size_t size)
{
    GArray *lines = g_array_new(FALSE, FALSE, sizeof(struct line));
    size_t at = 0;

    while (at < size) {
        const char *end = memchr(text + at, '\n', size - at);
        struct line line = {.bytes = text + at,
                            .size = end ? (size_t)(end - text) - at : size - at,
                            .ended = end != NULL};
        g_array_append_val(lines, line);
        at += line.size + (line.ended ? 1 : 0);
    }
    return lines;
}

static const struct line *line_at(const GArray *lines, size_t index)
{
    return &g_array_index(lines, struct line, index);
}

static bool are_same(const struct edit *edit, size_t i, size_t j)
{
    const struct line *a = line_at(edit->a, i);
    const struct line *b = line_at(edit->b, j);

    return a->size == b->size && a->ended == b->ended && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* ---- Myers' greedy algorithm: the fewest lines that must go and come ---- */

/* What is to be compared of both: `n` lines of a and `m` of b, behind `from` that are the same. */
struct part {
    size_t from;
    int n;
    int m;
};

/* How far the longest way with d edits comes on diagonal k (of a's lines; k less of b's), from what
 * d - 1 edits reach: a step down (a line of b comes) or to the right (a line of a goes), then along
 * what is the same. */
static bool goes_down(const int *ends, int k, int d)
{
    return k == -d || (k != d && ends[k - 1] < ends[k + 1]);
}

static int furthest(const struct edit *edit, const struct part *part, const int *ends, int k, int d)
{
    int x = goes_down(ends, k, d) ? ends[k + 1] : ends[k - 1] + 1;

    while (x < part->n && x - k < part->m &&
           are_same(edit, part->from + (size_t)x, part->from + (size_t)(x - k)))
        x++;
    return x;
}

/* Walks back from the end. rows[d - 1]: what d - 1 edits reach, on the diagonals -d to d. */
static void mark(struct edit *edit, const struct part *part, const GPtrArray *rows)
{
    int x = part->n;
    int y = part->m;

    for (int d = (int)rows->len; d > 0; d--) {
        const int *ends = (const int *)rows->pdata[d - 1] + d;
        int k = x - y;
        bool down = goes_down(ends, k, d);
        int before = down ? k + 1 : k - 1;
        x = ends[before];
        y = x - before;
        if (down)
            edit->added[part->from + (size_t)y] = true;
        else
            edit->gone[part->from + (size_t)x] = true;
    }
}

static void mark_all(struct edit *edit, size_t from, size_t a_end, size_t b_end)
{
    for (size_t i = from; i < a_end; i++)
        edit->gone[i] = true;
    for (size_t j = from; j < b_end; j++)
        edit->added[j] = true;
}

/* False: more edits than allowed would be needed. */
static bool compare_part(struct edit *edit, const struct part *part)
{
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func(g_free);
    g_autofree int *memory = g_new0(int, 2 * EDITS_MAX + 3);
    int *ends = memory + EDITS_MAX + 1; /* by diagonal, which can be negative */

    for (int d = 0; d <= EDITS_MAX; d++) {
        if (d > 0)
            g_ptr_array_add(rows, g_memdup2(ends - d, (gsize)(2 * d + 1) * sizeof(int)));
        for (int k = -d; k <= d; k += 2) {
            ends[k] = furthest(edit, part, ends, k, d);
            if (ends[k] >= part->n && ends[k] - k >= part->m) {
                mark(edit, part, rows);
                return true;
            }
        }
    }
    return false;
}

static void compare(struct edit *edit)
{
    size_t from = 0;
    size_t a_end = edit->a->len;
    size_t b_end = edit->b->len;

    while (from < a_end && from < b_end && are_same(edit, from, from))
        from++;
    while (a_end > from && b_end > from && are_same(edit, a_end - 1, b_end - 1)) {
        a_end--;
        b_end--;
    }
    struct part part = {from, (int)(a_end - from), (int)(b_end - from)};
    if (part.n == 0 || part.m == 0 || !compare_part(edit, &part))
        mark_all(edit, from, a_end, b_end);
}

/* ---- Output ---- */

void text_diff_append_shown(GString *out, const char *bytes, size_t size)
{
    const char *end = bytes + size;

    while (bytes < end) {
        const char *tab = memchr(bytes, '\t', (size_t)(end - bytes));
        g_autofree char *shown = store_text_shown(bytes, (size_t)((tab ? tab : end) - bytes));
        g_string_append(out, shown);
        if (tab)
            g_string_append_c(out, '\t');
        bytes = tab ? tab + 1 : end;
    }
}

static void append_line(GString *out, char sign, const struct line *line,
                        enum text_diff_style style)
{
    g_string_append_c(out, sign);
    if (style == TEXT_DIFF_MASKED)
        g_string_append(out, "********");
    else if (style == TEXT_DIFF_PLAIN)
        g_string_append_len(out, line->bytes, (gssize)line->size);
    else
        text_diff_append_shown(out, line->bytes, line->size);
    g_string_append(out, line->ended ? "\n" : "\n\\ No newline at end of file\n");
}

/* A position in both texts. */
struct position {
    size_t a;
    size_t b;
};

static bool is_at_change(const struct edit *edit, struct position at)
{
    return (at.a < edit->a->len && edit->gone[at.a]) || (at.b < edit->b->len && edit->added[at.b]);
}

/* The first change at or behind `at`; the end if there is none. */
static struct position next_change(const struct edit *edit, struct position at)
{
    while (at.a < edit->a->len && at.b < edit->b->len && !is_at_change(edit, at)) {
        at.a++;
        at.b++;
    }
    return at;
}

static struct position end_of_change(const struct edit *edit, struct position at)
{
    while (at.a < edit->a->len && edit->gone[at.a])
        at.a++;
    while (at.b < edit->b->len && edit->added[at.b])
        at.b++;
    return at;
}

static void append_range(GString *out, char sign, size_t from, size_t to)
{
    size_t first = to > from ? from + 1 : from; /* of nothing: the line before it */

    g_string_append_printf(out, " %c%zu", sign, first);
    if (to - from != 1)
        g_string_append_printf(out, ",%zu", to - from);
}

/* From `at` to `to`, all of which belongs together. */
static void append_hunk(GString *out, const struct edit *edit, struct position at,
                        struct position to, enum text_diff_style style)
{
    g_string_append(out, "@@");
    append_range(out, '-', at.a, to.a);
    append_range(out, '+', at.b, to.b);
    g_string_append(out, " @@\n");
    while (at.a < to.a || at.b < to.b) {
        if (at.a < to.a && edit->gone[at.a]) {
            append_line(out, '-', line_at(edit->a, at.a++), style);
        } else if (at.b < to.b && edit->added[at.b]) {
            append_line(out, '+', line_at(edit->b, at.b++), style);
        } else {
            append_line(out, ' ', line_at(edit->a, at.a++), style);
            at.b++;
        }
    }
}

/* Changes with no more than twice the context between them are one hunk. */
static void append_hunks(GString *out, const struct edit *edit, enum text_diff_style style)
{
    struct position change = next_change(edit, (struct position){0, 0});
    struct position last = {0, 0}; /* end of the hunk before */

    while (is_at_change(edit, change)) {
        size_t before = MIN(CONTEXT, change.a - last.a);
        struct position begin = {change.a - before, change.b - before};
        struct position end = end_of_change(edit, change);
        change = next_change(edit, end);
        while (is_at_change(edit, change) && change.a - end.a <= 2 * (size_t)CONTEXT) {
            end = end_of_change(edit, change);
            change = next_change(edit, end);
        }
        size_t after = MIN(CONTEXT, change.a - end.a);
        last = (struct position){end.a + after, end.b + after};
        append_hunk(out, edit, begin, last, style);
    }
}

static void edit_init(struct edit *edit, const char *a, size_t a_size, const char *b, size_t b_size)
{
    edit->a = split(a, a_size);
    edit->b = split(b, b_size);
    edit->gone = g_new0(bool, edit->a->len + 1);
    edit->added = g_new0(bool, edit->b->len + 1);
    compare(edit);
}

static void edit_clear(struct edit *edit)
{
    g_array_unref(edit->a);
    g_array_unref(edit->b);
    g_free(edit->gone);
    g_free(edit->added);
}

void text_diff(GString *out, const char *a, size_t a_size, const char *b, size_t b_size,
               enum text_diff_style style)
{
    struct edit edit;

    edit_init(&edit, a, a_size, b, b_size);
    append_hunks(out, &edit, style);
    edit_clear(&edit);
}

GArray *text_diff_origins(const char *a, size_t a_size, const char *b, size_t b_size)
{
    GArray *origins = g_array_new(FALSE, FALSE, sizeof(int));
    struct edit edit;
    int at = 0;

    edit_init(&edit, a, a_size, b, b_size);
    for (guint i = 0; i < edit.b->len; i++) {
        while (edit.gone[at])
            at++;
        int origin = edit.added[i] ? -1 : at++;
        g_array_append_val(origins, origin);
    }
    edit_clear(&edit);
    return origins;
}
