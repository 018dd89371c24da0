/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The OpenMetrics text format: families of samples, appended to a text. */
#ifndef PMXCFS_BASE_OPEN_METRICS_H
#define PMXCFS_BASE_OPEN_METRICS_H

#include <glib.h>
#include <stdint.h>

#include "base/metrics.h"

/* The format: https://prometheus.io/docs/specs/om/open_metrics_spec/. Samples follow the head of
 * their family at once. `label` is the name of the one label that the samples of a family have, or
 * NULL; its value may be any bytes. */
struct open_metrics {
    GString *text; /* owned by whoever has the struct */
    const char *family;
};

struct buffer;

/* Who makes the text of .metrics out of what all parts offer; embedded by whoever has them. */
struct metrics_source {
    struct buffer *(*text)(struct metrics_source *source); /* one reference; any thread */
};

enum open_metrics_type {
    OPEN_METRICS_COUNTER,   /* samples are called NAME_total */
    OPEN_METRICS_GAUGE,     /* NAME */
    OPEN_METRICS_HISTOGRAM, /* NAME_bucket, NAME_sum, NAME_count */
    OPEN_METRICS_INFO,      /* NAME_info, with the value 1 */
};

/* Begins a family; `name` must live on until the next one. It ends with "_" and `unit`, unless
 * that is NULL. */
void open_metrics_family(struct open_metrics *metrics, const char *name,
                         enum open_metrics_type type, const char *unit, const char *help);

void open_metrics_counter(struct open_metrics *metrics, const char *label, const char *value,
                          uint64_t count);
void open_metrics_counter_seconds(struct open_metrics *metrics, double seconds);
void open_metrics_gauge(struct open_metrics *metrics, const char *label, const char *value,
                        uint64_t number);
void open_metrics_histogram(struct open_metrics *metrics, const char *label, const char *value,
                            const struct histogram *histogram, const struct histogram_form *form);
void open_metrics_info(struct open_metrics *metrics, const char *label, const char *value);

/* A family of one sample without a label. */
void open_metrics_single_counter(struct open_metrics *metrics, const char *name, const char *unit,
                                 const char *help, uint64_t count);
void open_metrics_single_gauge(struct open_metrics *metrics, const char *name, const char *unit,
                               const char *help, uint64_t number);
void open_metrics_single_histogram(struct open_metrics *metrics, const char *name, const char *unit,
                                   const char *help, const struct histogram *histogram,
                                   const struct histogram_form *form);

/* The last line. */
void open_metrics_end(struct open_metrics *metrics);

#endif
