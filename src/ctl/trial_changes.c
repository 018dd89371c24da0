/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the command of a trial has changed, as the history has it. */
#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/history_common.h"
#include "ctl/trial.h"
#include "history/partners.h"

/* Can what was there before be brought back? */
static bool is_kept(const struct history_version *before)
{
    return !before->exists || before->directory || before->kept == HISTORY_KEPT;
}

static json_t *changes_json(const GPtrArray *changes, json_int_t group)
{
    g_autoptr(GHashTable) told = g_hash_table_new(g_str_hash, g_str_equal);
    json_t *list = json_array();

    for (guint i = changes->len; i > 0; i--) {
        const struct history_change *change = changes->pdata[i - 1];
        if ((group != 0 && change->actor.group != group) || !g_hash_table_add(told, change->path))
            continue;
        json_array_append_new(list,
                              json_pack("{s:o, s:s, s:b}", "path", db_json_string(change->path),
                                        "operation", history_common_operation(change->operation),
                                        "kept", is_kept(&change->before)));
    }
    return list;
}

static json_t *find_path(json_t *list, const char *path)
{
    json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        if (strcmp(field_text(one, "path"), path) == 0)
            return one;
    }
    return NULL;
}

/* What belongs together with one that cannot be brought back stays, too. */
static void mark_halves(json_t *list)
{
    json_t *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        char *partner;
        for (size_t k = 0; (partner = partners_get(field_text(one, "path"), k)); k++) {
            json_t *other = find_path(list, partner);
            if (other && !field_bool(other, "kept") && field_bool(one, "kept"))
                json_object_set_new(one, "partner", db_json_string(partner));
            g_free(partner);
        }
    }
}

json_t *trial_changes(const struct context *context, json_t *trial)
{
    json_int_t until = field_number(trial, "until");
    const struct history_filter filter = {
        .above = field_number(trial, "from"),
        .below = until > 0 && until < INT64_MAX ? until + 1 : 0,
        .asked_here = true,
    };
    GPtrArray *changes = NULL;
    int code;
    struct history_reader *reader = history_common_open(context, NULL, &code);
    int error = reader ? history_list(reader, &filter, &changes) : 0;
    json_t *list = NULL;

    if (error)
        history_common_damaged(reader, NULL, error);
    if (changes) {
        list = changes_json(changes, field_number(trial, "group"));
        mark_halves(list);
        g_ptr_array_unref(changes);
    }
    history_close(reader);
    return list;
}

/* Why one cannot be brought back; NULL: it can. g_free() it. */
static char *reason_of(json_t *one)
{
    g_autofree char *partner = field_printable(one, "partner");

    if (!field_bool(one, "kept"))
        return g_strdup("what it was is not kept");
    return json_object_get(one, "partner")
               ? g_strdup_printf("it belongs together with %s, of which that is so", partner)
               : NULL;
}

void trial_print_changes(json_t *changes)
{
    json_t *one;
    size_t i;

    json_array_foreach(changes, i, one)
    {
        g_autofree char *shown = field_printable(one, "path");
        g_autofree char *reason = reason_of(one);
        printf("  %-8s %s%s%s%s\n", field_text(one, "operation"), shown,
               reason ? "  (cannot be brought back: " : "", reason ? reason : "",
               reason ? ")" : "");
    }
}

bool trial_complain_of_lost(json_t *changes)
{
    bool lost = false;
    json_t *one;
    size_t i;

    json_array_foreach(changes, i, one)
    {
        g_autofree char *shown = field_printable(one, "path");
        g_autofree char *reason = reason_of(one);
        if (!reason)
            continue;
        fprintf(stderr, "error: %s could not be brought back: %s\n", shown, reason);
        lost = true;
    }
    return lost;
}
