/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: the bytes of a corosync.conf: its version, and its way into a new database. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cluster/conf.h"
#include "core/publish.h"
#include "ctl/nodelist.h"
#include "fuzz.h"
#include "host/corosync_conf.h"

/* What is imported is there byte for byte, alone, and gives the same version. */
static void check_import(const char *path, const uint8_t *data, size_t size, uint64_t version)
{
    struct state *state = state_new(tree_new(), 0);
    struct draft *draft = draft_new(state);
    int error;

    MUST(corosync_conf_import(path, draft, 1) == 0);
    const struct entry *entry = draft_lookup(draft, CONF_PATH, &error);
    MUST((entry != NULL) == (size > 0));
    if (entry) {
        MUST(!entry_is_directory(entry) && entry->size == size && entry->writer == 0);
        MUST(memcmp(entry->content->data, data, size) == 0);
        MUST(conf_version(entry->content->data, entry->size) == version);
        state_publish(state, draft, 0);
        MUST(tree_entry_count(state->tree) == 2); /* the root is one */
    } else {
        MUST(draft_is_empty(draft));
    }
    draft_free(draft);
    state_free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* In memory of its own, without a NUL at its end. */
    uint8_t *copy = malloc(size ? size : 1);
    int file = memfd_create("corosync.conf", MFD_CLOEXEC);
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", file);

    if (size > 0)
        memcpy(copy, data, size);
    uint64_t version = conf_version(copy, size);
    MUST(version == 0 || memmem(copy, size, "config_version", strlen("config_version")));
    MUST(file >= 0 && write(file, copy, size) == (ssize_t)size);
    check_import(path, copy, size, version);
    close(file);
    GPtrArray *nodes = nodelist_parse((const char *)copy, size);
    for (guint i = 0; i < nodes->len; i++) {
        const struct nodelist_node *node = nodes->pdata[i];
        MUST(nodelist_find(nodes, node->name));
    }
    g_ptr_array_unref(nodes);
    free(copy);
    return 0;
}
