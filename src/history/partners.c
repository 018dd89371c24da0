/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files that are of no use without others: the halves of a pair of keys, a certificate and its
 * issuer. */
#include "history/partners.h"

#include <glib.h>
#include <string.h>

#define PARTNERS_MAX 3
#define NODE "nodes/*/" /* of the same node in all of a row */
#define ISSUER "pve-root-ca.pem", "priv/pve-root-ca.key"

static const struct {
    const char *path;
    const char *partners[PARTNERS_MAX];
} table[] = {
    {"authkey.pub", {"priv/authkey.key"}},
    {"authkey.pub.old", {"priv/authkey.key"}},
    {"priv/authkey.key", {"authkey.pub"}},
    {"pve-root-ca.pem", {"priv/pve-root-ca.key"}},
    {"priv/pve-root-ca.key", {"pve-root-ca.pem"}},
    {NODE "pve-ssl.pem", {NODE "pve-ssl.key", ISSUER}},
    {NODE "pve-ssl.key", {NODE "pve-ssl.pem", ISSUER}},
    {NODE "pveproxy-ssl.pem", {NODE "pveproxy-ssl.key"}},
    {NODE "pveproxy-ssl.key", {NODE "pveproxy-ssl.pem"}},
    {NODE "ssh_known_hosts", {"/etc/ssh/ssh_host_rsa_key"}},
};

/* The part of `path` that is its node's name; length 0: it is below no node. */
static const char *node_of(const char *path, size_t *length)
{
    const char *node = g_str_has_prefix(path, "nodes/") ? path + strlen("nodes/") : "";

    *length = strcspn(node, "/");
    return node;
}

/* A path of the table, with the node in it. g_free() it. */
static char *fill_in(const char *path, const char *node, size_t length)
{
    if (!g_str_has_prefix(path, NODE))
        return g_strdup(path);
    return g_strdup_printf("nodes/%.*s/%s", (int)length, node, path + strlen(NODE));
}

char *partners_get(const char *path, size_t index)
{
    size_t length;
    const char *node = node_of(path, &length);

    for (size_t i = 0; i < G_N_ELEMENTS(table) && index < PARTNERS_MAX; i++) {
        g_autofree char *row = fill_in(table[i].path, node, length);
        if (strcmp(row, path) == 0)
            return table[i].partners[index] ? fill_in(table[i].partners[index], node, length)
                                            : NULL;
    }
    return NULL;
}

bool partners_is_outside(const char *partner)
{
    return *partner == '/';
}
