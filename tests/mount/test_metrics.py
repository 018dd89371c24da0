# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics in .metrics: their form as a real parser sees it, and that they count what happens
(doc/metrics.md)."""

import os
import re
import stat

import pytest

from harness import GROUP_ID, NOBODY, SOURCE_DIR, wait_for

parser = pytest.importorskip("prometheus_client.openmetrics.parser")


def read(daemon):
    """{family name: family} as the parser of the Prometheus client sees them."""
    text = daemon.os.read_file(daemon / ".metrics").decode()
    return {family.name: family for family in parser.text_string_to_metric_families(text)}


def value(families, name, **labels):
    """The value of the one sample that has this name and these labels."""
    (found,) = [sample.value for family in families.values() for sample in family.samples
                if sample.name == name and labels.items() <= sample.labels.items()]
    return found


def wait_value(daemon, wanted, name, **labels):
    """Waits until the sample has at least that value: the text may be some time old."""
    wait_for(lambda: value(read(daemon), name, **labels) >= wanted, "%s reaches %s" % (name, wanted))


def test_form_and_rights(daemon):
    families = read(daemon)
    assert len(families) > 40
    for family in families.values():
        assert family.documentation.endswith("."), family.name
        assert family.samples, "%s has no samples" % family.name
    found = daemon.os.stat(daemon / ".metrics")
    assert stat.S_IMODE(found.st_mode) == 0o440 and (found.st_uid, found.st_gid) == (0, GROUP_ID)
    assert daemon.worker(uid=GROUP_ID, gid=GROUP_ID).read_file(daemon / ".metrics")
    with pytest.raises(PermissionError):
        daemon.worker(uid=NOBODY, gid=NOBODY).read_file(daemon / ".metrics")


def test_changes_are_counted(daemon):
    before = read(daemon)
    for number in range(5):
        daemon.os.write_file(daemon / ("file%d" % number), b"x" * 1000)
    daemon.os.rename(daemon / "file0", daemon / "file5")
    daemon.os.unlink(daemon / "file5")
    daemon.os.makedirs(daemon / "priv/lock/one")
    with pytest.raises(FileExistsError):
        daemon.os.mkdir(daemon / "priv/lock/one")
    wait_value(daemon, value(before, "pmxcfs_changes_total", operation="delete") + 1, "pmxcfs_changes_total",
               operation="delete")
    wait_value(daemon, 1, "pmxcfs_locks")
    after = read(daemon)

    def rise(name, **labels):
        return value(after, name, **labels) - value(before, name, **labels)

    assert rise("pmxcfs_changes_total", operation="create") == 5
    assert rise("pmxcfs_changes_total", operation="write") == 5
    assert rise("pmxcfs_changes_total", operation="rename") == 1
    assert rise("pmxcfs_changes_total", operation="mkdir") == 3
    assert rise("pmxcfs_own_changes_total") == 15
    assert rise("pmxcfs_change_bytes_total") > 5000
    assert rise("pmxcfs_operation_seconds_count", operation="write") == 5
    assert rise("pmxcfs_operation_seconds_sum", operation="write") > 0
    assert rise("pmxcfs_batch_changes_sum") == 15
    assert 0 < rise("pmxcfs_commit_seconds_count") == rise("pmxcfs_batch_changes_count") <= 15
    stored = [rise("pmxcfs_journal_records_total"), rise("pmxcfs_transaction_seconds_count")]
    assert sum(stored) >= rise("pmxcfs_commit_seconds_count") > 0
    assert (rise("pmxcfs_journal_bytes_total") > 0) == (stored[0] > 0)
    assert value(after, "pmxcfs_content_bytes") == 4000
    assert value(after, "pmxcfs_entries") == 8
    assert value(after, "pmxcfs_version", of="tree") == value(before, "pmxcfs_version", of="tree") + 15
    assert value(after, "pmxcfs_written_bytes_total") >= 0
    assert value(after, "pmxcfs_database_file_bytes", file="config.db") > 0
    assert (value(after, "pmxcfs_quorate"), value(after, "pmxcfs_in_sync")) == (1, 1)


def test_refusals_are_counted(daemon):
    before = read(daemon)
    daemon.os.mkdir(daemon / "nodes")
    daemon.os.makedirs(daemon / "nodes/a/qemu-server")
    with pytest.raises(OSError):
        daemon.os.write_file(daemon / "nodes/a/qemu-server", b"x")
    daemon.os.write_file(daemon / "large", b"")
    fd = daemon.os.open(daemon / "large", os.O_WRONLY)
    with pytest.raises(OSError):
        daemon.os.pwrite(fd, b"x", 1 << 20)
    with pytest.raises(OSError):
        daemon.os.ftruncate(fd, 2 << 20)
    daemon.os.close(fd)
    wait_value(daemon, value(before, "pmxcfs_refusals_total", cause="limit") + 2, "pmxcfs_refusals_total", cause="limit")


def test_reads_that_the_kernel_answers_are_not_operations(daemon):
    daemon.os.write_file(daemon / "file", b"x")
    daemon.os.read_file(daemon / "file")
    wait_value(daemon, 1, "pmxcfs_operation_seconds_count", operation="write")
    before = read(daemon)
    for _ in range(50):
        daemon.os.read_file(daemon / "file")
    daemon.os.mkdir(daemon / "end")
    wait_value(daemon, value(before, "pmxcfs_changes_total", operation="mkdir") + 1, "pmxcfs_changes_total",
               operation="mkdir")
    after = read(daemon)
    reads = [value(families, "pmxcfs_operation_seconds_count", operation="read") for families in (before, after)]
    # Only the reads of .metrics itself, whose text is another file each time.
    assert reads[1] - reads[0] < 50


def test_rewriting_needs_no_look_ups(daemon):
    """The name of a rewritten file goes on leading to it, as long as nobody else asks."""
    code = """
