#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds messages of pmxcfs(8), MESSAGES, that the sources do not have."""

import glob
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def listed():
    with open(os.path.join(ROOT, "doc", "man", "pmxcfs.8")) as file:
        section = file.read().partition(".Sh MESSAGES\n")[2].partition("\n.Sh ")[0]
    return re.findall(r"^\.It Sy (.*)$", section, re.MULTILINE)


def sources():
    """The text of all string literals, adjacent ones joined."""
    text = ""
    for path in glob.glob(os.path.join(ROOT, "src", "*", "*.c")):
        with open(path) as file:
            text += re.sub(r'"\s*"', "", file.read())
    return text


def main():
    messages, text = listed(), sources()
    missing = [message for message in messages if message not in text]
    for message in missing:
        print("pmxcfs(8) has a message that the sources do not have: %s" % message)
    if not messages:
        print("pmxcfs(8) has no MESSAGES")
    return 1 if missing or not messages else 0


sys.exit(main())
