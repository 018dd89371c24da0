# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes on all nodes at the same time: one order, one result, on every node."""

import errno
import os
import time

from load import Load

from harness import BUILD_DIR, wait_for

PMXCFSCTL = os.path.join(BUILD_DIR, "src", "ctl", "pmxcfsctl")

MIXED = """
import errno, random
chance = random.Random(seed)
allowed = (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR, errno.EACCES)
for i in range(count):
    a, b = ("%s/%s" % (folder, chance.choice("abcdefgh")) for _ in range(2))
    writes = False
    try:
        kind = chance.randrange(6)
        if kind < 2:
            fd = os.open(a, os.O_CREAT | os.O_WRONLY | chance.choice((0, os.O_TRUNC, os.O_APPEND)))
            writes = True
            os.write(fd, bytes(chance.choices(range(256), k=chance.randrange(3000))))
            os.close(fd)
        elif kind == 2:
            os.mkdir(a)
        elif kind == 3:
            os.rename(a, b)
        elif kind == 4:
            writes = True
            os.truncate(a, chance.randrange(5000))
        else:
            os.rmdir(a) if os.path.isdir(a) else os.unlink(a)
    except OSError as error:
        # EBUSY: another node replaced the file while it was written.
        if error.errno not in allowed and not (error.errno == errno.EBUSY and writes):
            raise
"""

TAKE_GUEST = """
time.sleep(max(0, at - time.time()))
try:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640))
    result = 0
except OSError as error:
    result = error.errno
"""


# Ways to 1 MiB, of which a message that corosync delivers in one piece has no room.
LARGEST = """
def written(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
    os.write(fd, bytes(range(1, 256)) * 4112 + b"x" * 16)
    return fd

def behind_a_hole(path):
    fd = written(path)
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    os.pwrite(fd, b"end", (1 << 20) - 3)
    return fd

def grown(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o640)
    os.ftruncate(fd, 1 << 20)
    return fd

def emptied_and_grown(path):
    fd = written(path)
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    os.ftruncate(fd, 1 << 20)
    return fd

for way in (written, behind_a_hole, grown, emptied_and_grown):
    os.close(way(folder + "/" + way.__name__))
"""


def test_the_largest_files(cluster, folder):
    written = bytes(range(1, 256)) * 4112 + b"x" * 16
    wanted = {"written": written, "behind_a_hole": bytes((1 << 20) - 3) + b"end", "grown": bytes(1 << 20), "emptied_and_grown": bytes(1 << 20)}
    cluster[1].daemon.worker().execute(LARGEST, {"folder": cluster[1].path(folder)})
    cluster.wait_equal()
    for node in cluster:
        for name, content in wanted.items():
            wait_for(lambda: node.read(folder + "/" + name) == content, "%s has %s" % (node.name, name))
    # What a trial brings back is as large.
    ctl = [PMXCFSCTL, "--socket-name", cluster[1].daemon.socket_name]
    cluster[1].daemon.run([*ctl, "try", "--", "sh", "-c", "echo x > %s" % cluster[1].path(folder + "/written")], check=True)
    cluster[1].daemon.run([*ctl, "try", "--abort"], check=True)
    wait_for(lambda: cluster[3].read(folder + "/written") == written, "it is brought back")


def test_same_names_on_all_nodes(cluster, folder):
    """Any operations, on few names, by all nodes at once: the databases are equal afterwards."""
    calls = [
        node.daemon.worker().start("execute", MIXED, {"folder": node.path(folder), "seed": seed, "count": 1000})
        for seed, node in enumerate(cluster)
    ]
    for call in calls:
        call.result()
    cluster.wait_equal()
    listing = [node.os.walk(node.path(folder)) for node in cluster]
    assert listing[0] == listing[1] == listing[2]


def test_own_names_on_all_nodes(cluster, folder):
    """Nothing that was acknowledged anywhere is missing anywhere."""
    load = Load(cluster, folder, pause=0)
    for node in cluster:
        load.wait_progress(node, 100)
    acknowledged = load.end()
    cluster.wait_equal()
    for node in cluster:
        for names in acknowledged.values():
            assert load.check(node, names) == []


