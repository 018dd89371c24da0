#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a source file with one fault put in: what the simulator must find (doc/testing.md).

fault.py NAME SOURCE_DIRECTORY OUTPUT;  fault.py --list;  fault.py --file NAME
"""

import sys

# name: (file, what is there, what is put in its place)
FAULTS = {
    "queue-not-resent": (
        "cluster/machine.c",
        "push_send(machine, SEND_SYNC, block_ref(kept->message));",
        "continue;",
    ),
    "epoch-not-compared": (
        "cluster/machine.c",
        "!same_epoch(&header->epoch, &machine->epoch);",
        "machine->mode == MODE_START;",
    ),
    "sync-queue-dropped": (
        "cluster/machine.c",
        "while ((kept = g_queue_pop_head(&machine->sync_queue)))\n        apply_kept(machine, kept);",
        "while ((kept = g_queue_pop_head(&machine->sync_queue)))\n        drop_kept(machine, kept);",
    ),
    "first-is-leader": (
        "cluster/machine.c",
        "if (views[i].version > views[leader].version ||",
        "if (views[i].version < 1 ||",
    ),
    "digest-not-cleared": (
        "core/entry.c",
        "copy->version = entry->version;",
        "copy->version = entry->version;\n    copy->has_digest = entry->has_digest;\n"
        "    memcpy(copy->digest, entry->digest, DIGEST_SIZE);",
    ),
    "commit-not-compared": (
        "replica/synchronise.c",
        "if (result->capacity != leader->capacity ||",
        "if (result->capacity == 0 &&",
    ),
    "changes-not-held": (
        "replica/replica.c",
        "if (replica->sending)",
        "if (replica->transport)",
    ),
    "rounds-survive-commit": (
        "replica/synchronise.c",
        "replica_fail_rounds(replica, -EBUSY);",
        "(void)replica;",
    ),
    "callers-forgotten": (
        "replica/replica.c",
        "take_callers(replica, UINT64_MAX);",
        "take_callers(replica, 0);",
    ),
    "published-before-stored": (
        "replica/execute.c",
        "    int error = commit(replica, replica->outcomes->len);\n    if (!error) {\n        replica_publish",
        "    int error = commit(replica, replica->outcomes->len);\n    if (error != -EBADMSG) {\n        replica_publish",
    ),
    "no-safety-copy": (
        "store/safety.c",
        "taken->len == 0)",
        "taken->len > 0)",
    ),
    "locks-do-not-last": (
        "replica/execute.c",
        "if (age <= (int64_t)replica->options.lock_lifetime)",
        "if (age <= 1000)",
    ),
    "logs-not-merged": (
        "status/status_group.c",
        "        merge(group, action);\n",
        "        (void)merge;\n",
    ),
    "values-not-sent-again": (
        "status/status_group.c",
        "resend_values(group, !action->alone);",
        "resend_values(group, false);",
    ),
    "entries-taken-twice": (
        "status/cluster_log.c",
        "    if (!is_newer(last, entry->time, entry->uid))\n        return false;\n    append_entry",
        "    (void)last;\n    append_entry",
    ),
    "unsent-forgotten": (
        "status/status_group.c",
        "    if (kind == SEND_NORMAL)\n        atomic_store(&group->unsent, true);",
        "    if (kind == SEND_NORMAL)\n        atomic_store(&group->unsent, false);",
    ),
    "guests-not-tested": (
        "core/apply.c",
        "return guest && !guest_is_at(guest, path);",
        "return guest && guest->id == 0 && !guest_is_at(guest, path);",
    ),
}


def main():
    if sys.argv[1] == "--list":
        print("\n".join(FAULTS))
        return
    if sys.argv[1] == "--file":
        print(FAULTS[sys.argv[2]][0])
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
