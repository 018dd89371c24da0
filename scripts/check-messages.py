#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares pmxcfs(8), MESSAGES, with the sources, both ways: every warning and error that the daemon logs has its words there,
and what is listed there is in the sources. Both languages list the same."""

import glob
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
PAGES = {"doc/man/pmxcfs.8": "MESSAGES", "doc/man/ja/pmxcfs.8": "メッセージ"}

# Texts that are put together elsewhere: what the parts are, which must be listed too.
MADE_ELSEWHERE = {
    ("cluster/executor.c", "%s%s"): [],  # what machine_push_log() was given, which is looked at itself
    ("daemon/database.c", "%s"): ["cannot load", "cannot write to"],
    ("host/paths.c", "%s %s: %s"): ["cannot make", "cannot set", "cannot use", "cannot lock", "cannot open", "cannot remove",
                                    "cannot take away the stale mount"],
    ("store/safety.c", "%s"): ["could not be kept"],
    ("status/rrd.c", '%s \\"%.200s\\": %s (%u more such messages were held back)'): ["RRD value for", "RRD key"],
    ("status/rrd.c", '%s \\"%.200s\\": %s'): ["RRD value for", "RRD key"],
}

CALL = re.compile(r"\b(?:log_(?:error|warning)|machine_push_log(?:_of)?)\s*\(")


def listed(page, section):
    with open(os.path.join(ROOT, page)) as file:
        text = file.read().partition(".Sh %s\n" % section)[2].partition("\n.Sh ")[0]
    return re.findall(r"^\.It Sy (.*)$", text, re.MULTILINE)


def arguments(text, start):
    """The text between the parentheses of a call, of which `start` is the first character."""
    depth, at = 1, start
    while depth > 0:
        if text[at] == '"':
            at = re.compile(r'"(?:[^"\\]|\\.)*"').match(text, at).end()
            continue
        depth += (text[at] == "(") - (text[at] == ")")
        at += 1
    return text[start:at - 1]


def joined(call):
    """The first string literal of a call; adjacent ones are one, macros between them are "#"."""
    pieces = re.search(r'"(?:[^"\\]|\\.)*"(?:\s*(?:\w+\s*)?"(?:[^"\\]|\\.)*")*', call)
    return re.sub(r'"\s*(\w+)?\s*"', lambda gap: "#" if gap.group(1) else "", pieces.group(0))[1:-1] if pieces else ""


def logged():
    """(file, format) of every warning and error; debugging and news need no meaning."""
    for path in sorted(glob.glob(os.path.join(ROOT, "src", "*", "*.c"))):
        name = os.path.relpath(path, os.path.join(ROOT, "src"))
        with open(path) as file:
            text = file.read()
        if name.startswith("ctl/") or name == "base/log.c":
            continue
        for match in CALL.finditer(text):
            call = arguments(text, match.end())
            is_news = match.group(0).startswith("machine") and not re.search(r"LOG_(ERR|WARNING)\b", call)
            if not is_news and '"' in call:
                yield name, joined(call)


def literals():
    """The text of all string literals, adjacent ones joined."""
    text = ""
    for path in glob.glob(os.path.join(ROOT, "src", "*", "*.c")):
        with open(path) as file:
            text += re.sub(r'"\s*"', "", file.read())
    return text


def main():
    findings = []
    lists = {page: listed(page, section) for page, section in PAGES.items()}
    messages, other = lists.values()
    text = literals()
    findings += ["pmxcfs(8) has a message that the sources do not have: %s" % message for message in messages if message not in text]
    findings += ["only one language lists: %s" % message for message in set(messages) ^ set(other)]
    for key in list(logged()):
        for needed in MADE_ELSEWHERE.get(key, [key[1]]):
            if not any(message in needed or needed in message for message in messages):
                findings.append("%s logs what pmxcfs(8), MESSAGES, does not list: %s" % (key[0], needed))
    if not messages:
        findings.append("pmxcfs(8) has no MESSAGES")
    print("\n".join(findings) if findings else "%d messages, no finding" % len(messages))
    return 1 if findings else 0


sys.exit(main())
