"""Nodes of a cluster on one machine: namespaces with a /tmp, a host name and, unless it has the network, a network of
their own. What lies elsewhere they share, as nodes share a network file system. Needs root, which CI has.
"""

import pathlib
import shlex
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent


class Node:
    """network: it reaches what listens on this machine's loopback; else it has no network at all."""

    def __init__(self, name, folder, network=False):
        self.name, self.folder = name, pathlib.Path(folder)
        script = f"hostname {shlex.quote(name)} && mount -t tmpfs -o mode=1777 none /tmp && echo ready && exec cat"
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--uts", *([] if network else ["--net"]), "--propagation", "private", "sh", "-c", script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said = self.holder.stdout.readline().strip()
        if said != "ready":
            self.close()
            pytest.skip(f"NOT TESTED: no permission to make namespaces here ({said})")
        self.namespaces = ["--mount", "--uts", *([] if network else ["--net"])]

    @property
    def prefix(self):
        return ["nsenter", "--target", str(self.holder.pid), *self.namespaces, f"--wd={self.folder}", "--"]

    def path(self, inside):
        return pathlib.Path(f"/proc/{self.holder.pid}/root{inside}")

    def close(self):
        self.holder.stdin.close()  # cat ends; the namespaces go with the last process
        self.holder.wait(30)


def shim(folder, *defines):
    """A library to preload, of shims.c."""
    out = pathlib.Path(folder) / ("shim-" + "-".join(d.split("=")[0].lower() for d in defines) + ".so")
    if not out.exists():
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(out), *(f"-D{d}" for d in defines), str(HERE / "shims.c"), "-ldl"],
                       check=True)
    return out
