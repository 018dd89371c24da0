/* SPDX-License-Identifier: GPL-3.0-or-later */
/* copy_database FROM TO: a copy of a config.db with all that a daemon has acknowledged, also while
 * it runs; for tests that look at its rows. */
#include <glib.h>
#include <stdio.h>

#include "tools/backup.h"

int main(int argc, char **argv)
{
    g_autofree char *message = NULL;

    if (argc != 3) {
        fputs("usage: copy_database FROM TO\n", stderr);
        return 2;
    }
    if (tools_backup(argv[1], argv[2], &message) == 0)
        return 0;
    fprintf(stderr, "%s\n", message);
    return 1;
}
