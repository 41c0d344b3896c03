"""The job of scripts/quickstart once everything is built: server, trainer, kill, restart, delivery, check, curves.

What was accepted is read from the trainer's own tally (examples/digits/tally.h), what was delivered from the server's
REST answers with nothing but urllib: no code of the SDK takes part in the comparison. Leaves no process behind.
"""

import argparse
import collections
import fcntl
import json
import math
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOME = os.path.join(ROOT, ".quickstart")
LOGS = os.path.join(HOME, "logs")
BUILD = os.path.join(ROOT, "build", "release")
DATABASE = os.path.join(HOME, "mlflow.db")
EPOCHS, PACE_US = 12, 400
EXPERIMENT = "digits"


class Failure(Exception):
    """Says what is wrong and what to do."""


def say(text):
    print(f"quickstart: {text}", flush=True)


# ---------------------------------------------------------------------------------------------------- the server


def free_port():
    """The port of the last time, so that this time finds its destination again; a new one where that is taken."""
    path = os.path.join(HOME, "port")
    kept = 0
    if os.path.exists(path):
        with open(path) as file:
            text = file.read().strip()
        kept = int(text) if text.isdigit() and 0 < int(text) < 65536 else 0
    for port in ([kept] if kept else []) + [0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                say(f"port {port} of the last time is taken by another program: choosing another one")
                continue
            port = probe.getsockname()[1]
        with open(path, "w") as file:
            file.write(f"{port}\n")
        return port
    raise Failure("there is no free port on 127.0.0.1")


def processes_of(group):
    """The live processes of a process group, without the zombies."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            with open(f"/proc/{name}/cmdline", "rb") as file:
                command = file.read()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[2]) == group:
            found.append((int(name), command))
    return found


def stop_group(group, patience=3.0):
    """SIGTERM, then SIGKILL. Returns once no process of the group is left."""
    for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        end = time.monotonic() + wait
        while time.monotonic() < end:
            try:
                os.waitpid(-group, os.WNOHANG)
            except ChildProcessError:
                pass
            if not processes_of(group):
                return
            time.sleep(0.02)
    raise Failure(f"processes of group {group} do not end: {[pid for pid, _ in processes_of(group)]}")


class Server:
    """A real MLflow server on loopback, SQLite below .quickstart/, in a process group of its own."""

    def __init__(self, venv):
        self.pid_file = os.path.join(HOME, "server.pid")
        self.stop_leftover()
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.log = os.path.join(LOGS, "server.log")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        environment["PATH"] = os.path.join(venv, "bin") + os.pathsep + environment.get("PATH", "/usr/bin:/bin")
        command = [os.path.join(venv, "bin", "mlflow"), "server", "--host", "127.0.0.1", "--port", str(self.port),
                   "--workers", "1", "--backend-store-uri", f"sqlite:///{DATABASE}",
                   "--artifacts-destination", os.path.join(HOME, "artifacts")]
        self.began = time.monotonic()
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, cwd=HOME, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True)
        with open(self.pid_file, "w") as file:
            file.write(f"{self.process.pid}\n")

    def stop_leftover(self):
        """A server that a killed quickstart left behind holds the port and the database."""
        try:
            with open(self.pid_file) as file:
                group = int(file.read())
        except (OSError, ValueError):
            return
        if any(DATABASE.encode() in command for _, command in processes_of(group)):
            say("stopping the server that an interrupted quickstart left")
            stop_group(group)

    def wait(self, deadline=180):
        while time.monotonic() - self.began < deadline:
            if self.process.poll() is not None:
                break
            try:
                with open_url(f"{self.uri}/health", timeout=2) as answer:
                    if answer.status == 200:
                        return time.monotonic() - self.began
            except OSError:
                time.sleep(0.1)
        with open(self.log) as file:
            sys.stderr.write("".join(file.readlines()[-30:]))
        raise Failure(f"the MLflow server did not start, see {self.log}")

    def stop(self):
        stop_group(self.process.pid)
        if os.path.exists(self.pid_file):
            os.remove(self.pid_file)


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback: never through a proxy


def open_url(request, timeout=60):
    return _opener.open(request, timeout=timeout)


class Rest:
    """The server's answers, plain."""

    def __init__(self, uri):
        self.base = uri + "/api/2.0/mlflow/"

    def get(self, path, **query):
        with open_url(self.base + path + "?" + urllib.parse.urlencode(query)) as answer:
            return json.load(answer)

    def post(self, path, body):
        request = urllib.request.Request(self.base + path, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with open_url(request) as answer:
            return json.load(answer)

    def experiment_id(self, name):
        return self.get("experiments/get-by-name", experiment_name=name)["experiment"]["experiment_id"]

    def runs(self, experiment_id):
        token, found = "", []
        while True:
            page = self.post("runs/search", {"experiment_ids": [experiment_id], "max_results": 1000,
                                             "run_view_type": "ALL", "page_token": token})
            found += page.get("runs", [])
            token = page.get("next_page_token", "")
            if not token:
                return found

    def history(self, run_id, metric):
        token, found = "", []
        while True:
            query = {"run_id": run_id, "metric_key": metric, "max_results": 25000}
            if token:
                query["page_token"] = token
            page = self.get("metrics/get-history", **query)
            found += page.get("metrics", [])
            token = page.get("next_page_token", "")
            if not token:
                return found


# ---------------------------------------------------------------------------------------------------- the trainer

Point = collections.namedtuple("Point", "run metric step value")


class Tally:
    """Reads examples/digits/tally.h's file: what the trainer counted outside the SDK."""

    NAMES, NAME_BYTES, HEADER = 128, 64, 64
    RECORD = struct.Struct("<HHIqd")

    def __init__(self, path):
        self.path = path

    def read(self):
        """(counter of accepted points, points whose call returned, points whose call was cut off)."""
        with open(self.path, "rb") as file:
            head = file.read(self.HEADER)
            if len(head) < self.HEADER or head[:8] != b"MLOPSTLY":
                return 0, [], []
            counter, begun, names = struct.unpack_from("<QQI", head, 8)
            table = file.read(self.NAMES * self.NAME_BYTES)
            texts = [table[i * self.NAME_BYTES:(i + 1) * self.NAME_BYTES].rstrip(b"\0").decode() for i in range(names)]
            data = file.read(begun * self.RECORD.size)
        accepted, cut_off = [], []
        for run, metric, state, step, value in self.RECORD.iter_unpack(data):
            (accepted if state == 2 else cut_off).append(Point(texts[run], texts[metric], step, value))
        return counter, accepted, cut_off


class Trainer:
    """One process of examples/digits."""

    def __init__(self, uri, session, tally):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}
        environment["MLFLOW_TRACKING_URI"] = uri
        environment["MLOPS_HOME"] = os.path.join(HOME, "buffer")
        environment["NO_PROXY"] = environment["no_proxy"] = "127.0.0.1,localhost"
        self.environment = environment
        self.log = os.path.join(LOGS, "trainer.log")
        self.output = open(self.log, "a+")
        self.seen = self.output.seek(0, os.SEEK_END)
        self.process = subprocess.Popen(
            [os.path.join(BUILD, "examples", "example_digits"), "--session", session, "--counter", tally.path,
             "--epochs", str(EPOCHS), "--pace", str(PACE_US)],
            cwd=HOME, env=environment, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
            start_new_session=True)

    def show(self):
        """Prints what the trainer has printed since the last time."""
        with open(self.log) as file:
            file.seek(self.seen)
            text = file.read()
        self.seen += len(text.encode())
        sys.stdout.write(re.sub(r"(?m)^", "  ", text.rstrip("\n")) + "\n" if text.strip() else "")
        sys.stdout.flush()

    def kill_half_way(self, tally, deadline=120):
        """SIGKILL in the middle of the second learning rate. Returns how many points were accepted by then."""
        end = time.monotonic() + deadline
        while self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.001)
            if not os.path.exists(tally.path):
                continue
            _, accepted, _ = tally.read()
            runs = list(dict.fromkeys(p.run for p in accepted if p.metric == "loss"))
            if len(runs) < 2 or accepted[-1].run != runs[1]:
                continue
            half = (max(p.step for p in accepted if p.run == runs[0] and p.metric == "loss") + 1) // 2
            if accepted[-1].metric == "loss" and accepted[-1].step >= half:
                self.process.send_signal(signal.SIGKILL)
                break
        code = self.process.wait()
        self.show()
        if code != -signal.SIGKILL:
            raise Failure(f"the trainer ended with {code} before it could be killed, see {self.log}")
        return tally.read()[0]

    def finish(self, deadline=180):
        try:
            code = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            raise Failure(f"the trainer did not end within {deadline} s, see {self.log}") from None
        self.show()
        if code != 0:
            raise Failure(f"the trainer failed with {code}, see {self.log}")

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.output.close()


