# SPDX-License-Identifier: GPL-3.0-or-later
"""The table: every row with its goal, and how a measured value is judged by it."""

from dataclasses import dataclass, field
from statistics import median

# How the value and the limit become what the goal is about.
RATIO = "ratio"  # value / limit, at most the goal
RATE = "rate"  # value / limit, at least the goal
VALUE = "value"  # the value itself, at most the goal
MORE = "more"  # value - limit, at most the goal
BESIDE = "beside"  # the value itself, at most the goal; the relation to what was measured beside it is shown


@dataclass
class Row:
    name: str  # as --only takes it
    title: str
    unit: str  # "s", "/s", "bytes" or "x"
    limit_name: str
    kind: str
    goal: float
    values: list = field(default_factory=list)
    limits: list = field(default_factory=list)
    note: str = ""  # why it was not measured, or not in full

    @property
    def value(self):
        return self.summary(self.values)

    @property
    def limit(self):
        return self.summary(self.limits)

    def summary(self, values):
        """The median of the rounds; of stalls the longest."""
        if not values:
            return None
        return max(values) if self.unit == "s" and self.kind in (VALUE, MORE, BESIDE) else median(values)

    @property
    def judged(self):
        """What is compared with the goal, or None."""
        if self.value is None or (self.limit is None and self.kind != VALUE):
            return None
        if self.kind == VALUE:
            return self.value
        return self.value - self.limit if self.kind == MORE else self.value / self.limit

    @property
    def met(self):
        if self.judged is None:
            return None
        if self.kind == BESIDE:
            return self.value <= self.goal
        return self.judged >= self.goal if self.kind == RATE else self.judged <= self.goal

    @property
    def goal_text(self):
        if self.kind == RATIO:
            return "<= %g x" % self.goal
        if self.kind == RATE:
            return ">= %g x" % self.goal
        return "<= " + show(self.goal, self.unit) + (" more" if self.kind == MORE else "")

    @property
    def judged_text(self):
        if self.judged is None:
            return ""
        if self.kind in (RATIO, RATE, BESIDE):
            return "%.2f x" % self.judged
        return show(self.judged, self.unit) + (" more" if self.kind == MORE else "")

    def as_json(self):
        return {"name": self.name, "title": self.title, "unit": self.unit, "measured": self.value,
                "limit_name": self.limit_name, "limit": self.limit, "kind": self.kind, "judged": self.judged,
                "goal": self.goal, "met": self.met, "note": self.note, "values": self.values, "limits": self.limits}


def show(value, unit):
    """A number for people: 12.3 us, 4.1 KB."""
    if value is None:
        return "-"
    if unit == "s":
        for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "us")):
            if abs(value) * factor >= 1 or name == "us":
                return "%.3g %s" % (value * factor, name)
    if unit == "bytes":
        for factor, name in ((1e6, "MB"), (1e3, "KB")):
            if abs(value) >= factor:
                return "%.3g %s" % (value / factor, name)
        return "%d B" % value
    return "%.0f/s" % value if unit == "/s" else "%.3g x" % value


def make_rows():
    return [
        Row("read", "open+read+close of a 500 B file, warm", "s", "tmpfs", RATIO, 2),
        Row("read4", "the same by 4 processes at once", "s", "tmpfs", RATIO, 2),
        Row("stat", "stat, warm", "s", "tmpfs", RATIO, 1.3),
        Row("list", "list a directory of 1000, warm", "s", "tmpfs", RATIO, 2),
        Row("create", "create + write 500 B", "s", "null", RATIO, 1.2),
        Row("rewrite", "rewrite with O_TRUNC, 500 B", "s", "null", RATIO, 1.5),
        Row("rename", "write a temporary file and rename it over, 500 B", "s", "null", RATIO, 1.2),
        Row("lock", "lock: mkdir + rmdir", "s", "null", RATIO, 1.1),
        Row("write", "write 500 B to an open file", "s", "null", RATIO, 1.3),
        Row("writers", "16 writers, open+write+close of 500 B each", "s", "null", RATIO, 1.8),
        Row("dd", "500 KiB in writes of 512 B (dd)", "s", "null", RATIO, 2),
        Row("cluster-rewrite", "3 nodes, rewrite with O_TRUNC, one writer", "s", "cpg round trip", RATIO, 1.5),
        Row("cluster-writers", "3 nodes, 16 writers on one node", "/s", "cpg, 16 under way", RATE, 0.4),
        Row("cluster-all", "3 nodes, rewrite, one writer, acknowledged by all", "s", "by the own node", RATIO, 3),
        Row("join", "an empty node joins, 120 MB in 20 000 files", "s", "cpg, the same messages", RATIO, 1.5),
        Row("join-writer", "longest stall of a writer on a node in sync, meanwhile", "s", "cpg, beside it", BESIDE, 0.1),
        Row("join-reader", "longest stall of a reader, meanwhile", "s", "null, beside it", BESIDE, 0.01),
        Row("leave-writer", "longest stall elsewhere when a node leaves, 120 MB: writer", "s", "empty database", MORE,
            0.05),
        Row("leave-reader", "longest stall elsewhere when a node leaves, 120 MB: reader", "s", "empty database", MORE,
            0.05),
        Row("start", "start to first answer, 120 MB", "s", "sqlite3, all rows", RATIO, 1.7),
        Row("memory", "memory with 120 MB", "bytes", "content", RATIO, 1.15),
        Row("socket-version", "socket: request 1, .version", "/s", "libqb echo", RATE, 0.8),
        Row("socket-config", "socket: request 6, a configuration", "/s", "libqb echo", RATE, 0.8),
        Row("socket-properties", "socket: request 13, 20 000 guests, nothing changed", "s", "", VALUE, 0.005),
        Row("history-write", "history: time for each of 100 000 changes, 1 KB each", "s", "", VALUE, 100e-6),
        Row("history-size", "history: room for each of them", "bytes", "", VALUE, 1000),
        Row("history-memory", "history: memory of the process that writes them", "bytes", "", VALUE, 32e6),
        Row("history-list", "history: those of one path among them", "s", "", VALUE, 0.05),
        Row("wear-rewrite", "disk: rewrite 500 B", "bytes", "500 B", VALUE, 2500),
        Row("wear-rename", "disk: temporary file + rename, 64 KiB in 8 KiB writes, 50 times", "bytes", "64 KiB", VALUE,
            150e3),
        Row("wear-dd", "disk: 500 KiB in writes of 512 B", "bytes", "500 KiB", VALUE, 2e6),
        Row("wear-append", "disk: append 100 B, file growing to 200 KB", "bytes", "100 B", VALUE, 1000),
        Row("wear-touch", "disk: touch", "bytes", "", VALUE, 600),
        Row("wear-idle", "disk: idle HA cluster, four status files of 1 KB, 0.7/s for 5 minutes", "bytes", "1 KB",
            VALUE, 6000),
    ]


def table(rows):
    """The rows as lines of text."""
    lines = [("work", "measured", "limit", "", "judged", "goal", "met")]
    for row in rows:
        limit = show(row.limit, row.unit) if row.limit is not None else ""
        met = "-" if row.met is None else "yes" if row.met else "NO"
        lines.append((row.title, show(row.value, row.unit), limit, row.limit_name, row.judged_text, row.goal_text,
                      met + (" (%s)" % row.note if row.note else "")))
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    text = []
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [line[column].rjust(widths[column]) for column in (1, 2)]
        cells += [line[3].ljust(widths[3])]
        cells += [line[column].rjust(widths[column]) for column in (4, 5)] + [line[6]]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)
