"""Real servers for the tests and for scripts/chaos: MLflow 3.x and 2.x on SQLite, 3.x on PostgreSQL.

Each runs in a process group of its own on a free loopback port, writes to files, and is stopped by stop(), which is
also registered with atexit. A start waits minutes: on a loaded machine an MLflow server needs them.
"""

import atexit
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def venv(name):
    """The Python environment of scripts/requirements-<name>.txt, made when it is missing."""
    made = subprocess.run([str(ROOT / "scripts" / "setup"), "venv", name], check=True, stdout=subprocess.PIPE, text=True)
    return pathlib.Path(made.stdout.strip().splitlines()[-1])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def stop_group(process, seconds=20):
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        except ProcessLookupError:
            return
    try:
        os.killpg(process.pid, signal.SIGKILL)  # workers that outlived their parent
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


class MlflowServer:
    """kind: "mlflow3" or "mlflow2"; store: SQLAlchemy URI, default a SQLite file in the folder."""

    def __init__(self, kind="mlflow3", store=None, folder=None, args=()):
        self.kind = kind
        self.venv = venv(kind)
        self.own_folder = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix=f"mlops-{kind}-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = store or f"sqlite:///{self.folder / 'mlflow.db'}"
        self.port = free_port()
        self.args = list(args)
        self.log = self.folder / "server.log"
        self.process = None
        atexit.register(self.stop)

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self, seconds=300):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}
        env.update(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true",
                   PYTHONUNBUFFERED="1")
        command = [str(self.venv / "bin" / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(self.port),
                   "--workers", "1", "--backend-store-uri", self.store,
                   "--artifacts-destination", str(self.folder / "artifacts"), *self.args]
        env["PATH"] = f"{self.venv / 'bin'}:{env.get('PATH', '/usr/bin:/bin')}"  # it starts gunicorn/uvicorn by name
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env,
                                            cwd=self.folder, start_new_session=True)
        return self.wait(seconds)

    def wait(self, seconds=300):
        until = time.monotonic() + seconds
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while time.monotonic() < until:
            if self.process.poll() is not None:
                break
            try:
                with opener.open(self.uri + "/health", timeout=5) as answer:
                    if answer.status == 200:
                        return self
            except OSError:
                time.sleep(0.2)
        tail = self.log.read_text(errors="replace")[-3000:]
        self.stop()
        raise RuntimeError(f"{self.kind} did not come up on {self.uri} in {seconds} s; the end of its log:\n{tail}")

    def pause(self):
        """Down, but with its port, store and folder kept: start() brings it back."""
        if self.process is not None:
            stop_group(self.process)
            self.process = None

    def stop(self):
        self.pause()
        if self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


class Postgres:
    """A cluster of its own in a temporary folder, on a free loopback port. Needs Debian's postgresql-15."""

    def __init__(self):
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            raise RuntimeError("no PostgreSQL: scripts/setup packages installs it")
        self.bin = found[-1].parent
        self.user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="mlops-pg-"))
        self.port = free_port()
        self.process = None
        atexit.register(self.stop)

    def _as_user(self):
        return ["setpriv", "--reuid", self.user, "--regid", self.user, "--init-groups"] if os.getuid() == 0 else []

    def start(self, seconds=120):
        if os.getuid() == 0:  # initdb refuses root
            entry = pwd.getpwnam(self.user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        data = self.folder / "data"
        subprocess.run([*self._as_user(), str(self.bin / "initdb"), "-D", str(data), "-A", "trust", "-U", "mlops", "-E",
                        "UTF8", "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [*self._as_user(), str(self.bin / "postgres"), "-D", str(data), "-p", str(self.port), "-c",
             "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.folder}", "-c", "fsync=off"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True)
        log.close()
        until = time.monotonic() + seconds
        ready = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready).returncode != 0:
            if time.monotonic() > until or self.process.poll() is not None:
                raise RuntimeError("PostgreSQL did not come up: " + (self.folder / "log").read_text()[-2000:])
            time.sleep(0.2)
        return self

    def database(self, name):
        subprocess.run([str(self.bin / "createdb"), "-h", "127.0.0.1", "-p", str(self.port), "-U", "mlops", name], check=True)
        return f"postgresql+psycopg2://mlops@127.0.0.1:{self.port}/{name}"

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)  # fast shutdown
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                stop_group(self.process)
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)
