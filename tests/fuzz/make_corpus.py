#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the seed corpus of the fuzz targets from tests/vectors: make_corpus.py [DIRECTORY].

What each target reads is described in its source; names of files are checksums, so that making it again
changes nothing. Long zeros and whole databases are cut: a seed is small or it is no seed.
"""

import hashlib
import json
import lzma
import os
import sqlite3
import struct
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
VECTORS = os.path.join(HERE, "..", "vectors")
SEED_MAX = 16384
SYNC_HEADER = 32
LOG_SIZE = 131072

CONFIGURATION, DELIVER, DELIVER_OWN, DELIVER_EPOCH, DELIVER_LOG, RESTART, VERIFY, CHANGE, FAIL = range(9)


def save(top, target, data):
    directory = os.path.join(top, target)
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, hashlib.sha1(data).hexdigest()[:16]), "wb") as file:
        file.write(data)


def piece(data):
    return struct.pack("<H", len(data)) + data


def recordings():
    """(scenario, node, events) of each recording."""
    for scenario in sorted(os.listdir(VECTORS)):
        for name in sorted(os.listdir(os.path.join(VECTORS, scenario))):
            if name.endswith(".jsonl.xz"):
                with lzma.open(os.path.join(VECTORS, scenario, name), "rt") as file:
                    yield scenario, int(name[4]), [json.loads(line) for line in file]


def delivered(events, group):
    return [(event["nodeid"], bytes.fromhex(event["hex"])) for event in events
            if event["ev"] == "deliver" and event["h"] == group]


# --- Messages ---

def bits(pairs):
    return sum(1 << (node - 1) for node, _ in pairs)


def message_step(node, message, own):
    kind = struct.unpack_from("<H", message)[0]
    if node == own and kind != 0:
        return bytes([DELIVER_OWN])
    if len(message) > LOG_SIZE:
        return bytes([DELIVER_LOG, node]) + piece(message[:SYNC_HEADER] + log_seed(message[SYNC_HEADER:]))
    if len(message) > 2048:
        return b""
    # What others say of a round that our made-up member begins is in its epoch.
    return bytes([DELIVER_EPOCH if kind in (2, 3, 4) else DELIVER, node]) + piece(message)


def message_seeds(top):
    for _, own, events in recordings():
        for group in (0, 1):
            seed = bytes([group, RESTART])
            parts = []
            # The member under test is node 1: where another recorded, the two change places.
            swap = {own: 1, 1: own}
            for event in events:
                if event.get("h") != group:
                    continue
                if event["ev"] == "confchg":
                    members = [(swap.get(node, node), pid) for node, pid in event["members"]]
                    joined = [(swap.get(node, node), pid) for node, pid in event["joined"]]
                    parts.append(bytes([CONFIGURATION, bits(members), bits(joined)]))
                elif event["ev"] == "deliver":
                    message = bytes.fromhex(event["hex"])
                    parts.append(message_step(swap.get(event["nodeid"], event["nodeid"]), message, 1))
            for at in range(0, len(parts), 30):
                chunk = b"".join(([bytes([CONFIGURATION, 3, 1])] if at else []) + parts[at:at + 30])
                if len(seed) + len(chunk) <= SEED_MAX:
                    save(top, "messages", seed + chunk)
    save(top, "messages", bytes([0, RESTART, CONFIGURATION, 1, 1, VERIFY, DELIVER_OWN, DELIVER_OWN]))
    change = struct.pack("<5I", 0, 0, 2, 0, 0) + b"a\0"
    save(top, "messages", bytes([0, RESTART, CONFIGURATION, 1, 1, CHANGE, 2]) + piece(change) +
         bytes([DELIVER_OWN, CHANGE, 5]) + piece(struct.pack("<5I", 0, 0, 4, 0, 0) + b"a/b\0") +
         bytes([DELIVER_OWN, FAIL, RESTART]))


def index_and_update_seeds(top):
    indexes, updates = [], []
    for _, _, events in recordings():
        for _, message in delivered(events, 0):
            kind = struct.unpack_from("<H", message)[0]
            if kind == 2:
                indexes.append(message[SYNC_HEADER:])
            if kind == 3 and len(message) < 4096:
                updates.append(message[SYNC_HEADER:])
    indexes = sorted(set(indexes), key=lambda index: (len(index), index))[::4]
    for first, second in zip(indexes, indexes[1:]):
        if len(first) + len(second) <= SEED_MAX:
            save(top, "index", b"\0" + piece(first) + piece(second))
            save(top, "index", b"\1" + piece(second) + piece(first))
    updates = sorted(set(updates))
    for update in updates[::8]:
        save(top, "update", b"\2" + piece(update))
    whole = b"".join(b"\2" + piece(update) for update in updates)
    save(top, "update", whole[:SEED_MAX] if len(whole) > SEED_MAX else whole)


# --- Cluster logs ---

def log_seed(buffer):
    """The used part of a buffer: up to its last byte that is not zero."""
    return buffer.rstrip(b"\0")[:8192]


def log_seeds(top):
    buffers, entries = set(), set()
    for _, _, events in recordings():
        for _, message in delivered(events, 1):
            kind, subtype = struct.unpack_from("<HH", message)
            if kind == 2 and len(message) > LOG_SIZE:
                buffers.add(log_seed(message[SYNC_HEADER:]))
            if kind == 0 and subtype == 3:
                entries.add(message[24:])
    buffers = sorted(buffers, key=lambda buffer: (len(buffer), buffer))[::2]
    entries = sorted(entries)
    tail = b"".join(piece(entry) for entry in entries[:4])
    for first, second in zip(buffers, buffers[1:] + buffers[:1]):
        save(top, "log", b"\0" + piece(first) + piece(second) + tail)
    save(top, "log", b"\0" + piece(b"") + piece(b"") + b"".join(piece(entry) for entry in entries[:20]))


# --- Requests ---

def request_seeds(top):
    def request(number, data, flags=1):
        return bytes([number & 0xff, flags]) + piece(data)

    def padded(name):
        return name.ljust(256, b"\0")

    single = [request(number, b"") for number in (1, 2, 3, 10, 9, -1)]
    single += [request(6, path + b"\0", flags) for flags in (0, 1) for path in
               (b"user.cfg", b"priv/token.cfg", b"/nodes//n1/qemu-server/100.conf", b"hole", b".version",
                b"local/qemu-server/100.conf", b"nodes")]
    single += [request(4, padded(b"key") + b"value"), request(4, padded(b"nodeip") + b"192.0.2.7\0"),
               request(4, padded(b"rrd/pve2-node/n1") + b"1700000000:1:2:3\0")]
    single += [request(5, padded(b"key") + padded(b"n1")), request(5, padded(b"key") + padded(b""))]
    single += [request(7, bytes([6, 9, 4]) + b"root@pam\0" + b"tag\0" + "grüße \"\\\x01\0".encode()),
               request(8, struct.pack("<4I", 5, 0, 0, 0) + b"root@pam\0"),
               request(8, struct.pack("<4I", 0, 0, 0, 0) + b"\0")]
    single += [request(11, struct.pack("<I", guest) + name + b"\0") for guest in (0, 100, 101, 99, 999)
               for name in (b"lock", b"name", b"tags")]
    single += [request(12, b"root@pam!one 11111111-1111-1111-1111-111111111111\0"), request(12, b"x\0")]
    single += [request(13, struct.pack("<IB", guest, 3) + b"name\0tags\0lock\0") for guest in (0, 100)]
    for one in single:
        save(top, "requests", one)
    save(top, "requests", b"".join(single))


# --- Databases ---

def make_database(rows, schema, page_size):
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "seed.db")
        database = sqlite3.connect(path)
        database.execute(f"PRAGMA page_size={page_size}")
        database.execute(schema)
        database.executemany("INSERT INTO tree VALUES (?,?,?,?,?,?,?,?)", rows)
        database.commit()
        database.execute("VACUUM")
        database.close()
        with open(path, "rb") as file:
            return file.read()


def database_seeds(top):
    for scenario, name, rows_max in (("three-nodes", "4-end.node1.db", 12), ("partition", "3-end.node2.db", 40),
                                     ("timers", "1-end.node1.db", 6)):
        path = os.path.join(VECTORS, scenario, name)
        database = sqlite3.connect(f"file:{path}?immutable=1", uri=True)
        schema = database.execute("SELECT sql FROM sqlite_master WHERE name='tree'").fetchone()[0]
        rows = database.execute("SELECT inode, parent, version, writer, mtime, type, name, "
                                "CASE WHEN data IS NULL THEN NULL ELSE substr(data, 1, 200) END "
                                "FROM tree ORDER BY inode").fetchall()
        database.close()
        save(top, "database", make_database(rows[:rows_max], schema, 512))
    loose = "CREATE TABLE tree (inode, parent, version, writer, mtime, type, name, data)"
    save(top, "database", make_database(rows[:2] + [(7, 7, "x", -1, 2**40, 9, b"a\0b", "text")], loose, 512))
    save(top, "database", make_database([(5, 6, 9, 1, 1, 4, "a", None), (6, 5, 9, 1, 1, 4, "b", None),
                                         (0, 0, 9, 1, 1, 8, "__version__", None)], schema, 512))


# --- Journals (doc/journal.md) ---

def journal_root(version):
    return struct.pack("<QII", version, 1, 1000)


def journal_row(inode, flags=0, digest=b"", version=7, kind=8, size=0, named=b"", offset=0, data=b""):
    return (struct.pack("<BQ", flags, inode) + digest + struct.pack("<QIIBI", version, 1, 1000, kind, size) + named +
            struct.pack("<II", offset, len(data)) + data)


def journal_name(parent, name):
    return struct.pack("<QH", parent, len(name)) + name


def journal_record(generation, sequence, version, rows):
    """The target puts the checksum right."""
    body = struct.pack("<IQ", sequence, generation) + journal_root(version) + journal_root(version + 1) + rows
    record = b"PXJ1" + struct.pack("<II", 0, 12 + len(body)) + body
    return record + b"\0" * (-len(record) % 8)


def entry_digest(version, parent, kind, name, data=b""):
    fields = struct.pack("<QIIIBQ", version, 1, 1000, len(data), kind, parent)
    return hashlib.sha256(fields + name + data).digest()


def journal_seeds(top):
    chained, absent, present, removed, named = 0, 1, 2, 4, 8
    file = entry_digest(7, 0, 8, b"file")
    guest = entry_digest(6, 4, 8, b"100.conf", b"name: one\n")
    rows = [
        journal_row(7, present, file, 8, size=5, data=b"hello"),
        journal_row(7, chained, b"", 9, size=9, offset=5, data=b" you"),
        journal_row(7, chained | named, b"", 10, size=9, named=journal_name(2, b"moved")),
        journal_row(11, absent | named, b"", 11, kind=4, named=journal_name(0, b"new")),
        struct.pack("<BQ", present | removed, 5) + guest,
        journal_row(13, absent | named, b"", 13, size=3, named=journal_name(4, b"101.conf"), data=b"a: "),
        struct.pack("<BQ", chained | removed, 7),
    ]
    records = [(number, row) for number, row in enumerate(rows)]
    first = b"".join(journal_record(1, number, 7 + number, row) for number, row in records)
    save(top, "journal", b"\1" + piece(first))
    for number, row in records:
        save(top, "journal", b"\1" + piece(journal_record(1, 0, 7, row)))
    second = journal_record(2, 0, 14, journal_row(14, absent | named, b"", 14, kind=4, named=journal_name(0, b"last")))
    save(top, "journal", b"\1" + piece(first) + piece(second))
    save(top, "journal", b"\1" + piece(second) + piece(first))
    save(top, "journal", b"\0" + piece(first))
    save(top, "journal", b"\1" + piece(first[:-20]))
    twin = journal_row(20, absent | named, b"", 20, size=0, named=journal_name(0, b"file"))
    save(top, "journal", b"\1" + piece(journal_record(1, 0, 7, twin)))
    loop = journal_row(21, absent | named, b"", 21, kind=4, named=journal_name(21, b"self"))
    save(top, "journal", b"\1" + piece(journal_record(1, 0, 7, loop)))


# --- Texts ---

def text_seeds(top):
    save(top, "conf", b"totem {\n  cluster_name: a\n  config_version: 7\n  interface {\n    linknumber: 0\n  }\n}\n")
    for text in (b"", b"config_version:", b"config_version \n:\n 18446744073709551616", b"config_version: 0x7",
                 b"config_version config_version: 3", b"config_version:\0 5", b"xconfig_version:9"):
        save(top, "conf", text)
    lines = ["", "--help", "-l\n-f\n-d", "--local=no", "--mountpoint\n/mnt/pve\n--state-dir=../x",
             "--nodename=a_b-c\n--group=www-data\n--socket-name=pve2", "--address\nfe80::1\n--acknowledge=all",
             "--durability=full\n--lock-lifetime=0.5\n--rejoin-delay=31536000", "--lockfile-timeout=1e5",
             "--answer-timeout=.5\n--verify-interval=1.2345", "--\nx", "--rrdcached-address=unix:/x\n--rrd-dir=/",
             "--corosync-conf=\xff/é", "--run-dir", "-fl", "-x"]
    for line in lines:
        save(top, "options", line.encode("latin-1"))


def main():
    top = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "corpus")
    message_seeds(top)
    index_and_update_seeds(top)
    log_seeds(top)
    request_seeds(top)
    database_seeds(top)
    journal_seeds(top)
    text_seeds(top)


main()