for number in range(200):
    with open(path, "wb") as file:
        file.write(b"%d" % number)
result = None
"""
    before = read(daemon)
    daemon.os.execute(code, {"path": daemon / "file"})
    wait_value(daemon, value(before, "pmxcfs_operation_seconds_count", operation="write") + 200,
               "pmxcfs_operation_seconds_count", operation="write")
    # Each is counted when it has been answered.
    wait_value(daemon, value(before, "pmxcfs_operation_seconds_count", operation="setattr") + 199,
               "pmxcfs_operation_seconds_count", operation="setattr")
    after = read(daemon)
    made = {name: value(after, "pmxcfs_operation_seconds_count", operation=name) -
            value(before, "pmxcfs_operation_seconds_count", operation=name) for name in ("lookup", "setattr", "forget")}
    # Some for .metrics itself, which is looked up for each reading.
    assert made["setattr"] == 199 and made["lookup"] < 100 and made["forget"] < 100, made


def test_all_names_are_documented(daemon):
    with open(os.path.join(SOURCE_DIR, "doc/metrics.md")) as file:
        documented = set(re.findall(r"^\| `(\w+)`", file.read(), re.MULTILINE))
    assert documented == set(read(daemon))


def test_dashboard_uses_names_that_exist(daemon):
    import json

    with open(os.path.join(SOURCE_DIR, "dist/grafana-dashboard.json")) as file:
        dashboard = json.load(file)
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert len(expressions) > 15
    families = read(daemon)
    known = {sample.name: sample.labels.keys() for family in families.values() for sample in family.samples}
    for expression in expressions:
        names = re.findall(r"\b(?:pmxcfs|process)_\w+", expression)
        assert names and set(names) <= known.keys(), expression
        for group in re.findall(r"by \(([^)]*)\)", expression):
            labels = {label.strip() for label in group.split(",")} - {"instance"}
            assert labels <= set(known[names[0]]) | {"le"}, expression


def test_all_names_are_our_own(daemon):
    """Others' collectors, node_exporter's own above all, have families like process_cpu_seconds."""
    names = [line.split()[2] for line in daemon.os.read_file(daemon / ".metrics").decode().splitlines() if line.startswith("# TYPE ")]
    assert names and [name for name in names if not name.startswith("pmxcfs_")] == []
