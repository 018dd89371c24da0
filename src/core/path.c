/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the form of a path says: guest configurations, private paths, locks, virtual names. Pure. */
#include "core/path.h"

#include <glib.h>
#include <string.h>

static const struct {
    const char *directory;
    enum guest_type type;
    const char *name;
} guest_types[] = {
    {"qemu-server", GUEST_QEMU, "qemu"},
    {"lxc", GUEST_LXC, "lxc"},
    {"openvz", GUEST_OPENVZ, "openvz"},
};

/* The rest of `path` behind "nodes/NODE/", with NODE given; NULL if it has not that form. */
static const char *skip_node(const char *path, const char **node, size_t *node_length)
{
    if (strncmp(path, "nodes/", 6) != 0)
        return NULL;
    *node = path + 6;
    const char *slash = strchr(*node, '/');
    if (!slash || slash == *node)
        return NULL;
    *node_length = (size_t)(slash - *node);
    return slash + 1;
}

/* Letters, digits and inner hyphens. */
static bool is_host_name(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool inner = i > 0 && i + 1 < length;
        if (!g_ascii_isalnum(name[i]) && !(name[i] == '-' && inner))
            return false;
    }
    return length > 0;
}

/* The index in guest_types of the directory name that `path` begins with, and what follows it; -1:
 * none. */
static int match_guest_type(const char *path, const char **rest)
{
    for (size_t i = 0; i < G_N_ELEMENTS(guest_types); i++) {
        size_t length = strlen(guest_types[i].directory);
        if (strncmp(path, guest_types[i].directory, length) == 0) {
            *rest = path + length;
            return (int)i;
        }
    }
    return -1;
}

/* ID.conf: decimal without a leading zero, up to 2^32 - 1. */
static bool parse_guest_file(const char *name, uint32_t *id)
{
    uint64_t value = 0;
    const char *digit = name;

    if (*digit < '1' || *digit > '9')
        return false;
    for (; g_ascii_isdigit(*digit); digit++) {
        value = value * 10 + (uint64_t)(*digit - '0');
        if (value > UINT32_MAX)
            return false;
    }
    *id = (uint32_t)value;
    return strcmp(digit, ".conf") == 0;
}

bool path_parse_guest(const char *path, struct guest_path *guest)
{
    const char *rest = skip_node(path, &guest->node, &guest->node_length);

    if (!rest || !is_host_name(guest->node, guest->node_length))
        return false;
    int type = match_guest_type(rest, &rest);
    if (type < 0 || *rest != '/')
        return false;
    guest->type = guest_types[type].type;
    return parse_guest_file(rest + 1, &guest->id);
}

bool path_is_guest_directory(const char *path)
{
    const char *node;
    size_t node_length;
    const char *rest = skip_node(path, &node, &node_length);

    return rest && match_guest_type(rest, &rest) >= 0 && *rest == '\0';
}

static bool is_priv_or_below(const char *path)
{
    return strncmp(path, "priv", 4) == 0 && (path[4] == '\0' || path[4] == '/');
}

bool path_is_private(const char *path)
{
    const char *node;
    size_t node_length;
    const char *rest = skip_node(path, &node, &node_length);

    return is_priv_or_below(path) || (rest && is_priv_or_below(rest));
}

bool path_is_below_lock(const char *path)
{
    return strncmp(path, "priv/lock/", 10) == 0 && path[10] != '\0';
}

bool path_is_lock(const char *path)
{
    return path_is_below_lock(path) && !strchr(path + 10, '/');
}

bool path_is_virtual(const char *path)
{
    static const char *const names[] = {"local",    "qemu-server", "lxc",     "openvz",
                                        ".version", ".members",    ".vmlist", ".clusterlog",
                                        ".rrd",     ".debug",      ".metrics"};

    if (strchr(path, '/'))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(path, names[i]) == 0)
            return true;
    }
    return false;
}

const char *path_split(const char *path, size_t *parent_length)
{
    const char *slash = strrchr(path, '/');

    *parent_length = slash ? (size_t)(slash - path) : 0;
    return slash ? slash + 1 : path;
}

bool path_is_name(const char *name, size_t length)
{
    bool dots = length <= 2 && memcmp(name, "..", length) == 0; /* none at all, too */

    return !dots && !memchr(name, '\0', length) && !memchr(name, '/', length);
}

char *path_clean(const char *path)
{
    char *clean = g_malloc(strlen(path) + 1);
    char *end = clean;

    for (; *path; path++) {
        if (*path != '/' || (end > clean && end[-1] != '/'))
            *end++ = *path;
    }
    *end = '\0';
    return clean;
}

const char *guest_type_name(enum guest_type type)
{
    return guest_types[type].name;
}
