/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The options of pmxcfsctl's commands. */
#include <stdio.h>
#include <string.h>

#include "ctl/commands.h"
#include "ctl/complete.h"

bool command_parse(int *argc, char ***argv, const GOptionEntry *entries, const char *parameters,
                   const char *summary, int least, int most)
{
    g_autoptr(GError) problem = NULL;

    if (*argc == COMPLETE_COUNT && strcmp((*argv)[COMPLETE_MARK], COMPLETE_MARK_TEXT) == 0) {
        complete_options(entries, parameters, *argv);
        return false;
    }
    g_autoptr(GOptionContext) options = g_option_context_new(parameters);

    g_option_context_set_summary(options, summary);
    if (entries)
        g_option_context_add_main_entries(options, entries, NULL);
    bool parsed = g_option_context_parse(options, argc, argv, &problem);
    int count = *argc - 1;
    if (parsed && count >= least && count <= most)
        return true;
    fprintf(stderr, "error: %s\nTry %s --help.\n",
            problem         ? problem->message
            : count < least ? "something is missing"
                            : "too many arguments",
            g_get_prgname());
    return false;
}
