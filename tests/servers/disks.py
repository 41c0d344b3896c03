"""Disks that are small, full or read-only: mounts in a namespace of their own, so that nothing is left behind.

A holder process keeps the namespace; programs join it by the words of `prefix` (Scenario's), this process reaches the
files through /proc/HOLDER/root. Needs the right to mount, which root in CI has.
"""

import os
import pathlib
import shlex
import subprocess
import time

import pytest

MEGABYTE = 1 << 20


class Namespace:
    """The mounts that `script` (sh) makes; `folder` is the working folder of the programs in it."""

    def __init__(self, folder, script):
        self.folder = pathlib.Path(folder)
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"{script} && echo ready && exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder, text=True)
        self.said = self.holder.stdout.readline().strip()
        if self.said != "ready":
            self.close()
            pytest.skip(f"NOT TESTED: no permission to mount here ({self.said})")

    @property
    def prefix(self):
        return ["nsenter", "--target", str(self.holder.pid), "--mount", f"--wd={self.folder}", "--"]

    def path(self, inside):
        return pathlib.Path(f"/proc/{self.holder.pid}/root{inside}")

    def close(self):
        self.holder.stdin.close()  # cat ends, and with it the last process: the mounts are gone
        self.holder.wait(30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class SmallDisk(Namespace):
    """A tmpfs of so many MB at `at`, which somebody fills and frees."""

    def __init__(self, folder, at, megabytes):
        self.at = pathlib.Path(at)
        self.at.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, f"mount -t tmpfs -o size={megabytes}m,mode=0700 none {shlex.quote(str(at))}")
        self.ballast = self.path(self.at) / "ballast"

    def free(self):
        got = os.statvfs(self.path(self.at))
        return got.f_bavail * got.f_frsize

    def fill(self, leave=0):
        """Takes all that is free, but for `leave` bytes, and whatever others give back within a moment."""
        with open(self.ballast, "ab", buffering=0) as file:
            until = time.monotonic() + (0.3 if leave == 0 else 0)
            while True:
                more = min(self.free() - leave, MEGABYTE)
                try:
                    if more > 0:
                        file.write(b"x" * more)
                        continue
                except OSError:
                    pass
                if time.monotonic() >= until:
                    return self
                time.sleep(0.02)

    def empty(self):
        self.ballast.unlink()


class ReadOnly(Namespace):
    """`at` bound over itself, read-only."""

    def __init__(self, folder, at):
        quoted = shlex.quote(str(at))
        super().__init__(folder, f"mount --bind {quoted} {quoted} && mount -o remount,bind,ro {quoted}")
