"""A command in a pseudo terminal, and in a pipe: what it prints, what it asks, how it exits."""

import os
import pty
import subprocess
import time


def in_pipe(s, *words, env=None, seconds=120):
    """mlops WORDS without a terminal -> (exit status, stdout, stderr)."""
    got = subprocess.run([str(s.build.mlops), *map(str, words)], env={**s.env, **(env or {})}, cwd=s.folder, text=True,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds)
    with open(s.log, "a") as log:
        log.write(f"$ mlops {' '.join(map(str, words))}\n{got.stdout}{got.stderr}[{got.returncode}]\n")
    return got.returncode, got.stdout, got.stderr


def in_terminal(s, *words, answer="", env=None, seconds=120):
    """mlops WORDS on a terminal, `answer` typed when it asks -> (exit status, everything it showed)."""
    parent, child = pty.openpty()
    process = subprocess.Popen([str(s.build.mlops), *map(str, words)], env={**s.env, **(env or {})}, cwd=s.folder,
                               stdin=child, stdout=child, stderr=child, start_new_session=True)
    os.close(child)
    shown, typed, until = b"", False, time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            some = os.read(parent, 4096)
        except OSError:  # the last of the other side is closed
            break
        if not some:
            break
        shown += some
        if answer and not typed and b"[y/N]" in shown:
            os.write(parent, answer.encode() + b"\n")
            typed = True
    os.close(parent)
    rc = process.wait(30)
    return rc, shown.decode(errors="replace").replace("\r\n", "\n")
