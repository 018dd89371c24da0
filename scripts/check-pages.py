#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds commands and options that a manual page has in one language only: page by page, and command by command; and
options of pmxcfs(8) that a README does not have."""

import glob
import os
import re
import sys

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
MAN = os.path.join(SOURCE, "doc", "man")
FLAG = re.compile(r"\bFl\s+(?:Fl\s+)?([\w-]+)")
ITEM = re.compile(r"^\.It ((?:Ic|Fl|Ev) .*)$", re.MULTILINE)


def key_of(line):
    """What stands at the beginning of an item, without what it takes: the words of a command, or the options."""
    if line.startswith("Fl"):
        return " ".join(FLAG.findall(line))
    words = re.split(r" (?:Op|Oo|Ar|Fl|Ns|Ac|Pq)\b", line)[0]
    return re.sub(r"\b(?:Ic|Ev|Cm)\b ?", "", words).strip()


def parts(path):
    """Item → the options that stand in it."""
    with open(path) as file:
        text = re.sub(r"^\.It Xo\n(.*?)^\.Xc$", lambda match: ".It " + match.group(1).replace("\n.", " ").lstrip("."), file.read(), flags=re.MULTILINE | re.DOTALL)
    found = {"SYNOPSIS and text before the items": set()}
    last, at = "SYNOPSIS and text before the items", 0
    for match in ITEM.finditer(text):
        found[last] |= set(FLAG.findall(text[at:match.start()]))
        last, at = key_of(match.group(1)), match.start()
        found.setdefault(last, set())
    found[last] |= set(FLAG.findall(text[at:]))
    return found


def main():
    findings, count = [], 0
    for path in sorted(glob.glob(os.path.join(MAN, "*.8"))):
        name = os.path.basename(path)
        english, japanese = parts(path), parts(os.path.join(MAN, "ja", name))
        for item in english.keys() ^ japanese.keys():
            findings.append("%s: only in %s: %s" % (name, "English" if item in english else "Japanese", item))
        for item in english.keys() & japanese.keys():
            count += 1
            for option in english[item] ^ japanese[item]:
                findings.append("%s: '%s': only in %s: option %s" % (name, item, "English" if option in english[item] else "Japanese", option))
    with open(os.path.join(MAN, "pmxcfs.8")) as file:
        options = set(re.findall(r"^\.It (?:Fl \w , )?Fl Fl ([\w-]+)", file.read(), re.MULTILINE))
    for name in ("README.md", "README.ja.md"):
        with open(os.path.join(SOURCE, name)) as file:
            text = file.read()
        for option in options - {"help", "version"}:
            count += 1
            if not re.search(r"`--%s\b" % re.escape(option), text):
                findings.append("%s: no option --%s" % (name, option))
    print("\n".join(sorted(findings)) if findings else "%d items, no finding" % count)
    return 1 if findings else 0


sys.exit(main())