def command_line_tool():
    for path in ("src/cli/mlops", "mlops", "bin/mlops"):
        if os.access(os.path.join(BUILD, path), os.X_OK) and os.path.isfile(os.path.join(BUILD, path)):
            return os.path.join(BUILD, path)
    raise Failure(f"the mlops command is not below {BUILD}")


# ---------------------------------------------------------------------------------------------------- the comparison


def compare(rest, session, tally):
    """What the server holds of this session against what was accepted: (accepted points counted, delivered, faults, histories)."""
    counter, accepted, cut_off = tally.read()
    faults = []
    if counter != len(accepted):
        faults.append(f"the trainer's counter says {counter}, its list {len(accepted)} points")
    by_name = collections.defaultdict(list)
    for run in rest.runs(rest.experiment_id(EXPERIMENT)):
        by_name[run["info"]["run_name"]].append(run)
    wanted = {p.run for p in accepted + cut_off}
    on_server, histories = collections.Counter(), {}
    parent = by_name[session][0]["info"]["run_id"] if by_name[session] else None
    for name in sorted(wanted):
        if len(by_name[name]) != 1:
            faults.append(f"the server holds {len(by_name[name])} runs named '{name}', not one")
        for run in by_name[name]:
            info, data = run["info"], run["data"]
            tags = {tag["key"]: tag["value"] for tag in data.get("tags", [])}
            if info["status"] != "FINISHED":
                faults.append(f"run '{name}' is {info['status']}, not FINISHED")
            if name != session and tags.get("mlflow.parentRunId") != parent:
                faults.append(f"run '{name}' is not nested below '{session}'")
            if name != session and len(data.get("params", [])) != 7:
                faults.append(f"run '{name}' has {len(data.get('params', []))} params, not 7")
            for metric in data.get("metrics", []):
                history = rest.history(info["run_id"], metric["key"])
                histories[name, metric["key"]] = history
                when = [int(m["timestamp"]) for m in history]
                if when and not int(info["start_time"]) - 100 <= min(when) <= max(when) <= int(info["end_time"]) + 100:
                    faults.append(f"points of '{metric['key']}' in run '{name}' lie outside the run's time")
                on_server.update(Point(name, metric["key"], int(m.get("step", 0)), float(m["value"])) for m in history)
    # A call that the kill cut off had not returned: it may have been accepted or not. If the server has it, it was.
    counts = collections.Counter(accepted)
    for point in cut_off:
        if on_server[point] > counts[point]:
            counts[point] += 1
    for words, difference in (("missing on", counts - on_server), ("not accepted, but on", on_server - counts)):
        for point, times in list(difference.items())[:5]:
            faults.append(f"{words} the server: {point.run} / {point.metric} step {point.step} value {point.value!r}"
                          + (f" ({times} times)" if times > 1 else ""))
        if len(difference) > 5:
            faults.append(f"{words} the server: {sum(difference.values())} points in all")
    steps = collections.Counter((p.run, p.metric, p.step) for p in counts.elements())
    twice = [key for key, times in steps.items() if times > 1]
    if twice:
        faults.append(f"{len(twice)} steps were logged twice after the restart, e.g. {twice[0]}")
    best = max((p.value for p in on_server if p.metric == "val/accuracy"), default=0)
    if best <= 0.9:
        faults.append(f"the network did not learn: its best validation accuracy is {best:.3f}")
    else:
        say(f"best validation accuracy on the server: {best:.3f}")
    return counts, sum(on_server.values()), faults, histories


