/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Collects what a check finds, as a text: INODE OTHER PATH: SENTENCE, one a line. Include after
 * cmocka. */
#ifndef PMXCFS_TESTS_COLLECTOR_H
#define PMXCFS_TESTS_COLLECTOR_H

#include <glib.h>
#include <string.h>

#include "base/util.h"
#include "store/finding.h"

struct collector {
    struct store_checker checker;
    GString *text;
    unsigned int refused;
    unsigned int warnings;
};

static inline void collect(struct store_checker *checker, const struct store_finding *finding)
{
    struct collector *collector = container_of(checker, struct collector, checker);

    assert_non_null(finding->text);
    assert_true(strlen(finding->text) < 1024);
    assert_true(!finding->path || strlen(finding->path) < 1024);
    assert_true(g_utf8_validate(finding->text, -1, NULL));
    if (finding->severity == STORE_REFUSED)
        collector->refused++;
    else
        collector->warnings++;
    g_string_append_printf(collector->text, "%ld %ld %s: %s\n", (int64_t)finding->inode,
                           (int64_t)finding->other, finding->path ? finding->path : "-",
                           finding->text);
}

static inline void collector_start(struct collector *collector)
{
    *collector = (struct collector){.checker.found = collect, .text = g_string_new(NULL)};
}

#endif
