#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that what src/ and tests/ are made of can be taken in at a glance: the limits are below. A struct of more
members needs a comment right above it, or as the first thing in it, that has "Many members:" and the reason.

    scripts/check-sizes.py [DIRECTORY]    with src/ and tests/ in it; exit code 1 if there is a finding
"""

import pathlib
import re
import sys

FILE_LINES = {"src": 700, "tests": 1000}
FUNCTION_LINES = 60
STRUCT_MEMBERS = 20
REASON = "Many members:"


def functions(lines):
    """[(number of the first line, name, lines)]: the form is .clang-format's, braces of functions stand alone."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
            while start > 1 and re.match(r"[A-Za-z_ ]", lines[start - 2]):
                start -= 1
        elif line == "}" and start:
            name = re.search(r"(\w+)\(", " ".join(lines[start - 1 : number]))
            yield start, name.group(1) if name else "?", number - start + 1
            start = None


def structs(text):
    """[(number of the first line, name, members, the comment above and the one it begins with)]"""
    form = r"((?:^/\*(?:(?!\*/).)*\*/\n)?)^(?:typedef |static |const )*(?:struct|union) ?(\w*) \{\n(.*?)^\}"
    for found in re.finditer(form, text, re.M | re.S):
        above, name, body = found.groups()
        first = re.match(r"\s*(/\*.*?\*/)?", body, re.S).group(1) or ""
        yield text.count("\n", 0, found.start(2)) + 1, name, members(body), above + first


def members(body):
    body = re.sub(r"/\*.*?\*/|\([^()]*\)", "", re.sub(r"\([^()]*\)", "", body), flags=re.S)
    body = re.sub(r"\[[^]]*\]", "", body)
    return sum(1 + declaration.count(",") for declaration in re.split(r"[;{}]", body)[:-1]
               if re.search(r"\w", declaration) and not re.fullmatch(r"\s*(struct|union|enum)(\s+\w+)?\s*", declaration))


def check(path, name, file_lines):
    text = path.read_text()
    lines = text.splitlines()
    if len(lines) > file_lines:
        yield "%s: %d lines, more than %d" % (name, len(lines), file_lines)
    if path.suffix == ".py":
        return
    for start, function, length in functions(lines):
        if length > FUNCTION_LINES:
            yield "%s:%d: %s() has %d lines, more than %d" % (name, start, function, length, FUNCTION_LINES)
    for start, struct, count, comments in structs(text):
        if count > STRUCT_MEMBERS and REASON not in comments:
            yield "%s:%d: struct %s has %d members, more than %d, and no reason (%s ...) beside it" % (
                name, start, struct, count, STRUCT_MEMBERS, REASON)


def main():
    directory = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    findings, files = [], 0
    for part, file_lines in FILE_LINES.items():
        for path in sorted((directory / part).rglob("*.*")):
            if path.suffix in (".c", ".h", ".py"):
                findings += check(path, path.relative_to(directory), file_lines)
                files += 1
    if not files:
        findings.append("nothing to check")
    print("\n".join(findings) or "%d files, no finding" % files)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
