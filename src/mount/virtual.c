/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The texts of the names in the root that no database holds. */
#include "mount/virtual.h"

#include <string.h>

#include "base/log.h"
#include "base/open_metrics.h"
#include "core/buffer.h"
#include "mount/options.h"
#include "status/status.h"

static const char *const names[VIRTUAL_COUNT] = {
    [VIRTUAL_LOCAL] = "local",      [VIRTUAL_QEMU_SERVER] = "qemu-server",
    [VIRTUAL_LXC] = "lxc",          [VIRTUAL_OPENVZ] = "openvz",
    [VIRTUAL_VERSION] = ".version", [VIRTUAL_MEMBERS] = ".members",
    [VIRTUAL_VMLIST] = ".vmlist",   [VIRTUAL_CLUSTERLOG] = ".clusterlog",
    [VIRTUAL_RRD] = ".rrd",         [VIRTUAL_DEBUG] = ".debug",
    [VIRTUAL_METRICS] = ".metrics",
};

enum virtual_name virtual_find(const char *name)
{
    for (int i = 0; i < VIRTUAL_COUNT; i++) {
        if (strcmp(names[i], name) == 0)
            return (enum virtual_name)i;
    }
    return VIRTUAL_NONE;
}

const char *virtual_text_name(enum virtual_name name)
{
    return names[name];
}

struct buffer *virtual_text(const struct mount_options *options, enum virtual_name name)
{
    struct status *status = options->status;

    switch (name) {
    case VIRTUAL_VERSION:
        return status_version_text(status);
    case VIRTUAL_MEMBERS:
        return status_members_text(status);
    case VIRTUAL_VMLIST:
        return status_vmlist_text(status);
    case VIRTUAL_CLUSTERLOG:
        return status_cluster_log_text(status, 0, NULL);
    case VIRTUAL_RRD:
        return status_rrd_text(status);
    case VIRTUAL_METRICS:
        return options->metrics_source->text(options->metrics_source);
    default:
        return buffer_copy(log_debug_enabled() ? "1\n" : "0\n", 2);
    }
}

int virtual_write(enum virtual_name name, const char *data, size_t size, off_t offset)
{
    if (name != VIRTUAL_DEBUG || offset != 0 || size < 2 || (data[0] != '0' && data[0] != '1') ||
        data[1] != '\n')
        return -EIO;
    log_set_debug(data[0] == '1');
    log_info("debug messages are %s", data[0] == '1' ? "on" : "off");
    return 0;
}
