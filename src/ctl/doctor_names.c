/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl doctor: what this host is called, where that name leads, and whose guests there are. */
#include <string.h>

#include "core/path.h"
#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/doctor.h"
#include "ctl/doctor_process.h"
#include "ctl/names.h"
#include "ctl/nodelist.h"
#include "host/node.h"

/* A name server that does not answer. */
#define RESOLVE_MILLISECONDS 5000

/* ---- The name and its address ---- */

void doctor_check_name(struct doctor *doctor)
{
    if (doctor_node_name(doctor))
        return;
    doctor_add(doctor,
               (struct doctor_finding){
                   .severity = DOCTOR_CRITICAL,
                   .what = g_strdup("this host has no name that a node can have"),
                   .why = g_strdup(
                       "The node's directory in the file system is called as the host is, up to "
                       "the first dot."),
                   .command = g_strdup("hostnamectl set-hostname NAME"),
                   .risk = g_strdup("Choose the name that the host had: guests belong to a name."),
               });
}

/* In a process of its own: a name server may not answer. "=ADDRESS" or "!REASON". */
static char *resolve(void *name, int *error)
{
    const char *reason = "";
    char *address = node_resolve(name, &reason);
    char *text = address ? g_strconcat("=", address, NULL) : g_strconcat("!", reason, NULL);

    g_free(address);
    *error = 0;
    return text;
}

static void tell_unresolved(struct doctor *doctor, const char *name, const char *reason)
{
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what = g_strdup_printf("the name %s leads to no address: %s", name, reason),
            .why = g_strdup("pmxcfs does not start without an address of its node, that is not "
                            "loopback."),
            .command = g_strdup_printf("ip -brief address\necho 'ADDRESS %s' >>/etc/hosts", name),
            .risk =
                g_strdup("Take the address that corosync uses. If a line of /etc/hosts gives the "
                         "name 127.0.1.1, replace that line."),
        });
}

void doctor_check_address(struct doctor *doctor)
{
    const char *name = doctor_node_name(doctor);
    int error;

    if (!name)
        return;
    g_autofree char *told = doctor_process_run(resolve, (void *)name, RESOLVE_MILLISECONDS, &error);
    if (!told) {
        tell_unresolved(doctor, name, "no name server answers");
    } else if (*told != '=') {
        tell_unresolved(doctor, name, told + 1);
    } else if (!nodelist_is_local(told + 1)) {
        doctor_add(
            doctor,
            (struct doctor_finding){
                .severity = DOCTOR_WARNING,
                .what = g_strdup_printf("the name %s leads to %s, which is no address of this host",
                                        name, told + 1),
                .why = g_strdup("Other nodes are told that address, and look for this node there."),
                .command = g_strdup_printf("ip -brief address\ngetent ahosts %s\n"
                                           "grep -n %s /etc/hosts",
                                           name, name),
                .risk = g_strdup("None: they show what does not fit. Put the right address into "
                                 "/etc/hosts."),
            });
    }
}

/* ---- Guests by node ---- */

static void count_guest(GHashTable *counts, const char *path)
{
    struct guest_path guest;

    if (!path_parse_guest(path, &guest))
        return;
    char *node = g_strndup(guest.node, guest.node_length);
    gpointer count = g_hash_table_lookup(counts, node);
    g_hash_table_replace(counts, node, GUINT_TO_POINTER(GPOINTER_TO_UINT(count) + 1));
}

/* Name of the node → how many guests are under it. */
static GHashTable *count_guests(const struct tree *tree)
{
    GHashTable *counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) entries = tree_sorted(tree);

    for (guint i = 0; i < entries->len; i++) {
        const struct entry *entry = entries->pdata[i];
        g_autofree char *path = entry_is_directory(entry) ? NULL : tree_path(tree, entry->inode);
        if (path)
            count_guest(counts, path);
    }
    return counts;
}

/* The names of members: of corosync.conf, as corosync's clients take them, or this node's alone. */
static GPtrArray *member_names(const struct doctor *doctor)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GPtrArray) nodes = doctor_cluster_nodes(doctor);

    for (guint i = 0; nodes && i < nodes->len; i++) {
        const struct nodelist_node *node = nodes->pdata[i];
        const char *address = node->addresses->len > 0 ? node->addresses->pdata[0] : "";
        g_ptr_array_add(names, g_strdup(*node->name ? node->name : address));
    }
    if (names->len == 0 && doctor_node_name(doctor))
        g_ptr_array_add(names, g_strdup(doctor_node_name(doctor)));
    return names;
}

