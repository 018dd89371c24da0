#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the includes of src/: each folder uses only those that DESIGN.md ("Folders") lets it use, and no files
need each other in a circle. X.c and X.h are one file here; it needs Y if one of both includes Y.h. Nor do files call
each other in a circle, by whichever header they know each other's functions.

    scripts/check-includes.py [DIRECTORY]    with src/ and DESIGN.md in it; exit code 1 if there is a finding
"""

import pathlib
import re
import sys


def read_table(design):
    """{folder: what it may use, as folders and folder/file}; None: everything."""
    table = {}
    section = re.search(r"^## Folders\n(.*?)^## ", design.read_text(), re.M | re.S)
    rows = re.findall(r"^\| (`[^|]*) \|[^|]*\| ([^|]*) \|$", section.group(1), re.M) if section else []
    for folders, uses in rows:
        names = re.findall(r"`([a-z/]+)/`", folders)
        may_use = None if uses == "all" else set(re.findall(r"[a-z_]+(?:/[a-z_]+)?", uses))
        table.update(dict.fromkeys(names, may_use))
    return table


def read_includes(source):
    """[(including file, including unit, included unit)] of all files below `source`, without suffixes."""
    found = []
    for path in sorted(source.rglob("*.[ch]")):
        name = str(path.relative_to(source))
        for included in re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(), re.M):
            found.append((name, name[:-2], included[:-2]))
    return found


COMMENTS_AND_TEXTS = re.compile(r'/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|^[ \t]*#[^\n]*', re.M | re.S)
NAMED = re.compile(r"(?<![\w.>])([a-z]\w+)\(|[={,] ([a-z]\w+)(?=[,;}])")
FUNCTION = re.compile(r"^(static )?[a-zA-Z_][\w \t*]*?\b(\w+)\([^;{}]*\)\n\{", re.M)


def read_calls(source):
    """[(file, its unit, unit of a function that it calls, or has in a table)] of all .c files below `source`."""
    texts = {str(path.relative_to(source))[:-2]: COMMENTS_AND_TEXTS.sub(" ", path.read_text())
             for path in sorted(source.rglob("*.c"))}
    functions = {unit: FUNCTION.findall(text) for unit, text in texts.items()}
    home = {name: unit for unit in functions for static, name in functions[unit] if not static}
    found = []
    for unit, text in texts.items():
        own = {name for _, name in functions[unit]}
        named = {name for pair in NAMED.findall(text) for name in pair} - own
        found += [(unit + ".c", unit, needed) for needed in {home[name] for name in named if name in home}]
    return found


def check_folders(includes, table, names):
    findings = ["src/%s: DESIGN.md does not list its folder" % name for name in names if folder_of(name) not in table]
    for name, unit, included in includes:
        folder, may_use = folder_of(unit), table.get(folder_of(unit), set())
        if may_use is not None and not {folder_of(included), included} & (may_use | {folder}):
            findings.append("src/%s: includes %s.h, which %s/ may not use" % (name, included, folder))
    return findings


def folder_of(unit):
    return str(pathlib.PurePath(unit).parent)


def reachable(graph, start):
    """{unit: the one before it on a shortest way from `start`}"""
    before, waiting = {}, [start]
    for unit in waiting:
        for needed in sorted(graph.get(unit, ())):
            if needed not in before:
                before[needed] = unit
                waiting.append(needed)
    return before


def check_circles(includes):
    """One finding for each knot of files that all need each other, with its shortest circle."""
    findings, graph, done = [], {}, set()
    for _, unit, included in includes:
        if unit != included:
            graph.setdefault(unit, set()).add(included)
    ways = {unit: reachable(graph, unit) for unit in sorted(graph)}
    for unit in ways:
        knot = [other for other in ways[unit] if unit in ways.get(other, ())]
        if not knot or done & set(knot):
            continue
        done.update(knot)
        circle = min((circle_of(ways[other], other) for other in knot), key=len)
        more = " (%d files in all: %s)" % (len(knot), ", ".join(sorted(knot))) if len(knot) >= len(circle) else ""
        findings.append("circle: %s%s" % (" -> ".join(circle), more))
    return findings


def circle_of(before, start):
    circle = [start, before[start]]
    while circle[-1] != start:
        circle.append(before[circle[-1]])
    return circle[::-1]


def main():
    directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    source = directory / "src"
    names = sorted(str(path.relative_to(source)) for path in source.rglob("*.[ch]"))
    table = read_table(directory / "DESIGN.md")
    includes = read_includes(source)
    findings = check_folders(includes, table, names) + check_circles(includes) + check_circles(read_calls(source))
    if not table or not includes:
        findings.append("nothing to check: no table, or no includes")
    print("\n".join(findings) or "%d includes, no finding" % len(includes))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
