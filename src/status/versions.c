/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The counters of .version: what clients compare to learn that something changed. */
#include "status/versions.h"

#include <string.h>

#include "core/draft.h"
#include "core/path.h"
#include "status/json_text.h"

static const char *const watched[] = {
    "corosync.conf",
    "corosync.conf.new",
    "storage.cfg",
    "user.cfg",
    "domains.cfg",
    "notifications.cfg",
    "priv/notifications.cfg",
    "priv/shadow.cfg",
    "priv/acme/plugins.cfg",
    "priv/tfa.cfg",
    "priv/token.cfg",
    "priv/wg-keys.cfg",
    "datacenter.cfg",
    "vzdump.cron",
    "vzdump.conf",
    "jobs.cfg",
    "ha/crm_commands",
    "ha/manager_status",
    "ha/resources.cfg",
    "ha/rules.cfg",
    "ha/groups.cfg",
    "ha/fence.cfg",
    "status.cfg",
    "replication.cfg",
    "ceph.conf",
    "sdn/vnets.cfg",
    "sdn/zones.cfg",
    "sdn/controllers.cfg",
    "sdn/subnets.cfg",
    "sdn/ipams.cfg",
    "sdn/mac-cache.json",
    "sdn/pve-ipam-state.json",
    "sdn/dns.cfg",
    "sdn/fabrics.cfg",
    "sdn/route-maps.cfg",
    "sdn/prefix-lists.cfg",
    "sdn/.running-config",
    "virtual-guest/cpu-models.conf",
    "virtual-guest/profiles.cfg",
    "firewall/cluster.fw",
    "mapping/directory.cfg",
    "mapping/pci.cfg",
    "mapping/usb.cfg",
};
_Static_assert(G_N_ELEMENTS(watched) == WATCHED_FILES, "one counter for each watched file");

static bool raise_file(struct versions *versions, const char *path)
{
    for (size_t i = 0; i < WATCHED_FILES; i++) {
        /* Most differ in the first byte; this runs for every change. */
        if (watched[i][0] == path[0] && strcmp(watched[i], path) == 0) {
            versions->files[i]++;
            return true;
        }
    }
    return false;
}

static bool is_guest(const char *path)
{
    struct guest_path guest;

    return path && path_parse_guest(path, &guest);
}

/* Does an operation concern the counter of its path's file, and that of the guest list? */
static void concerns(enum change_operation operation, bool *file, bool *guests)
{
    switch (operation) {
    case CHANGE_WRITE:
    case CHANGE_DELETE:
    case CHANGE_RENAME:
    case CHANGE_CREATE:
        *file = *guests = true;
        return;
    case CHANGE_MTIME:
        *file = true;
        *guests = false;
        return;
    case CHANGE_MKDIR:
    case CHANGE_UNLOCK_REQUEST:
    case CHANGE_UNLOCK:
        *file = *guests = false;
        return;
    }
}

bool versions_published(struct versions *versions, const GPtrArray *effects)
{
    bool raised = false;

    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = g_ptr_array_index(effects, i);
        bool file = false, guests = false;

        concerns(effect->operation, &file, &guests);
        if (file) {
            raised |= raise_file(versions, effect->path);
            if (effect->to)
                raised |= raise_file(versions, effect->to);
        }
        if (guests && (is_guest(effect->path) || is_guest(effect->to))) {
            versions->vmlist++;
            raised = true;
        }
    }
    return raised;
}

void versions_rebuilt(struct versions *versions)
{
    for (size_t i = 0; i < WATCHED_FILES; i++)
        versions->files[i]++;
    versions->vmlist++;
}

void versions_json(const struct versions *versions, json_t *object)
{
    json_text_set_number(object, "clinfo", versions->clinfo);
    json_text_set_number(object, "vmlist", versions->vmlist);
    for (size_t i = 0; i < WATCHED_FILES; i++)
        json_text_set_number(object, watched[i], versions->files[i]);
}