/* ---- Renamed ---- */

/* Of a node of another name; NULL: there is none, or several, of which nobody can tell. Borrowed.
 */
static const char *old_name(GHashTable *counts)
{
    GHashTableIter iter;
    gpointer name;

    if (g_hash_table_size(counts) != 1)
        return NULL;
    g_hash_table_iter_init(&iter, counts);
    return g_hash_table_iter_next(&iter, &name, NULL) ? name : NULL;
}

static bool is_renamed(const struct doctor *doctor)
{
    g_autoptr(GPtrArray) members = member_names(doctor);
    const struct entry *nodes = tree_child(doctor->tree, 0, "nodes");
    g_autoptr(GHashTable) counts = count_guests(doctor->tree);
    const char *name = doctor->options->node_name ? doctor->options->node_name : doctor->host_name;

    if (!name)
        return false;
    if (doctor->clustered)
        return !names_contain(members, name);
    /* A daemon makes the directory of its new name when it starts: guests alone tell. */
    if (doctor->overview && strcmp(field_text(doctor->overview, "node"), name) != 0)
        return true;
    bool has_none = !g_hash_table_contains(counts, name);
    return has_none && nodes && old_name(counts);
}

void doctor_check_renamed(struct doctor *doctor)
{
    const char *name = doctor->options->node_name ? doctor->options->node_name : doctor->host_name;

    if (!doctor->tree || !is_renamed(doctor))
        return;
    g_autoptr(GHashTable) counts = count_guests(doctor->tree);
    g_autoptr(GPtrArray) members = member_names(doctor);
    g_autofree char *list = doctor_list(members);
    const char *running = doctor->overview ? field_text(doctor->overview, "node") : NULL;
    const char *old = running && strcmp(running, name) != 0 ? running : old_name(counts);
    guint guests = old ? GPOINTER_TO_UINT(g_hash_table_lookup(counts, old)) : 0;
    g_autofree char *of_old =
        old ? g_strdup_printf("this host is called %s now, and was %s: %u %s "
                              "still belong%s to %s",
                              name, old, guests, guests == 1 ? "guest" : "guests",
                              guests == 1 ? "s" : "", old)
            : NULL;
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what = doctor->clustered
                        ? g_strdup_printf("this host is called %s, and no node of the cluster is "
                                          "(%s)",
                                          name, list)
                        : g_steal_pointer(&of_old),
            .why =
                g_strdup("Guests, certificates and statistics are kept under the name of the node. "
                         "Under a new name the node has none."),
            .command = g_strdup_printf("hostnamectl set-hostname %s\nreboot",
                                       old && !doctor->clustered ? old : "OLDNAME"),
            .risk =
                doctor->clustered
                    ? g_strdup("A name of corosync.conf, and the one that this host had: two nodes "
                               "of one name destroy each other's guests.")
                    : g_strdup_printf("To keep the new name instead, move the guests: pmxcfsctl "
                                      "guests move --from %s --to %s (they must be off).",
                                      old, name),
        });
}

/* ---- Guests under nodes that are none ---- */

void doctor_check_lost_guests(struct doctor *doctor)
{
    g_autoptr(GPtrArray) members = member_names(doctor);
    g_autoptr(GPtrArray) lost = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iter;
    gpointer name, count;
    const char *first = NULL;

    /* Of a host that was renamed all would be named here. */
    if (!doctor->tree || doctor_has_critical(doctor, "renamed"))
        return;
    g_autoptr(GHashTable) counts = count_guests(doctor->tree);
    g_hash_table_iter_init(&iter, counts);
    while (g_hash_table_iter_next(&iter, &name, &count)) {
        if (names_contain(members, name))
            continue;
        first = name;
        g_ptr_array_add(lost,
                        g_strdup_printf("%u of %s", GPOINTER_TO_UINT(count), (const char *)name));
    }
    if (lost->len == 0)
        return;
    g_autofree char *list = doctor_list(lost);
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf("guests belong to nodes that are no members: %s", list),
            .why = g_strdup("Nobody starts them, and nobody backs them up."),
            .command = g_strdup_printf("pmxcfsctl guests move --from %s --to %s --dry-run", first,
                                       members->len > 0 ? (const char *)members->pdata[0] : "NODE"),
            .risk =
                g_strdup("It only shows what would be moved. Without --dry-run: be sure that the "
                         "old host is off and stays off, or a guest runs twice and its disks are "
                         "destroyed. Disks on the old host's local storages are not moved."),
        });
}
