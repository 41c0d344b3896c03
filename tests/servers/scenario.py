"""A root, a counter file and the programs under test, wired together for one test."""

import os
import pathlib
import signal
import subprocess
import time

import expect
from rest import Rest


def peak_mib(process):
    """The most memory the process has had so far."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:", 1)[1].split()[0]) / 1024


class Scenario:
    """prefix: words before each program's own, to run it as another user or in another mount namespace."""

    def __init__(self, build, folder, uri="", seed=1, finite=False, env=None, prefix=()):
        self.prefix = [str(word) for word in prefix]
        self.build, self.folder, self.uri, self.seed, self.finite = build, pathlib.Path(folder), uri, seed, finite
        self.folder.mkdir(parents=True, exist_ok=True)
        self.root = self.folder / "root"
        self.counter = expect.Counter(self.folder / "counter")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}
        self.env["MLOPS_HOME"] = str(self.root)
        self.env.update(env or {})
        self.rest = Rest(uri) if uri else None
        self.log = self.folder / "programs.log"
        self.made_at = time.time() * 1000

    # -- programs ----------------------------------------------------------------------------------------------------
    def start(self, *words, deliver=False, env=None, **options):
        """A trainer in the background. deliver: with the server's URI; else it has no network."""
        options.setdefault("exit_ms", 60000)
        options["seed"] = self.seed
        if self.finite:
            options["finite"] = 1
        if deliver:
            options["uri"] = self.uri
        else:
            options["deliver"] = 0
        command = [str(self.build.trainer), f"counter={self.counter.path}", f"root={self.root}",
                   *(f"{k}={v}" for k, v in options.items()), *map(str, words)]
        return self._popen(command, env)

    def train(self, *words, seconds=180, rc=0, **options):
        """A trainer, waited for; its exit status must be rc (None: any)."""
        return self._finish(self.start(*words, **options), seconds, rc)

    def start_mlops(self, *words, env=None):
        return self._popen([str(self.build.mlops), *map(str, words)], env)

    def mlops(self, *words, seconds=300, rc=0, env=None):
        """-> stdout of the command; its exit status must be rc (None: any)."""
        with open(self.log, "a") as err:
            err.write(f"$ mlops {' '.join(map(str, words))}\n")
            err.flush()
            got = subprocess.run([*self.prefix, str(self.build.mlops), *map(str, words)], env={**self.env, **(env or {})}, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=err, timeout=seconds, cwd=self.folder, text=True)
        self.last_rc = got.returncode
        if rc is not None:
            assert got.returncode == rc, f"mlops {' '.join(map(str, words))}: {got.returncode}\n{got.stdout[-2000:]}\n{self.tail()}"
        return got.stdout

    def sync(self, **kwargs):
        return self.mlops("sync", "--to", self.uri, **kwargs)

    def idle_mib(self):
        """Peak memory of a sync that has nothing to bring."""
        process = self.start_mlops("sync", "--follow", "--to", self.uri)
        time.sleep(2)
        peak = peak_mib(process)
        self.stop(process)
        return peak

    def _popen(self, command, env):
        with open(self.log, "a") as out:
            out.write(f"$ {' '.join(command)}\n")
            out.flush()
            return subprocess.Popen([*self.prefix, *command], env={**self.env, **(env or {})}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                    cwd=self.folder)

    def _finish(self, process, seconds, rc):
        try:
            got = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"did not end within {seconds} s\n{self.tail()}") from None
        assert rc is None or got == rc, f"exit status {got}, expected {rc}\n{self.tail()}"
        return got

    def stop(self, process, sig=signal.SIGTERM, seconds=60):
        process.send_signal(sig)
        return self._finish(process, seconds, None)

    def mark(self):
        """A place in the log, for said()."""
        return self.log.stat().st_size if self.log.exists() else 0

    def said(self, mark):
        """What the programs wrote since mark()."""
        return self.log.read_bytes()[mark:].decode(errors="replace")

    def tail(self):
        return self.log.read_text(errors="replace")[-3000:]

    def id(self, name):
        """The run id a trainer wrote with `id FILE`."""
        return (self.folder / name).read_text().strip()

    # -- what must be there ------------------------------------------------------------------------------------------
    def expected(self):
        return expect.Expected(self.seed, self.finite)

    def server_run(self, experiment, uid, seconds=0):
        """The run with our id on the server; waits until it is there."""
        until = time.monotonic() + seconds
        while True:
            run = self.rest.by_uid(experiment, uid)
            if run is not None or time.monotonic() > until:
                assert run is not None, f"no run with mlops.uid {uid} on the server\n{self.tail()}"
                return run
            time.sleep(0.3)

    def check(self, experiment, uid, expected):
        """Asserts multiset equality with the server and returns its run."""
        run = self.server_run(experiment, uid)
        points = self.rest.points(run)
        got = expect.compare(expected, run, points)
        assert got.ok, f"{got}\n{self.tail()}"
        # The time of each call, but for those whose time the trainer gave (from 1,700,000,000,000 on).
        # A rank may log before the one that starts the run.
        since, now = min(run.start_time, self.made_at) - 100, time.time() * 1000
        wrong = [p for p in points if not (since <= p[1] <= now or 0 <= p[1] - 1_700_000_000_000 < 10**6)]
        assert not wrong, f"{len(wrong)} points whose time is not that of their call, e.g. {wrong[:3]}"
        return run

    def wait_points(self, experiment, uid, count, seconds=60):
        """Until the server holds at least `count` points of the run: live delivery."""
        until = time.monotonic() + seconds
        held = 0
        while time.monotonic() < until:
            run = self.rest.by_uid(experiment, uid)
            held = sum(self.rest.points(run).values()) if run else 0
            if held >= count:
                return held
            time.sleep(0.3)
        raise AssertionError(f"{held} of {count} points after {seconds} s\n{self.tail()}")
