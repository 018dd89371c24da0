/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl doctor: what several checks need. */
#include <string.h>

#include "cluster/conf.h"
#include "ctl/ask.h"
#include "ctl/doctor.h"
#include "ctl/nodelist.h"

#define LIST_SHOWN 5u

void doctor_add(struct doctor *doctor, struct doctor_finding finding)
{
    finding.check = doctor->check;
    g_ptr_array_add(doctor->findings, g_memdup2(&finding, sizeof(finding)));
}

bool doctor_has_critical(const struct doctor *doctor, const char *check)
{
    for (guint i = 0; i < doctor->findings->len; i++) {
        const struct doctor_finding *finding = doctor->findings->pdata[i];
        if (finding->severity == DOCTOR_CRITICAL && (!check || strcmp(finding->check, check) == 0))
            return true;
    }
    return false;
}

char *doctor_service(const char *verb)
{
    static const char *const units[] = {"/lib/systemd/system/pve-cluster.service",
                                        "/usr/lib/systemd/system/pve-cluster.service",
                                        "/etc/systemd/system/pve-cluster.service"};
    bool usual = true; /* what the documentation speaks of */

    if (g_file_test("/usr/lib/systemd/system/pmxcfs.service", G_FILE_TEST_EXISTS) ||
        g_file_test("/lib/systemd/system/pmxcfs.service", G_FILE_TEST_EXISTS)) {
        usual = false;
        for (size_t i = 0; i < G_N_ELEMENTS(units); i++)
            usual = usual || g_file_test(units[i], G_FILE_TEST_EXISTS);
    }
    return g_strdup_printf("systemctl %s %s", verb, usual ? "pve-cluster" : "pmxcfs");
}

char *doctor_list(const GPtrArray *words)
{
    GString *list = g_string_new(NULL);

    for (guint i = 0; i < MIN(words->len, LIST_SHOWN); i++)
        g_string_append_printf(list, "%s%s", i > 0 ? ", " : "", (const char *)words->pdata[i]);
    if (words->len > LIST_SHOWN)
        g_string_append_printf(list, " and %u more", words->len - LIST_SHOWN);
    return g_string_free(list, FALSE);
}

GPtrArray *doctor_names_without(json_t *list, const char *field)
{
    GPtrArray *names = g_ptr_array_new();
    json_t *object;
    size_t i;

    json_array_foreach(list, i, object)
    {
        if (!field_bool(object, field))
            g_ptr_array_add(names, (gpointer)field_text(object, "name"));
    }
    return names;
}

GPtrArray *doctor_cluster_nodes(const struct doctor *doctor)
{
    const struct entry *conf = doctor->tree ? tree_child(doctor->tree, 0, CONF_PATH) : NULL;

    return conf && conf->content ? nodelist_parse((const char *)conf->content->data, conf->size)
                                 : NULL;
}

const char *doctor_node_name(const struct doctor *doctor)
{
    if (doctor->overview)
        return field_text(doctor->overview, "node");
    return doctor->options->node_name ? doctor->options->node_name : doctor->host_name;
}
