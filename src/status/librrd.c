/* SPDX-License-Identifier: GPL-3.0-or-later */
/* librrd, loaded when the first RRD file is to be written. */
#include "status/librrd.h"

#include <dlfcn.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>

/* The name that programs which are linked with it have in them. */
#define LIBRRD "librrd.so.8"

/* Puts the address of a function into the pointer to it that is at `function`. POSIX has it copied:
 * C knows no conversion from a pointer to data. */
static bool find(void *library, const char *name, void *function)
{
    void *address = dlsym(library, name);

    memcpy(function, &address, sizeof(address));
    return address != NULL;
}

char *librrd_load(struct librrd *librrd)
{
    if (librrd->create)
        return NULL;
    /* Libraries that it brings along register types with GLib, and can never go. */
    void *library = dlopen(LIBRRD, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE);
    if (!library)
        return g_strdup_printf("librrd cannot be loaded (%s): install the package librrd8",
                               dlerror());
    bool complete = find(library, "rrd_update_r", &librrd->update) &&
                    find(library, "rrd_test_error", &librrd->test_error) &&
                    find(library, "rrd_get_error", &librrd->get_error) &&
                    find(library, "rrd_clear_error", &librrd->clear_error) &&
                    find(library, "rrd_create_r", &librrd->create);
    dlclose(library); /* the handle, not the library */
    return complete ? NULL : g_strdup("librrd lacks a function: install the package librrd8 anew");
}
