/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The OpenMetrics text format: families of samples, appended to a text. */
#include "base/open_metrics.h"

#include <inttypes.h>

static const char *const type_names[] = {
    [OPEN_METRICS_COUNTER] = "counter",
    [OPEN_METRICS_GAUGE] = "gauge",
    [OPEN_METRICS_HISTOGRAM] = "histogram",
    [OPEN_METRICS_INFO] = "info",
};

void open_metrics_family(struct open_metrics *metrics, const char *name,
                         enum open_metrics_type type, const char *unit, const char *help)
{
    metrics->family = name;
    g_string_append_printf(metrics->text, "# TYPE %s %s\n", name, type_names[type]);
    if (unit)
        g_string_append_printf(metrics->text, "# UNIT %s %s\n", name, unit);
    g_string_append_printf(metrics->text, "# HELP %s %s\n", name, help);
}

/* A label's value of any bytes: valid UTF-8, quoted. */
static void append_label(GString *text, const char *label, const char *value)
{
    g_autofree char *valid = g_utf8_make_valid(value, -1);

    g_string_append_printf(text, "%s=\"", label);
    for (const char *at = valid; *at; at++) {
        if (*at == '\n')
            g_string_append(text, "\\n");
        else if (*at == '"' || *at == '\\')
            g_string_append_printf(text, "\\%c", *at);
        else
            g_string_append_c(text, *at);
    }
    g_string_append_c(text, '"');
}

/* Name and label of a sample, up to its value. */
static void begin_sample(struct open_metrics *metrics, const char *suffix, const char *label,
                         const char *value)
{
    g_string_append_printf(metrics->text, "%s%s", metrics->family, suffix);
    if (label) {
        g_string_append_c(metrics->text, '{');
        append_label(metrics->text, label, value);
        g_string_append_c(metrics->text, '}');
    }
    g_string_append_c(metrics->text, ' ');
}

static void append_seconds(GString *text, double seconds)
{
    char digits[G_ASCII_DTOSTR_BUF_SIZE];

    g_string_append_printf(text, "%s\n", g_ascii_formatd(digits, sizeof(digits), "%.9g", seconds));
}

void open_metrics_counter(struct open_metrics *metrics, const char *label, const char *value,
                          uint64_t count)
{
    begin_sample(metrics, "_total", label, value);
    g_string_append_printf(metrics->text, "%" PRIu64 "\n", count);
}

void open_metrics_counter_seconds(struct open_metrics *metrics, double seconds)
{
    begin_sample(metrics, "_total", NULL, NULL);
    append_seconds(metrics->text, seconds);
}

void open_metrics_gauge(struct open_metrics *metrics, const char *label, const char *value,
                        uint64_t number)
{
    begin_sample(metrics, "", label, value);
    g_string_append_printf(metrics->text, "%" PRIu64 "\n", number);
}

static void append_bucket(struct open_metrics *metrics, const char *label, const char *value,
                          const char *bound, uint64_t count)
{
    g_string_append_printf(metrics->text, "%s_bucket{", metrics->family);
    if (label) {
        append_label(metrics->text, label, value);
        g_string_append_c(metrics->text, ',');
    }
    g_string_append_printf(metrics->text, "le=\"%s\"} %" PRIu64 "\n", bound, count);
}

/* A bound as OpenMetrics wants it: with a point or an exponent. */
static const char *bound_text(char *digits, int size, const struct histogram_form *form,
                              size_t bucket)
{
    g_ascii_formatd(digits, size, "%g", (double)form->bounds[bucket] / (double)form->unit);
    if (!strpbrk(digits, ".e"))
        g_strlcat(digits, ".0", (gsize)size);
    return digits;
}

void open_metrics_histogram(struct open_metrics *metrics, const char *label, const char *value,
                            const struct histogram *histogram, const struct histogram_form *form)
{
    char digits[G_ASCII_DTOSTR_BUF_SIZE];
    uint64_t count = 0;

    for (size_t i = 0; i <= form->count; i++) {
        count += atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        append_bucket(metrics, label, value,
                      i < form->count ? bound_text(digits, sizeof(digits), form, i) : "+Inf",
                      count);
    }
    begin_sample(metrics, "_sum", label, value);
    append_seconds(metrics->text, (double)counter_get(&histogram->sum) / (double)form->unit);
    begin_sample(metrics, "_count", label, value);
    g_string_append_printf(metrics->text, "%" PRIu64 "\n", count);
}

void open_metrics_info(struct open_metrics *metrics, const char *label, const char *value)
{
    begin_sample(metrics, "_info", label, value);
    g_string_append(metrics->text, "1\n");
}

void open_metrics_single_counter(struct open_metrics *metrics, const char *name, const char *unit,
                                 const char *help, uint64_t count)
{
    open_metrics_family(metrics, name, OPEN_METRICS_COUNTER, unit, help);
    open_metrics_counter(metrics, NULL, NULL, count);
}

void open_metrics_single_gauge(struct open_metrics *metrics, const char *name, const char *unit,
                               const char *help, uint64_t number)
{
    open_metrics_family(metrics, name, OPEN_METRICS_GAUGE, unit, help);
    open_metrics_gauge(metrics, NULL, NULL, number);
}

void open_metrics_single_histogram(struct open_metrics *metrics, const char *name, const char *unit,
                                   const char *help, const struct histogram *histogram,
                                   const struct histogram_form *form)
{
    open_metrics_family(metrics, name, OPEN_METRICS_HISTOGRAM, unit, help);
    open_metrics_histogram(metrics, NULL, NULL, histogram, form);
}

void open_metrics_end(struct open_metrics *metrics)
{
    g_string_append(metrics->text, "# EOF\n");
}
