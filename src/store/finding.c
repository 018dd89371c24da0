/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What can be wrong with a database, and who is told. */
#include "store/finding.h"

const char *store_problem_name(enum store_problem problem)
{
    static const char *const names[] = {
        [PROBLEM_FILE] = "file",
        [PROBLEM_NUMBER] = "number",
        [PROBLEM_NEGATIVE] = "negative-inode",
        [PROBLEM_NAME] = "name",
        [PROBLEM_TYPE] = "type",
        [PROBLEM_DATA] = "directory-data",
        [PROBLEM_PARENT] = "parent",
        [PROBLEM_LOOP] = "loop",
        [PROBLEM_DEPTH] = "depth",
        [PROBLEM_TWIN] = "same-name",
        [PROBLEM_GUEST_DIRECTORY] = "guest-directory",
        [PROBLEM_GUEST_TWIN] = "same-guest",
        [PROBLEM_VERSION] = "version",
        [PROBLEM_JOURNAL] = "journal",
    };

    return names[problem];
}
