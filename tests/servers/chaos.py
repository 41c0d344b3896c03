"""Kills trainers and `mlops sync` with SIGKILL, at random moments and at named points, and compares with a real server.

Many short lives into few runs: each trainer resumes a run, logs points, params, tags and files (now and then one that
goes in parts past the server, to S3), makes model versions and promotes them, and dies; sync runs between them and dies
too. At the end one sync is let live, and what the server holds must be what was accepted: points as multisets, files by
their bytes, one version for each that was made.
The last line: `chaos: kills=N accepted=<points> lost=<n> duplicated=<n>`. Exit status 1 on any loss or duplicate.
Run by scripts/chaos.
"""

import argparse
import collections
import hashlib
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types

import expect
import servers
from rest import Rest
from scenario import Scenario

POINT = re.compile(r'MLOPS_POINT\("([^"]+)"\)')
LANES = (0, 1, 2, 3, 10, 11, 12, 13, 14)  # two threads, calls by name, a forked child; params; tags; texts, large files; versions
LARGE = (64 << 20) + 1  # in parts
S3_KEYS = {"AWS_ACCESS_KEY_ID": "chaos", "AWS_SECRET_ACCESS_KEY": "chaos-secret", "AWS_REGION": "us-east-1"}

# Named points that ordinary lives do not pass, and the round of Worker that leads up to them.
ROUNDS = {
    "fresh": ("drain.slot.made",),
    "long": ("journal.release",),
    "conflict": ("sync.bury",),
    "database_gone": ("buffer.generation",),
    "evict": ("drain.evict", "buffer.evict", "buffer.evicted"),
    "in_parts": ("upload.begun_recorded", "upload.part_recorded", "upload.before_finish", "upload.after_finish"),
}
# Named points that other tests kill at: a ledger of a mebibyte in tests/ledger, a watermark that goes by itself (the server
# refuses large bodies) in test_faults.py.
ELSEWHERE = ("ledger.compact.written", "ledger.compact.renamed", "sync.after_watermark")


def all_points():
    """Every named point of the source."""
    return sorted({name for file in (servers.ROOT / "src").rglob("*.cc") for name in POINT.findall(file.read_text())})


class OneRun:
    """A run that many trainers resume, with its own counter file."""

    def __init__(self, scenario, number, host=""):
        self.scenario, self.number = scenario, number
        self.counter = expect.Counter(scenario.folder / f"counter{number}")
        self.id_file = scenario.folder / f"id{number}"
        self.name = f"run{number}"
        self.host = host  # the folder of its slot below the root; "": this machine's name
        self.starts = 0
        self.model = f"{scenario.name}-{number}"

    def uid(self):
        return self.id_file.read_text().strip() if self.id_file.exists() else None

    def begin(self, experiment):
        uid = self.uid()
        return ["resume", uid] if uid else ["start", experiment, self.name, "id", self.id_file]

    def words(self, rng, experiment, endless):
        words = self.begin(experiment)
        words += ["params", 10, self.counter[10] + rng.randint(0, 4), "tags", 11, self.counter[11] + rng.randint(0, 4)]
        if rng.random() < 0.3:
            words += ["named", 2, self.counter[2] + rng.randint(1, 50)]
        if rng.random() < 0.2:
            words += ["fork", rng.choice(["exit", "_exit"]), "points", 3, 1, self.counter[3] + rng.randint(1, 200), 2000, 2, "endfork"]
        if rng.random() < 0.4:
            words += ["artifacts", 12, self.counter[12] + rng.randint(1, 3)]
        if rng.random() < 0.02:
            words += ["large", 13, self.counter[13] + 1, self.scenario.large]
        if rng.random() < 0.15:
            words += ["versions", 14, self.counter[14] + 1, self.model]
        if endless:
            words += ["points", 0, 2, 1 << 40, 1000, 3]
        else:
            many = max(self.counter[0], self.counter[1]) + rng.randint(50, 400)
            words += ["points", 0, 2, many, rng.choice([0, 0, 1000]), 3]
            if rng.random() < 0.5:
                words += ["flush", rng.choice(["buffered", "durable"]), 10000]
            words += ["wait"]
            if rng.random() < 0.5:
                words += ["end", rng.choice(["FINISHED", "FAILED"])]
        return words

    def expected(self):
        want = expect.Expected(self.scenario.seed)
        for lane, metrics in ((0, 3), (1, 3), (2, 1), (3, 2)):
            want.points(self.counter, lane, metrics)
        return want.text(self.counter, 10, "params").text(self.counter, 11, "tags")

    def files(self, indexes):
        """-> {path: digest} of what these (12's, 13's) are."""
        of = lambda i: hashlib.sha256(expect.text_file(self.scenario.seed, 12, i)).hexdigest()  # noqa: E731
        large = f"{self.scenario.large.name}"
        return {**{f"f12/{i}.txt": of(i) for i in indexes(12)},
                **{f"large13/{i}/{large}": self.scenario.large_digest for i in indexes(13)}}

    def compare_files(self, held):
        """-> (lost, unknown): paths."""
        sure, maybe = self.files(self.counter.accepted), self.files(lambda lane: self.counter.maybe[lane])
        return ([path for path, digest in sure.items() if held.get(path) != digest],
                [path for path, digest in held.items() if path not in sure and maybe.get(path) != digest])

    def compare_versions(self, versions, champion):
        """versions: [(number, tags)]. -> (lost, unknown): words."""
        made = collections.Counter(int(tags.get("index", -1)) for _, tags in versions)
        sure, maybe = set(self.counter.accepted(14)), self.counter.maybe[14]
        promotions = {int(tags.get("index", -1)): sum(key.startswith("mlops.promotion.") for key in tags) for _, tags in versions}
        lost = [f"version of index {i}" for i in sorted(sure - set(made))]
        lost += [f"promotion of index {i}" for i in sorted(sure & set(made)) if promotions[i] == 0]
        if sure and champion not in {number for number, _ in versions}:
            lost.append(f"the alias champion ({champion})")
        unknown = [f"{count} versions of index {i}" for i, count in made.items() if count > (i in sure or i in maybe)]
        return lost, unknown + [f"{count} promotions of index {i}" for i, count in promotions.items() if count > 1]


