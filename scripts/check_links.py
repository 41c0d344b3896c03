#!/usr/bin/env python3
"""Links in Markdown files: every relative one leads to a file or folder of this tree, and its #part to a heading of that
file (as GitHub names headings). Usage: check_links.py FILE-OR-FOLDER... Last line: `links: <n> in <m> files, <k> broken`."""

import pathlib
import re
import sys

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(text):
    """Without code, whose brackets are no links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))


def names(text):
    found = set()
    for heading in re.findall(r"^#+ +(.*?) *$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M):
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-"))
    return found


def main(arguments):
    files = sorted(p for a in arguments for p in ([pathlib.Path(a)] if pathlib.Path(a).is_file() else pathlib.Path(a).rglob("*.md")))
    count = broken = 0
    for path in files:
        for link in LINK.findall(prose(path.read_text(encoding="utf-8"))):
            if re.match(r"[a-z]+:", link):
                continue
            count += 1
            target, _, part = link.partition("#")
            there = (path.parent / target) if target else path
            ok = there.exists()
            if ok and part:
                ok = there.is_file() and part in names(there.read_text(encoding="utf-8"))
            if not ok:
                broken += 1
                print(f"{path}: {link} leads nowhere")
    print(f"links: {count} in {len(files)} files, {broken} broken")
    return 1 if broken or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
