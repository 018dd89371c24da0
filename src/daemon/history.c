/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The history: how its parts hang together with the others. */
#include "daemon/history.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"

#define DAY_SECONDS 86400
#define DELETED_DAYS 30   /* the last version of what was deleted stays as long at least */
#define DELAY_DIRECT 5000 /* milliseconds that a change waits if there is no journal */

static void on_replayed(struct store_witness *witness, const GPtrArray *effects)
{
    struct history *history = container_of(witness, struct history, witness);

    recorder_replayed(history->recorder, effects);
}

/* What is folded is in the history by then. While a whole tree is being compared, which can take
 * seconds, nobody waits here: the fold is put off, and the journal keeps the changes. Only a commit
 * that the journal cannot take goes on: if the daemon is killed in these seconds, the next start
 * compares again, and finds what the changes before it made. */
static bool on_folding(struct store_witness *witness, uint64_t version)
{
    struct history *history = container_of(witness, struct history, witness);

    if (!history->recorder) /* it was stopped, and has all */
        return true;
    return !recorder_is_comparing(history->recorder) && recorder_settle(history->recorder, version);
}

void history_start(struct history *history, const struct options *options)
{
    history->witness = (struct store_witness){.replayed = on_replayed, .folding = on_folding};
    if (options->history_size == 0)
        return;
    history->askers = askers_start();
    if (!history->askers)
        log_warning("the history will not know who asked: no thread (%s)", strerror(errno));
    const struct recorder_options recorder = {
        .directory = options->state_dir,
        .limits = {.bytes = options->history_size * 1024 * 1024,
                   .age = (int64_t)options->history_days * DAY_SECONDS,
                   .deleted_age = DELETED_DAYS * DAY_SECONDS},
        .patterns = options->history_skip,
        .private = options->history_private,
        .delay = options->fold_delay > 0 ? options->fold_delay : DELAY_DIRECT,
        .askers = history->askers,
    };
    history->recorder = recorder_start(&recorder);
    if (!history->recorder)
        log_warning("no history is written: no thread (%s)", strerror(errno));
}

struct store_witness *history_witness(struct history *history)
{
    return history->recorder ? &history->witness : NULL;
}

void history_loaded(struct history *history, const struct tree *tree, struct status *status)
{
    if (!history->recorder)
        return;
    status_set_askers(status, history->askers);
    recorder_set_names(history->recorder, status_name_source(status));
    recorder_found(history->recorder, tree);
}

void history_ready(struct history *history, const struct options *options, struct replica *replica,
                   struct mount *mount)
{
    if (!history->recorder)
        return;
    reverter_init(&history->reverter, replica, mount);
    history->trials =
        trials_start(options->state_dir, history->recorder, &history->reverter.reverter);
    if (!history->trials)
        log_warning("there can be no trials: no thread (%s)", strerror(errno));
}

void history_begin_stop(struct history *history)
{
    trials_begin_stop(history->trials);
}

void history_stop_trials(struct history *history)
{
    trials_stop(history->trials);
}

void history_forget_trials(struct history *history)
{
    trials_free(history->trials);
    history->trials = NULL;
}

void history_stop(struct history *history, struct status *status)
{
    recorder_stop(history->recorder);
    if (status)
        status_set_askers(status, NULL);
    askers_stop(history->askers);
    history->recorder = NULL;
    history->askers = NULL;
}
