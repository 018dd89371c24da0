/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: the bytes of a corosync.conf. */
#include <string.h>

#include "cluster/conf.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* In memory of its own, without a NUL at its end. */
    uint8_t *copy = malloc(size ? size : 1);

    if (size > 0)
        memcpy(copy, data, size);
    uint64_t version = conf_version(copy, size);
    MUST(version == 0 || memmem(copy, size, "config_version", strlen("config_version")));
    free(copy);
    return 0;
}
