/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The kinds of RRD values: which key goes to which file, and which columns it has. Pure. */
#include "status/rrd_form.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <string.h>

#define PARTS_MAX 3

#define GAUGE(name) "DS:" name ":GAUGE:120:0:U"
#define DERIVE(name) "DS:" name ":DERIVE:120:0:U"

struct rrd_kind {
    const char *directory;
    unsigned columns;
    const char *sources[20];
};

static const struct rrd_kind node_kind = {
    .directory = "pve-node-9.0",
    .columns = 19,
    .sources = {GAUGE("loadavg"), GAUGE("maxcpu"), GAUGE("cpu"), GAUGE("iowait"), GAUGE("memtotal"),
                GAUGE("memused"), GAUGE("swaptotal"), GAUGE("swapused"), GAUGE("roottotal"),
                GAUGE("rootused"), DERIVE("netin"), DERIVE("netout"), GAUGE("memavailable"),
                GAUGE("arcsize"), GAUGE("pressurecpusome"), GAUGE("pressureiosome"),
                GAUGE("pressureiofull"), GAUGE("pressurememorysome"), GAUGE("pressurememoryfull")},
};

static const struct rrd_kind vm_kind = {
    .directory = "pve-vm-9.0",
    .columns = 17,
    .sources = {GAUGE("maxcpu"), GAUGE("cpu"), GAUGE("maxmem"), GAUGE("mem"), GAUGE("maxdisk"),
                GAUGE("disk"), DERIVE("netin"), DERIVE("netout"), DERIVE("diskread"),
                DERIVE("diskwrite"), GAUGE("memhost"), GAUGE("pressurecpusome"),
                GAUGE("pressurecpufull"), GAUGE("pressureiosome"), GAUGE("pressureiofull"),
                GAUGE("pressurememorysome"), GAUGE("pressurememoryfull")},
};

static const struct rrd_kind storage_kind = {
    .directory = "pve-storage-9.0",
    .columns = 2,
    .sources = {GAUGE("total"), GAUGE("used")},
};

static const char *const archives[] = {
    "RRA:AVERAGE:0.5:1:1440",    "RRA:AVERAGE:0.5:30:1440", "RRA:AVERAGE:0.5:360:1440",
    "RRA:AVERAGE:0.5:10080:570", "RRA:MAX:0.5:1:1440",      "RRA:MAX:0.5:30:1440",
    "RRA:MAX:0.5:360:1440",      "RRA:MAX:0.5:10080:570",
};

/* The forms of keys. `known` of the old ones is less than the file has. */
static const struct {
    const char *word;
    bool versioned; /* more must follow the word */
    unsigned parts; /* of the key, with the word */
    unsigned skip;
    unsigned known;
    const struct rrd_kind *kind;
} forms[] = {
    {"pve2-node", false, 2, 2, 12, &node_kind},      {"pve-node-", true, 2, 2, 19, &node_kind},
    {"pve2.3-vm", false, 2, 4, 10, &vm_kind},        {"pve-vm-", true, 2, 4, 17, &vm_kind},
    {"pve2-storage", false, 3, 0, 2, &storage_kind}, {"pve-storage-", true, 3, 0, 2, &storage_kind},
};

/* A part becomes a name in a file system, and a word in rrdcached's line. */
static bool is_good_part(const char *part)
{
    if (*part == '\0' || strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
        return false;
    for (; *part; part++) {
        if (g_ascii_iscntrl(*part))
            return false;
    }
    return true;
}

static int find_form(const char *word, unsigned parts)
{
    for (size_t i = 0; i < G_N_ELEMENTS(forms); i++) {
        size_t length = strlen(forms[i].word);
        bool matches = forms[i].versioned
                           ? strncmp(word, forms[i].word, length) == 0 && word[length]
                           : strcmp(word, forms[i].word) == 0;
        if (matches)
            return forms[i].parts == parts ? (int)i : -1;
    }
    return -1;
}

int rrd_target_parse(const char *key, struct rrd_target *target)
{
    g_auto(GStrv) parts = g_strsplit(key, "/", PARTS_MAX + 1);
    unsigned count = g_strv_length(parts);

    for (unsigned i = 0; i < count; i++) {
        if (!is_good_part(parts[i]))
            return -EINVAL;
    }
    int form = count > 0 ? find_form(parts[0], count) : -1;
    if (form < 0)
        return -EINVAL;
    target->kind = forms[form].kind;
    target->skip = forms[form].skip;
    target->known = forms[form].known;
    target->directory = count == 2 ? g_strdup(target->kind->directory)
                                   : g_strconcat(target->kind->directory, "/", parts[1], NULL);
    target->path = g_strconcat(target->directory, "/", parts[count - 1], NULL);
    return 0;
}

void rrd_target_clear(struct rrd_target *target)
{
    g_free(target->directory);
    g_free(target->path);
    *target = (struct rrd_target){0};
}

/* librrd's "at" times are not thread-safe, and none of ours has one: digits only. */
static bool is_time(const char *text)
{
    size_t length = strspn(text, "0123456789");

    return length > 0 && length <= 10 && text[length] == '\0';
}

/* A number or U (unknown), by its characters; librrd judges the rest. */
static bool is_column(const char *text)
{
    return text[strspn(text, "0123456789abcdefinxyABCDEFINXYU.+-")] == '\0';
}

char *rrd_target_update(const struct rrd_target *target, const char *value, size_t size)
{
    if (size > RRD_VALUE_MAX)
        return NULL;
    g_autofree char *text = g_strndup(value, size);
    g_auto(GStrv) columns = g_strsplit(text, ":", -1);
    unsigned count = g_strv_length(columns);

    if (count < target->skip + 2 || !is_time(columns[target->skip]))
        return NULL;
    const char *const *given = (const char *const *)columns + target->skip + 1;
    unsigned stored = MIN(count - target->skip - 1, target->known);
    GString *update = g_string_new(columns[target->skip]);
    for (unsigned i = 0; i < target->kind->columns; i++) {
        const char *column = i < stored && *given[i] ? given[i] : "U";
        if (!is_column(column)) {
            g_string_free(update, TRUE);
            return NULL;
        }
        g_string_append_c(update, ':');
        g_string_append(update, column);
    }
    return g_string_free(update, FALSE);
}

int rrd_target_arguments(const struct rrd_target *target, const char **arguments)
{
    int count = 0;

    for (unsigned i = 0; i < target->kind->columns; i++)
        arguments[count++] = target->kind->sources[i];
    for (size_t i = 0; i < G_N_ELEMENTS(archives); i++)
        arguments[count++] = archives[i];
    return count;
}
