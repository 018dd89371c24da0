/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who this node is: its name, its address, and the group that owns the files. */
#include "host/node.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <grp.h>
#include <limits.h>
#include <netdb.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

char *node_name(void)
{
    char name[HOST_NAME_MAX + 1] = "";

    if (gethostname(name, sizeof(name) - 1) < 0) {
        log_error("cannot get the host name: %s", strerror(errno));
        return NULL;
    }
    name[strcspn(name, ".")] = '\0';
    if (!*name || strchr(name, '/')) {
        log_error("the host name '%s' cannot be the name of a node", name);
        return NULL;
    }
    return g_strdup(name);
}

static bool is_loopback4(struct in_addr address)
{
    return ntohl(address.s_addr) >> 24 == 127;
}

static bool is_loopback6(const struct in6_addr *address)
{
    struct in_addr mapped;

    if (IN6_IS_ADDR_LOOPBACK(address))
        return true;
    memcpy(&mapped, &address->s6_addr[12], sizeof(mapped));
    return IN6_IS_ADDR_V4MAPPED(address) && is_loopback4(mapped);
}

/* The text of an address that others can reach, or NULL. */
static char *usable_address(const struct addrinfo *info)
{
    char text[INET6_ADDRSTRLEN];

    if (info->ai_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, info->ai_addr, sizeof(v4));
        if (!is_loopback4(v4.sin_addr))
            return g_strdup(inet_ntop(AF_INET, &v4.sin_addr, text, sizeof(text)));
    } else if (info->ai_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, info->ai_addr, sizeof(v6));
        if (!is_loopback6(&v6.sin6_addr))
            return g_strdup(inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof(text)));
    }
    return NULL;
}

char *node_resolve(const char *name, const char **reason)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char *address = NULL;

    int error = getaddrinfo(name, NULL, &hints, &found);
    if (error == 0) {
        for (const struct addrinfo *info = found; info && !address; info = info->ai_next)
            address = usable_address(info);
        freeaddrinfo(found);
    }
    *reason = error ? gai_strerror(error) : "only loopback addresses found";
    return address;
}

char *node_address(const char *name)
{
    const char *reason;
    char *address = node_resolve(name, &reason);

    if (!address)
        log_error("no address of this node: its name '%s' does not resolve to an address other "
                  "than loopback (%s); add a line with its address and name to /etc/hosts",
                  name, reason);
    return address;
}

int node_group(const char *name, gid_t *gid)
{
    struct group entry;
    struct group *found = NULL;
    int error;

    for (size_t size = 1024;; size *= 2) {
        g_autofree char *buffer = g_malloc(size);
        error = getgrnam_r(name, &entry, buffer, size, &found);
        if (found)
            *gid = found->gr_gid;
        if (error != ERANGE || size > (1u << 20))
            break;
    }
    if (found)
        return 0;
    if (error == 0 || error == ESRCH || error == EBADF || error == EPERM)
        error = ENOENT;
    log_error("cannot find the group '%s': %s", name,
              error == ENOENT ? "there is no such group" : strerror(error));
    return -error;
}
