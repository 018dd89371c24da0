/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the command of a trial has changed, as the history has it. */
#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/history_common.h"
#include "ctl/trial.h"
#include "store/text.h"

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
        g_ptr_array_unref(changes);
    }
    history_close(reader);
    return list;
}

void trial_print_changes(json_t *changes)
{
    json_t *one;
    size_t i;

    json_array_foreach(changes, i, one)
    {
        const char *path = field_text(one, "path");
        g_autofree char *shown = store_text_shown(path, strlen(path));
        printf("  %-8s %s%s\n", field_text(one, "operation"), shown,
               field_bool(one, "kept") ? ""
                                       : "  (cannot be brought back: what it was is not kept)");
    }
}

bool trial_complain_of_lost(json_t *changes)
{
    bool lost = false;
    json_t *one;
    size_t i;

    json_array_foreach(changes, i, one)
    {
        const char *path = field_text(one, "path");
        g_autofree char *shown = store_text_shown(path, strlen(path));
        if (field_bool(one, "kept"))
            continue;
        fprintf(stderr, "error: %s could not be brought back: what it was is not kept\n", shown);
        lost = true;
    }
    return lost;
}