def test_acknowledged_is_seen_here_at_once(cluster, folder):
    """What a node has had acknowledged is in its own tree and database when the call returns."""
    node = cluster[2]
    for i in range(20):
        node.write("%s/f%d" % (folder, i), b"%d" % i)
        assert node.read("%s/f%d" % (folder, i)) == b"%d" % i
        assert any(row[6] == "f%d" % i and row[7] == b"%d" % i for row in node.rows())


def test_changes_show_on_other_nodes(cluster, folder):
    """Content, attributes and names that were read before are not stale when they have changed."""
    writer, reader = cluster[1], cluster[3]
    for i in range(20):
        writer.write(folder + "/file", b"%d" % i * (i + 1))
        wait_for(lambda: reader.exists(folder + "/file") and reader.read(folder + "/file") == b"%d" % i * (i + 1),
                 "the new content is on the other node")
        assert reader.os.stat(reader.path(folder + "/file")).st_size == len(b"%d" % i) * (i + 1)


def make_guest_directories(cluster, kind):
    for node in cluster:
        cluster[1].os.makedirs(cluster[1].path("nodes/" + node.name + "/" + kind), exist_ok=True)
    cluster.wait_equal()


def test_one_guest_id_on_two_nodes(cluster, folder):
    """Two nodes create the same guest at the same moment: one gets it, the other is told so."""
    make_guest_directories(cluster, "qemu-server")
    workers = [cluster[number].daemon.worker() for number in (2, 3)]
    outcomes = set()
    for guest in range(1000, 1040):
        at = time.time() + 0.02
        calls = []
        for worker, node in zip(workers, (cluster[2], cluster[3])):
            path = node.path("nodes/%s/qemu-server/%d.conf" % (node.name, guest))
            calls.append(worker.start("execute", TAKE_GUEST, {"path": path, "at": at}))
        results = [call.result() for call in calls]
        assert sorted(results) == [0, errno.EEXIST], "guest %d: %s" % (guest, results)
        outcomes.add(results.index(0))
    rows = cluster.wait_equal()
    names = [row[6] for row in rows if row[6].endswith(".conf") and row[6][0] == "1"]
    assert len(names) == len(set(names)) == 40


def test_paths_longer_than_one_call_can_name(cluster, folder):
    """Made on one node, written and renamed on the others: two paths of 6 kB in one message."""
    deep = """
for _ in range(60):
    if make:
        os.mkdir("d" * 100)
    os.chdir("d" * 100)
for step in steps:
    exec(step)
"""
    steps = {
        1: ["os.close(os.open('file', os.O_CREAT | os.O_WRONLY))"],
        2: ["fd = os.open('file', os.O_WRONLY)", "os.write(fd, b'from afar')", "os.close(fd)"],
        3: ["os.rename('file', 'e' * 255)", "os.mkdir('more')"],
    }
    for number, node in enumerate(cluster, 1):
        worker = node.daemon.worker()
        worker.chdir(node.path(folder))
        worker.execute(deep, {"make": number == 1, "steps": steps[number]})
        worker.chdir("/")
        cluster.wait_equal()
    worker = cluster.nodes[0].daemon.worker()
    worker.chdir(cluster.nodes[0].path(folder))
    worker.execute(deep, {"make": False, "steps": ["assert sorted(os.listdir('.')) == ['e' * 255, 'more']",
                                                   "assert open('e' * 255, 'rb').read() == b'from afar'"]})


def test_exclusive_creation(cluster, folder):
    """Of three nodes that create one name with O_EXCL at once, exactly one succeeds."""
    workers = [node.daemon.worker() for node in cluster]
    for i in range(30):
        at = time.time() + 0.02
        calls = [
            worker.start("execute", TAKE_GUEST, {"path": node.path("%s/x%d" % (folder, i)), "at": at})
            for worker, node in zip(workers, cluster)
        ]
        assert sorted(call.result() for call in calls) == [0, errno.EEXIST, errno.EEXIST]
    cluster.wait_equal()