class Worker(threading.Thread):
    """One root, one experiment, its own random sequence."""

    def __init__(self, number, args, build, uri, folder, shared):
        super().__init__(name=f"worker{number}")
        self.args, self.shared = args, shared
        self.rng = random.Random(args.seed * 1000 + number)
        self.experiment = f"chaos-{args.seed}-{number}-{os.getpid()}"
        self.scenario = Scenario(build, folder / f"worker{number}", uri, seed=args.seed * 1000 + number)
        self.scenario.name = self.experiment
        self.scenario.large = folder / f"worker{number}" / "large"
        self.scenario.large.write_bytes(random.Random(args.seed + number).randbytes(LARGE))
        self.scenario.large_digest = hashlib.sha256(self.scenario.large.read_bytes()).hexdigest()
        self.runs = [OneRun(self.scenario, 0)]
        self.error = None

    def run(self):
        try:
            while self.shared.left():
                name, point = self.shared.next_round(self.rng)
                if name:
                    getattr(self, name)(point)
                elif self.rng.random() < 0.25:
                    self.sync_once()
                else:
                    self.train_once()
        except Exception as e:  # shown by main
            self.error = e
            self.shared.stop = True

    def life(self, kind, start, point=None):
        """start(env, endless) -> process; killed at a named point or at a random moment. True when it was killed.
        point: at the first pass of this one; else one that such a kind passed before, or none."""
        passes = 1 if point else self.rng.choice([1, 1, 1, 2, 3])
        point = point or self.shared.next_point(kind, self.rng)
        names = self.scenario.folder / "points"
        names.unlink(missing_ok=True)
        env = {"MLOPS_POINTS_FILE": str(names)}
        if point:
            env["MLOPS_KILL_AT"] = f"{point}:{passes}"
        process = start(env, point is None)
        begin = time.monotonic()
        by_us = False
        try:
            process.wait(self.rng.choice([0.02, 0.1, 0.3, 0.6]) * (0.3 + self.rng.random()) if point is None else 20)
        except subprocess.TimeoutExpired:
            by_us = True
            process.kill()
        rc = process.wait()
        if rc not in (0, -signal.SIGKILL) and not (kind == "sync" and rc > 0):
            raise AssertionError(f"{kind} ended with {rc} after {time.monotonic() - begin:.1f} s (point {point})\n{self.scenario.tail()}")
        killed = rc == -signal.SIGKILL
        self.shared.note(kind, None if by_us else point, killed, names)
        return killed

    def new_run(self, host=""):
        self.runs.append(OneRun(self.scenario, len(self.runs), host))
        return self.runs[-1]

    def train_once(self):
        run = self.runs[-1] if self.runs[-1].starts < 14 else self.new_run()
        self.train("online" if self.rng.random() < 0.5 else "offline", run, lambda endless: run.words(self.rng, self.experiment, endless))

    def train(self, kind, run, words, point=None, exit_ms=None, **options):
        """One life of a trainer. words(endless) -> what it does; it has a network unless it is "offline"."""
        run.starts += 1
        had_id = run.uid() is not None
        exit_ms = exit_ms or self.rng.choice([300, 3000])

        def start(env, endless):
            self.scenario.counter = run.counter
            return self.scenario.start(*words(endless), deliver=kind != "offline", exit_ms=exit_ms, env={**env, "MLOPS_HOST": run.host}, **options)

        killed = self.life(kind, start, point)
        self.wait_children(run)
        run.counter.died(LANES)  # also when it lived on: its child may not have
        if killed and not had_id and run.uid() is None:  # it may have a run that nobody knows the id of: it stays empty
            if not any(run.counter.accepted(lane) for lane in LANES):
                return
            raise AssertionError("something was logged before the id was written")

    # -- rounds (ROUNDS): each leads up to `point`, if it can by now -----------------------------------------------------
    def fresh(self, point):
        """The first process of a host makes a slot."""
        run = self.new_run(host=f"host{len(self.runs)}")
        self.train("fresh", run, lambda endless: run.words(self.rng, self.experiment, endless), point)

    def long(self, point):
        """Whole segments are given back while their writer lives."""
        run = self.runs[-1]
        many = max(run.counter[0], run.counter[1]) + 3000
        self.train("long", run, lambda _: [*run.begin(self.experiment), "points", 0, 2, many, 0, 3, "flush", "durable", 10000], point)

    def conflict(self, point):
        """Somebody else gave a param another value on the server: ours is refused for good."""
        run = self.runs[-1]
        there = self.scenario.rest.by_uid(self.experiment, run.uid()) if run.uid() else None
        if there is None:
            return
        key = f"conflict{run.starts}"
        self.scenario.rest.call("POST", "runs/log-parameter", {"run_id": there.run_id, "key": key, "value": "theirs"})
        self.train("conflict", run, lambda _: [*run.begin(self.experiment), "param", key, "ours"], point, exit_ms=10000)

    def in_parts(self, point):
        """A large file waits, and sync dies while it brings its parts; not with MLflow 2, which is before a folder here."""
        run = self.runs[-1] if self.runs[-1].starts < 14 else self.new_run()
        words = lambda _: [*run.begin(self.experiment), "large", 13, run.counter[13] + 1, self.scenario.large, "flush", "durable", 10000]  # noqa: E731
        self.train("offline", run, words, exit_ms=3000)
        self.sync_once(point)

    def delivered(self):
        """Whether everything is on the server; something must have been."""
        if all(run.uid() is None for run in self.runs):
            return False
        self.scenario.sync()
        return True

    def database_gone(self, point):
        """A database is removed, with nothing in it that was not delivered; the ledger stays."""
        if not self.delivered():
            return
        for lock in self.scenario.root.glob("*/*/lock"):
            shutil.rmtree(lock.parent / "db", ignore_errors=True)
        run = self.new_run()
        self.train("database_gone", run, lambda endless: run.words(self.rng, self.experiment, endless), point)

    def evict(self, point):
        """Retention takes what is delivered of ended runs; the last of them is resumed later."""
        if not self.delivered():
            return
        run = self.new_run()
        words = [*run.begin(self.experiment), "points", 0, 2, self.rng.randint(1, 50), 0, 3, "sleep", 8000]
        self.train("evict", run, lambda _: words, point, retention_mib=1)
        self.runs.append(self.runs.pop(-2))

    def wait_children(self, run):
        """A forked child outlives its killed parent: its lane is settled only when it is gone."""
        until = time.monotonic() + 30
        mark = run.counter.path.encode()
        while time.monotonic() < until:
            alive = False
            for entry in pathlib.Path("/proc").iterdir():
                if entry.name.isdigit():
                    try:
                        alive |= mark in (entry / "cmdline").read_bytes()
                    except OSError:
                        pass
            if not alive:
                return
            time.sleep(0.01)
        raise AssertionError("a forked child lives on for 30 s")

    def sync_once(self, point=None):
        self.life("sync", lambda env, _: self.scenario.start_mlops("sync", "--to", self.scenario.uri, env=env), point)

    def finish(self, rest):
        """Lets one sync live, then compares. -> (accepted, lost, duplicated, messages)"""
        accepted = lost = duplicated = 0
        messages = []
        if not self.scenario.root.exists():
            return 0, 0, 0, []
        self.scenario.sync()
        held = rest.runs(self.experiment)
        uids = collections.Counter(run.uid for run in held)
        for uid, count in uids.items():
            if count > 1 or not uid:
                duplicated += count
                messages.append(f"{count} runs on the server with mlops.uid {uid!r}")
        by_uid = {run.uid: run for run in held}
        for one in self.runs:
            want = one.expected()
            accepted += want.accepted
            server_run = by_uid.get(one.uid() or "")
            if server_run is None:
                missing = want.accepted + len(want.params) + len(want.tags) + len(one.files(one.counter.accepted))
                lost += missing
                if missing or one.uid():
                    messages.append(f"{one.name} ({one.uid()}): not on the server, {missing} records lost")
                    lost += not missing
                continue
            got = expect.compare(want, server_run, rest.points(server_run))
            lost += len(got.lost)
            duplicated += len(got.duplicated)
            if not got.ok:
                messages.append(f"{one.name} ({one.uid()}): {got}")
                lost += len(got.wrong)
            for losses, unknown in (one.compare_files(self.shared.files_of(server_run)), one.compare_versions(*versions_of(rest, one.model))):
                lost += len(losses)
                duplicated += len(unknown)
                if losses or unknown:
                    messages.append(f"{one.name} ({one.uid()}): lost {losses[:5]}; duplicated or unknown {unknown[:5]}")
            if server_run.status == "RUNNING":
                messages.append(f"{one.name}: still RUNNING on the server, though its process is dead")
                lost += 1
        known = {one.uid() for one in self.runs}
        for run in held:  # the runs whose start was cut before their id was written
            if run.uid not in known and rest.points(run):
                duplicated += 1
                messages.append(f"run {run.uid} has points, but no trainer was told its id")
        return accepted, lost, duplicated, messages


