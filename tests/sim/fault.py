#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a source file with one fault put in: what the simulator must find (doc/testing.md).

fault.py NAME SOURCE_DIRECTORY OUTPUT;  fault.py --list: NAME:FILE:FIRST of each that the simulator finds
"""

import sys

# Seeds that found a fault that others rarely find: where its test begins to look. When the simulator changes it may have
# to look further; then a new one can be written here (`--must-fail --first 1` tells it).
FIRST_SEEDS = {
    "all-are-waited-for": 160,
    "confirmed-before-stored": 3312,
    "held-without-quorum": 762,
    "journal-not-synced": 549,
    "overtaken-journal-dropped": 618,
    "rounds-survive-commit": 1344,
    "sent-again": 1149,
    "stamped-before-merge": 401,
    "stamps-wrap-around": 67310,
    "unsynced-kept-for-last": 7901,
}

# What tests/crash finds instead, and no seed of the simulator does in a run of the suite.
OF_OTHERS = {"area-on-the-other"}

# name: (file, what is there, what is put in its place)
FAULTS = {
    "given-up-in-silence": (
        "cluster/machine_queues.c",
        "g_sequence_remove(at);\n        give_up(machine, kept);",
        "g_sequence_remove(at);\n        drop_kept(machine, kept);",
    ),
    "epoch-not-compared": (
        "cluster/machine.c",
        "!same_epoch(&header->epoch, &machine->epoch);",
        "machine->mode == MODE_START;",
    ),
    "sync-queue-dropped": (
        "cluster/machine_queues.c",
        "while ((kept = g_queue_pop_head(&machine->sync_queue)))\n        apply_kept(machine, kept);",
        "while ((kept = g_queue_pop_head(&machine->sync_queue)))\n        drop_kept(machine, kept);",
    ),
    "first-is-leader": (
        "cluster/machine_choose.c",
        "if (views[i].version > views[leader].version ||",
        "if (views[i].version < 1 ||",
    ),
    "digest-not-cleared": (
        "core/entry.c",
        "copy->version = entry->version;",
        "copy->version = entry->version;\n    copy->has_digest = entry->has_digest;\n"
        "    memcpy(copy->digest, entry->digest, DIGEST_SIZE);",
    ),
    "unsynced-kept-for-last": (
        "cluster/machine.c",
        "machine_queue(machine, arrival, machine->mode == MODE_UPDATE);",
        "machine_queue(machine, arrival, machine->mode == MODE_UPDATE && machine_find_peer(machine, &arrival->sender)->synced);",
    ),
    "sent-again": (
        "cluster/machine.c",
        "if (joined && machine->group == GROUP_CONFIGURATION)",
        "if (joined && machine->mode == MODE_START)",
    ),
    "kept-at-a-join": (
        "cluster/machine_queues.c",
        "while (!g_sequence_iter_is_end(at = g_sequence_get_begin_iter(machine->queue))) {",
        "while (machine->mode == MODE_START && !g_sequence_iter_is_end(at = g_sequence_get_begin_iter(machine->queue))) {",
    ),
    "commit-not-compared": (
        "replica/synchronise.c",
        "if (result->capacity != leader->capacity ||",
        "if (result->capacity == 0 &&",
    ),
    "rounds-survive-commit": (
        "replica/commit.c",
        "waiters_fail_rounds(committer->parts.waiters, -EBUSY);",
        "(void)committer;",
    ),
    "callers-forgotten": (
        "replica/execute.c",
        "waiters_fail(&replica->waiters, UINT64_MAX, -EBUSY);",
        "waiters_fail(&replica->waiters, 0, -EBUSY);",
    ),
    "all-are-waited-for": (
        "replica/execute.c",
        ".acknowledge_all = options->acknowledge_all,",
        ".acknowledge_all = true,",
    ),
    "overtaken-journal-dropped": (
        "journal/replay.c",
        "replay->keep = true;",
        "replay->keep = damaged;",
    ),
    "held-without-quorum": (
        "replica/execute.c",
        "    if (view_set_quorate(&replica->view, quorate))\n",
        "    if (!quorate)\n        outbox_hold(&replica->outbox);\n    if (view_set_quorate(&replica->view, quorate))\n",
    ),
    "published-before-stored": (
        "replica/commit.c",
        "    if (error) {\n        counter_add(&metrics->commit_failures, 1);\n        commit_drop_draft(committer);\n    }",
        "    if (error) {\n        publish(committer, false);\n    }",
    ),
    "no-safety-copy": (
        "store/safety.c",
        "taken->len == 0)",
        "taken->len > 0)",
    ),
    "own-confirmation-is-enough": (
        "replica/confirm.c",
        "        if (confirm_is_able(confirm, &member->member))\n            reached",
        "        if (same_member(&member->member, &confirm->self))\n            reached",
    ),
    "all-must-confirm": (
        "replica/confirm.c",
        "        if (confirm_is_able(confirm, &member->member))\n            reached",
        "        if (member->able || !member->able)\n            reached",
    ),
    "confirmed-before-stored": (
        "replica/execute.c",
        "    if (!flush(replica))\n        executor_run(&replica->executor);\n    executor_end_batch(&replica->executor);\n"
        "    confirm_to_others(replica);\n",
        "    confirm_to_others(replica);\n    if (!flush(replica))\n        executor_run(&replica->executor);\n"
        "    executor_end_batch(&replica->executor);\n",
    ),
    "rounds-not-restarted": (
        "replica/execute.c",
        "    waiters_restart_rounds(&replica->waiters);",
        "    (void)replica;",
    ),
    "answered-and-sent": (
        "replica/outbox.c",
        "if (held->caller == 0 || waiters_waits(outbox->waiters, held->caller))",
        "if (held->message)",
    ),
    "locks-do-not-last": (
        "replica/execute.c",
        "if (age <= (int64_t)replica->options.lock_lifetime)",
        "if (age <= 1000)",
    ),
    "logs-not-merged": (
        "cluster/executor.c",
        "if (actions->of[action->type])",
        "if (actions->of[action->type] && action->type != ACTION_MERGE)",
    ),
    "stamped-before-merge": (
        "status/status_group.c",
        "if (group->holding && group->held.length < HELD_LOG_MAX) {",
        "if (group->holding && group->held.length > HELD_LOG_MAX) {",
    ),
    "values-not-sent-again": (
        "status/status_group.c",
        "    else\n        want_all_again(group);",
        "    else\n        want_address_again(group);",
    ),
    "stamps-wrap-around": (
        "status/cluster_log.c",
        "return !last || time > last->time ||",
        "return !last || (int32_t)(time - last->time) > 0 ||",
    ),
    "entries-taken-twice": (
        "status/cluster_log.c",
        "    if (!is_newer(last, entry->time, entry->uid))\n        return false;\n    append_entry",
        "    (void)last;\n    append_entry",
    ),
    "unsent-forgotten": (
        "status/status_group.c",
        "            want_all_again(group);\n            atomic_store(&group->unsent, true);",
        "            atomic_store(&group->unsent, true);",
    ),
    "guests-not-tested": (
        "core/apply.c",
        "return guest && !guest_is_at(guest, path);",
        "return guest && guest->id == 0 && !guest_is_at(guest, path);",
    ),
    "journal-not-synced": (
        "journal/journal.c",
        "return journal->options.full && fdatasync(journal->file) < 0 ? -errno : 0;",
        "return 0;",
    ),
    "journal-not-emptied": (
        "store/store.c",
        "error = journal_restart(store->journal);",
        "error = 0;",
    ),
    "area-without-writer": (
        "journal/journal.c",
        "area->waiting->root = draft->root;",
        "area->waiting->root.version = draft->root.version;",
    ),
    "area-on-the-other": (
        "journal/journal.c",
        "bool chained = g_hash_table_lookup_extended(area->waiting->entries, inode, NULL, &waits);",
        "bool chained = g_hash_table_lookup_extended(area->waiting->entries, inode, NULL, &waits);\n"
        "        const struct area *other = other_area(journal);\n"
        "        chained |= other->waiting && g_hash_table_contains(other->waiting->entries, inode);",
    ),
    "tries-again-at-once": (
        "replica/synchronise.c",
        "return synchronisation->failures == 0 || now >= synchronisation->retry_at;",
        "return synchronisation->failures == 0 || now > 0;",
    ),
    "never-tries-again": (
        "replica/synchronise.c",
        "return synchronisation->failures == 0 || now >= synchronisation->retry_at;",
        "return synchronisation->failures == 0 || now == 0;",
    ),
    "dead-disk-is-well": (
        "replica/replica.c",
        "return !atomic_load(&replica->put_off) &&\n           (",
        "return true || (",
    ),
    "copy-for-each-attempt": (
        "store/safety.c",
        "copy->path = path;",
        "g_free(path);\n    copy->path = NULL;",
    ),
    "copies-deleted-in-vain": (
        "replica/synchronise.c",
        "    error = commit_store_rebuilt(committer);\n    if (error) {",
        "    error = commit_store_rebuilt(committer);\n"
        "    safety_stored(&synchronisation->copy, synchronisation->safety_directory);\n    if (error) {",
    ),
    "failed-copy-stays": (
        "store/safety.c",
        "if (error && fresh)",
        "if (error && !fresh)",
    ),
}


def main():
    if sys.argv[1] == "--list":
        print("\n".join("%s:%s:%d" % (name, fault[0], FIRST_SEEDS.get(name, 1))
                        for name, fault in FAULTS.items() if name not in OF_OTHERS))
        return
    name, directory, output = sys.argv[1:]
    path, there, fault = FAULTS[name]
    with open("%s/%s" % (directory, path)) as file:
        source = file.read()
    if source.count(there) != 1:
        # The test of this fault fails then, and not everybody's build.
        print("fault.py: %s is not in %s any more: write it anew" % (name, path), file=sys.stderr)
    with open(output, "w") as file:
        file.write(source.replace(there, fault))


main()