def test_lock_of_a_dead_owner(cluster, folder):
    """A lock whose owner is gone is not to be had before its life is over, and then it is."""
    owner, other = cluster[3], cluster[1]
    if not other.exists("priv"):
        other.os.mkdir(other.path("priv"))
    if not other.exists("priv/lock"):
        other.os.mkdir(other.path("priv/lock"))
    cluster.wait_equal()
    lock = "priv/lock/" + folder
    begin = time.monotonic()
    owner.os.mkdir(owner.path(lock))
    wait_for(lambda: all(node.exists(lock) for node in cluster), "all know of the lock")
    owner.end()
    wait_for(lambda: other.online() == ["node1", "node2"] and other.is_quorate(), "the owner's death is noticed")

    def take():
        try:
            other.os.mkdir(other.path(lock))
            return True
        except FileExistsError:
            pass
        try:
            other.os.utime(other.path(lock), (0, 0))
        except OSError as error:
            assert error.errno in (errno.EACCES, errno.ENOENT)
        time.sleep(0.2)
        return False

    wait_for(take, "the lock is given to another")
    assert time.monotonic() - begin >= 3, "the lock was given away before its life was over"
    cluster.wait_equal(cluster.nodes[:2])
    wait_for(lambda: cluster[2].exists(lock) and cluster[2].os.stat(cluster[2].path(lock)).st_ino == other.os.stat(other.path(lock)).st_ino, "both kernels know it")
    # Held now, it is renewed by its new owner, and by nobody else.
    other.os.utime(other.path(lock))
    try:
        cluster[2].os.utime(cluster[2].path(lock))
        raise AssertionError("a lock was renewed by a node that does not hold it")
    except PermissionError:
        pass
    other.os.rmdir(other.path(lock))


def test_guests_of_a_dead_node(cluster, folder):
    """The guests of a node that died are taken over with mv, and it does not get them back."""
    make_guest_directories(cluster, "lxc")
    dead, heir = cluster[3], cluster[1]
    ids = range(2000, 2010)
    for guest in ids:
        dead.write("nodes/node3/lxc/%d.conf" % guest, b"cores: %d\n" % guest)
    cluster.wait_equal()
    dead.end()
    wait_for(lambda: heir.online() == ["node1", "node2"], "the death is noticed")
    source, target = heir.path("nodes/node3/lxc"), heir.path("nodes/node1/lxc/")
    heir.daemon.run(["sh", "-ec", "mv %s/20*.conf %s" % (source, target)], check=True)
    dead.start()
    cluster.wait_settled()
    for guest in ids:
        assert dead.read("nodes/node1/lxc/%d.conf" % guest) == b"cores: %d\n" % guest
        assert not dead.exists("nodes/node3/lxc/%d.conf" % guest)


def test_own_write_is_seen_after_a_rewrite_elsewhere(cluster, folder):
    """Who has a file open may read its old content for a moment when another node rewrites it, but not
    any more once it has changed the file itself: an acknowledged write is seen at once."""
    node = cluster[1]
    path = folder + "/file"
    node.write(path, b"o" * 100)
    cluster.wait_equal()
    fd = node.os.open(node.path(path), os.O_RDWR)
    assert node.os.pread(fd, 1000, 0) == b"o" * 100
    cluster[2].write(path, b"n" * 100)
    wait_for(lambda: node.read(path) == b"n" * 100, "the rewritten file is there")
    assert node.os.pwrite(fd, b"own", 0) == 3
    seen = node.os.execute(READ_FOR_A_WHILE, {"fd": fd})
    node.os.close(fd)
    assert all(content.startswith(b"own") for content in seen), seen
    assert node.read(path) == b"own" + b"n" * 97


READ_FOR_A_WHILE = """
end = time.monotonic() + 0.3
result = set()
while time.monotonic() < end:
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    result.add(os.pread(fd, 1000, 0))
"""