def plot(histories, width=76, height=16):
    """The loss of every mini-batch of each run, averaged per column, on a logarithmic scale."""
    curves = {run: sorted((int(m.get("step", 0)), float(m["value"])) for m in history)
              for (run, metric), history in histories.items() if metric == "loss" and history}
    if not curves:
        return
    last = max(points[-1][0] for points in curves.values()) + 1
    colours = ["\033[31m", "\033[33m", "\033[32m", "\033[36m"] if sys.stdout.isatty() else []
    columns, marks = {}, "1234567890"
    for run, points in curves.items():
        sums = collections.defaultdict(list)
        for step, value in points:
            if math.isfinite(value):
                sums[step * width // last].append(value)
        columns[run] = {at: max(sum(values) / len(values), 1e-6) for at, values in sums.items()}
    values = [v for column in columns.values() for v in column.values()]
    low, high = math.log10(min(values)), math.log10(max(values))
    grid = [[" "] * width for _ in range(height)]
    for number, column in enumerate(columns.values()):
        mark = marks[number % len(marks)]
        shown = f"{colours[number % len(colours)]}{mark}\033[0m" if colours else mark
        for at, value in column.items():
            row = round((math.log10(value) - low) / (high - low or 1) * (height - 1))
            grid[height - 1 - row][at] = shown
    print("\n  loss of every mini-batch, as the server tells it")
    for row, cells in enumerate(grid):
        value = 10 ** (high - (high - low) * row / (height - 1))
        print(f"  {f'{value:.3g}' if row % 5 == 0 else '':>7} |{''.join(cells)}")
    print("  " + " " * 8 + "+" + "-" * width)
    print(f"  {'':>8} 0{f'mini-batch {last}':>{width - 1}}")
    for number, (run, points) in enumerate(curves.items()):
        print(f"  {'':>8} {marks[number % len(marks)]}  {run}: {points[0][1]:.3f} to {points[-1][1]:.4f}")
    print(flush=True)


# ---------------------------------------------------------------------------------------------------- Python

# The buffer that the C++ trainer wrote, without a server. The last line is every point of the session, for the check.
PYTHON = """
import json, mlops
mlops.set_tracking_uri("mlops:buffer")
found = mlops.search_runs(experiment_names=["{experiment}"], order_by=["metrics.`val/accuracy` DESC"], output_format="list")
found = [run for run in found if run.info.run_name.split()[0] == "{session}"]
best = next(run for run in found if run.info.run_name != "{session}")
print(">>> mlops.search_runs(order_by=['metrics.`val/accuracy` DESC'], output_format='list')[0]")
print(best)
value = mlops.read(best.info.run_id, "loss").value
print(f">>> mlops.read({{best.info.run_id[:8]!r}}, 'loss').value")
print(f"{{len(value):,}} points: {{value[0]:.4f}}, {{value[1]:.4f}}, {{value[2]:.4f}}, ... {{value[-1]:.4f}}")
print(json.dumps([(run.info.run_name, name, *point) for run in found for name, columns in mlops.read(run.info.run_id).items()
                  for point in zip(columns.step, columns.value)]))
"""


def read_from_python(python, session, counts):
    """Shows the trainer's runs as `import mlops` reads them; -> what is wrong."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}
    environment["PYTHONPATH"] = os.path.join(HOME, "python")
    shown = subprocess.run([python, "-c", PYTHON.format(experiment=EXPERIMENT, session=session)], cwd=HOME, env=environment,
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=120)
    if shown.returncode != 0:
        return [f"reading the runs from Python failed with {shown.returncode}"]
    *lines, points = shown.stdout.splitlines()
    for line in lines:
        print(f"    {line}", flush=True)
    read = collections.Counter(Point(*one) for one in json.loads(points))
    differ = sum(((read - counts) + (counts - read)).values())
    return [f"Python reads {sum(read.values())} points, {differ} of them not as accepted"] if differ else []


# ---------------------------------------------------------------------------------------------------- the job


def next_session():
    numbers = [int(m.group(1)) for m in map(re.compile(r"digits-(\d+)\.tally$").match, os.listdir(HOME)) if m]
    return f"digits-{max(numbers, default=0) + 1}"


def job(arguments, running):
    version = subprocess.run([os.path.join(arguments.venv, "bin", "python"), "-c",
                              "import importlib.metadata as m; print(m.version('mlflow'))"],
                             check=True, capture_output=True, text=True).stdout.strip()
    server = Server(arguments.venv)
    running.append(server)
    say(f"starting MLflow {version} at {server.uri} (SQLite in .quickstart/mlflow.db)")
    start_seconds = server.wait()
    say(f"the server answers after {start_seconds:.1f} s")

    session = next_session()
    tally = Tally(os.path.join(HOME, session + ".tally"))
    say(f"training: parent run '{session}' and one nested run per learning rate")
    trainer = Trainer(server.uri, session, tally)
    running.append(trainer)
    killed_at = trainer.kill_half_way(tally)
    say(f"killed the trainer with SIGKILL after {killed_at:,} accepted points; starting it again")
    trainer = Trainer(server.uri, session, tally)
    running.append(trainer)
    trainer.finish()

    say("delivering what waits: mlops sync")
    sync = subprocess.run([command_line_tool(), "sync", "--to", server.uri], cwd=HOME, env=trainer.environment,
                          stdin=subprocess.DEVNULL, timeout=300)
    if sync.returncode != 0:
        raise Failure(f"mlops sync failed with {sync.returncode}")

    say("a model without a network: logged, registered, delivered, promoted by a gate, pulled, rolled back")
    registry = os.path.join(ROOT, "examples", "registry", "run.sh")
    with open(os.path.join(LOGS, "registry.log"), "w") as log:
        shown = subprocess.run([registry, BUILD, server.uri, session], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=log, text=True, timeout=300)
    for line in shown.stdout.splitlines():
        print(f"    {line}", flush=True)
    if shown.returncode != 0:
        raise Failure(f"examples/registry failed with {shown.returncode}, see {log.name}")

    say("asking the server what it holds")
    rest = Rest(server.uri)
    counts, delivered, faults, histories = compare(rest, session, tally)
    accepted = sum(counts.values())
    plot(histories)
    experiment = rest.experiment_id(EXPERIMENT)
    if arguments.serve:
        say(f"look at it: {server.uri}/#/experiments/{experiment}/runs (Ctrl-C stops the server)")
    else:
        say("look at it in a browser: ./scripts/quickstart --serve, then open "
            f"{server.uri}/#/experiments/{experiment}/runs")
    say("the same runs read from Python, out of the buffer")
    faults += read_from_python(arguments.python, session, counts)
    for fault in faults:
        say(f"WRONG: {fault}")
    return server, start_seconds, accepted, delivered, not faults and accepted == delivered


def end_processes(running):
    problems = []
    while running:
        try:
            running.pop().stop()
        except (Failure, OSError) as error:
            problems.append(str(error))
    if problems:
        raise Failure("; ".join(problems))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--began", type=float, default=time.time())
    parser.add_argument("--venv", required=True)
    parser.add_argument("--python", required=True)
    parser.add_argument("--serve", action="store_true")
    arguments = parser.parse_args()
    os.makedirs(LOGS, exist_ok=True)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    lock = open(os.path.join(HOME, "lock"), "w")
    running, code = [], 1
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failure("another quickstart is at work here: wait for it, or stop it") from None
        server, start_seconds, accepted, delivered, good = job(arguments, running)
        if not arguments.serve:
            end_processes(running)
        total = time.time() - arguments.began
        say(f"server start {start_seconds:.1f} s, everything else {total - start_seconds:.1f} s")
        say(f"accepted={accepted} delivered={delivered}")
        code = 0 if good else 1
        if arguments.serve:
            server.process.wait()
            raise Failure(f"the MLflow server ended by itself, see {server.log}")
    except KeyboardInterrupt:
        code = code if arguments.serve else 130
    except (Failure, urllib.error.URLError, subprocess.SubprocessError, OSError) as error:
        print(f"quickstart: {error}", file=sys.stderr)
        code = 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        end_processes(running)
    return code


if __name__ == "__main__":
    sys.exit(main())
