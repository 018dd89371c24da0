/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of .metrics that the store has to tell, and the sizes of its files. */
#include "store/metrics.h"

#include <glib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/open_metrics.h"
#include "store/store.h"

size_t store_files(const struct store *store, struct store_file files[STORE_FILES_MAX])
{
    static const char *const names[STORE_FILES_MAX] = {"config.db", "config.db-wal",
                                                       "config.db-shm", "config.db.journal"};
    size_t count = 0;

    for (size_t i = 0; i < STORE_FILES_MAX; i++) {
        const char *suffix = names[i] + strlen("config.db");
        g_autofree char *path = g_strconcat(store_path(store), suffix, NULL);
        struct stat status;
        if (stat(path, &status) == 0)
            files[count++] = (struct store_file){names[i], (uint64_t)status.st_size};
    }
    return count;
}

void store_metrics_write(struct store *store, struct open_metrics *metrics)
{
    struct store_metrics counted;
    struct store_file files[STORE_FILES_MAX];

    store_get_metrics(store, &counted);
    open_metrics_single_counter(metrics, "pmxcfs_journal_records", NULL,
                                "Batches that went to the journal.", counted.journal_records);
    open_metrics_single_counter(metrics, "pmxcfs_journal_bytes", "bytes", "Bytes of their records.",
                                counted.journal_bytes);
    open_metrics_single_histogram(
        metrics, "pmxcfs_transaction_seconds", "seconds",
        "Transactions of config.db: batches that did not go to the journal, and what "
        "was gathered there.",
        counted.transactions, &histogram_durations);
    open_metrics_family(metrics, "pmxcfs_database_file_bytes", OPEN_METRICS_GAUGE, "bytes",
                        "Size of the database's files.");
    size_t count = store_files(store, files);
    for (size_t i = 0; i < count; i++)
        open_metrics_gauge(metrics, "file", files[i].name, files[i].bytes);
}
