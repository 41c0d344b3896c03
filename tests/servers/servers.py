"""Real servers for the tests and for scripts/chaos: MLflow 3.x and 2.x on SQLite, 3.x on PostgreSQL.

Each runs in a process group of its own on a free loopback port, writes to files, and is stopped by stop(), which is
also registered with atexit. A start waits minutes: on a loaded machine an MLflow server needs them.
"""

import atexit
import hashlib
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
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

    def __init__(self, kind="mlflow3", store=None, folder=None, args=(), artifacts=None, env=None):
        self.kind = kind
        self.venv = venv(kind)
        self.own_folder = folder is None
        self.folder = pathlib.Path(folder or tempfile.mkdtemp(prefix=f"mlops-{kind}-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.store = store or f"sqlite:///{self.folder / 'mlflow.db'}"
        self.port = free_port()
        self.args = list(args)
        self.artifacts = artifacts or str(self.folder / "artifacts")
        self.env = dict(env or {})
        self.log = self.folder / "server.log"
        self.process = None
        atexit.register(self.stop)

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self, seconds=300):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}
        env.update(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true",
                   PYTHONUNBUFFERED="1", **self.env)
        command = [str(self.venv / "bin" / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(self.port),
                   "--workers", "1", "--backend-store-uri", self.store,
                   "--artifacts-destination", self.artifacts, *self.args]
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


class S3Server:
    """versitygw on a folder: an S3-compatible server with one key. Read and written here by boto3."""

    def __init__(self, folder, keys):
        made = subprocess.run([str(ROOT / "scripts" / "setup"), "versitygw"], check=True, stdout=subprocess.PIPE, text=True)
        self.program = made.stdout.strip().splitlines()[-1]
        [self.packages] = (venv("s3") / "lib").glob("python3*/site-packages")
        self.folder, self.keys, self.port, self.process = pathlib.Path(folder), dict(keys), free_port(), None
        (self.folder / "buckets").mkdir(parents=True, exist_ok=True)
        atexit.register(self.stop)

    @property
    def uri(self):
        return f"http://127.0.0.1:{self.port}"

    def env(self):
        """For a client that has the key."""
        return {**self.keys, "MLFLOW_S3_ENDPOINT_URL": self.uri}

    def server_env(self):
        """For an MLflow server that keeps its artifacts here."""
        return {**self.env(), "AWS_DEFAULT_REGION": self.keys["AWS_REGION"], "PYTHONPATH": str(self.packages)}

    def start(self, seconds=60):
        env = {"PATH": os.environ["PATH"], "ROOT_ACCESS_KEY": self.keys["AWS_ACCESS_KEY_ID"],
               "ROOT_SECRET_KEY": self.keys["AWS_SECRET_ACCESS_KEY"]}
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [self.program, "--port", f"127.0.0.1:{self.port}", "--region", self.keys["AWS_REGION"], "--keep-alive", "posix",
                 str(self.folder / "buckets")], env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.folder, start_new_session=True)
        until = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if time.monotonic() > until or self.process.poll() is not None:
                    raise RuntimeError("versitygw did not come up: " + (self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.1)

    def client(self):
        if str(self.packages) not in sys.path:
            sys.path.append(str(self.packages))
        import boto3
        return boto3.client("s3", endpoint_url=self.uri, region_name=self.keys["AWS_REGION"],
                            aws_access_key_id=self.keys["AWS_ACCESS_KEY_ID"],
                            aws_secret_access_key=self.keys["AWS_SECRET_ACCESS_KEY"])

    def make_bucket(self, name):
        (self.folder / "buckets" / name).mkdir(exist_ok=True)  # a bucket is a folder

    def put(self, bucket, key, data):
        path = self.folder / "buckets" / bucket / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def sha(self, bucket, key):
        digest = hashlib.sha256()
        for block in self.client().get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
            digest.update(block)
        return digest.hexdigest()

    def uploads(self, bucket):
        return self.client().list_multipart_uploads(Bucket=bucket).get("Uploads", [])

    def stop(self):
        if self.process is not None:
            stop_group(self.process)
            self.process = None


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