def versions_of(rest, model):
    """-> [(number, tags)], the number that champion stands for."""
    versions, token = [], ""
    while True:
        page = rest.call("GET", "model-versions/search", filter=f"name='{model}'", max_results=1000, **({"page_token": token} if token else {}))
        versions += [(str(v["version"]), {t["key"]: t.get("value", "") for t in v.get("tags", [])}) for v in page.get("model_versions", [])]
        token = page.get("next_page_token")
        if not token:
            break
    found = rest.call("GET", "registered-models/get", name=model) if versions else None
    aliases = found["registered_model"].get("aliases", []) if found else []
    return versions, next((str(a["version"]) for a in aliases if a["alias"] == "champion"), "")


class Shared:
    """How many kills are left, and which named points were passed and killed at, by kind of process."""

    def __init__(self, args):
        self.args = args
        self.stored = None  # the folder that the server's artifacts are in
        self.lock = threading.Lock()
        self.kills = 0
        self.lives = 0
        self.stop = False
        self.passed = collections.defaultdict(set)  # kind -> names
        self.killed_at = collections.Counter()
        self.tried = collections.Counter()
        self.started = time.monotonic()

    def files_of(self, run):
        """-> {path: digest} of a run's artifacts, as they lie on the server's disk."""
        folder = self.stored / run.artifact_uri.removeprefix("mlflow-artifacts:/").lstrip("/")
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}

    def left(self):
        with self.lock:
            if self.lives > 20 * self.args.kills + 50:
                raise AssertionError(f"only {self.kills} kills in {self.lives} lives: the point is never passed")
            return not self.stop and self.kills < self.args.kills

    def next_round(self, rng):
        """A name of ROUNDS and one of its points, fewest kills first; (None, None): an ordinary life."""
        pairs = [(name, point) for name, points in ROUNDS.items() for point in points
                 if name != "in_parts" or self.args.server == "mlflow3"]
        with self.lock:
            if self.args.point:
                pairs = [(name, point) for name, point in pairs if point == self.args.point and rng.random() < 0.5]
                self.lives += len(pairs)
                return pairs[0] if pairs else (None, None)
            fewest = min((self.killed_at[point], self.tried[point]) for _, point in pairs)
            if rng.random() > (0.03 if fewest[0] else 0.15):
                return None, None
            name, point = rng.choice([(n, p) for n, p in pairs if (self.killed_at[p], self.tried[p]) == fewest])
            self.lives += 1
            self.tried[point] += 1
            return name, point

    def next_point(self, kind, rng):
        """A named point this kind of process passes, rarest kill first; None: a random moment."""
        with self.lock:
            self.lives += 1
            if self.args.point:
                return self.args.point
            names = sorted(self.passed[kind])
            if not names or rng.random() < 0.4:
                return None
            fewest = min((self.killed_at[n], self.tried[n]) for n in names)
            point = rng.choice([n for n in names if (self.killed_at[n], self.tried[n]) == fewest])
            self.tried[point] += 1
            return point

    def note(self, kind, point, killed, file):
        with self.lock:
            if file.exists():
                self.passed[kind] |= set(file.read_text().split())
            if killed:
                self.kills += 1
                if point:  # else the kill came from us
                    self.killed_at[point] += 1
                if self.kills % 50 == 0:
                    print(f"chaos: {self.kills} kills, {len(self.killed_at)} named points, "
                          f"{time.monotonic() - self.started:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--point", help="kill at this named point only")
    parser.add_argument("--server", default="mlflow3", choices=["mlflow3", "mlflow2"])
    parser.add_argument("--workers", type=int, default=2, help="roots at the same time")
    parser.add_argument("--list-points", action="store_true", help="print the named points of the source")
    args = parser.parse_args()
    if args.list_points:
        print("\n".join(all_points()))
        return 0
    folder = pathlib.Path(os.environ.get("MLOPS_BUILD_DIR", servers.ROOT / "build" / "dev")).resolve()
    build = types.SimpleNamespace(dir=folder, trainer=folder / "tests" / "trainer", mlops=folder / "src" / "cli" / "mlops")
    if args.point and args.point not in all_points():
        sys.exit(f"chaos: no point named {args.point}; scripts/chaos --list-points names them")
    print(f"chaos: seed {args.seed}, {args.kills} kills", flush=True)
    work = pathlib.Path(tempfile.mkdtemp(prefix="mlops-chaos-"))
    server = s3 = None
    try:
        begin = time.monotonic()
        shared = Shared(args)
        options = {}
        if args.server == "mlflow3":
            s3 = servers.S3Server(work / "s3", S3_KEYS)
            s3.start().make_bucket("chaos")
            options = {"artifacts": "s3://chaos/root", "env": s3.server_env()}
        server = servers.MlflowServer(args.server, folder=work / "server", **options).start()
        shared.stored = s3.folder / "buckets" / "chaos" / "root" if s3 else pathlib.Path(server.artifacts)
        uri = server.uri
        print(f"chaos: {args.server} at {uri} after {time.monotonic() - begin:.0f} s", flush=True)
        workers = [Worker(n, args, build, uri, work, shared) for n in range(args.workers)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        rest = Rest(uri)
        accepted = lost = duplicated = 0
        failed = False
        print(f"chaos: {shared.kills} kills done after {time.monotonic() - shared.started:.0f} s; delivering the rest", flush=True)
        for worker in workers:
            if worker.error is not None:
                failed = True
                print(f"chaos: {worker.name}: {worker.error}")
                continue
            a, n_lost, n_dup, messages = worker.finish(rest)
            accepted, lost, duplicated = accepted + a, lost + n_lost, duplicated + n_dup
            for message in messages:
                print(f"chaos: {worker.name}: {message}")
        here = [n for n in all_points() if n not in ELSEWHERE]
        never = [n for n in here if not shared.killed_at[n]]
        print(f"chaos: killed at {len(here) - len(never)} of {len(here)} named points (other tests: {len(ELSEWHERE)}), "
              f"{sum(shared.killed_at.values())} times" + (f"; never at: {' '.join(never)}" if never and not args.point else ""))
        ok = not failed and lost == 0 and duplicated == 0 and accepted > 0
        if ok:
            shutil.rmtree(work, ignore_errors=True)
        else:
            print(f"chaos: what was left behind is in {work}; again with: scripts/chaos --seed {args.seed} --kills {args.kills}")
        print(f"chaos: kills={shared.kills} accepted={accepted} lost={lost} duplicated={duplicated}", flush=True)
        return 0 if ok else 1
    finally:
        for one in (server, s3):
            if one is not None:
                one.stop()


if __name__ == "__main__":
    sys.exit(main())
