/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What two trees do not have in common: told by path, or as differences of texts. */
#ifndef PMXCFS_CTL_DB_COMPARE_H
#define PMXCFS_CTL_DB_COMPARE_H

#include <jansson.h>
#include <stdbool.h>

#include "core/tree.h"

struct db_comparison {
    bool content_only;                 /* versions, writers, times and inodes do not matter */
    bool unified;                      /* as diff -u; implies content_only */
    bool show_secrets;                 /* with `unified`; else private texts are masked */
    bool first_alone;                  /* what only b has does not matter */
    json_t *list;                      /* gets what differs; NULL: it is printed */
    unsigned int gone, altered, added; /* found: in a only, in both, in b only */
};

/* Goes through both by path: "-" is in `a` only, "+" in `b` only, "!" in both. */
void db_compare(struct db_comparison *comparison, const struct tree *a, const struct tree *b);

#endif
