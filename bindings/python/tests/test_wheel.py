"""The self-contained wheel: nothing but glibc is needed, nothing is exported, little is used, the command is inside."""

import email.parser
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import zipfile

import pytest
from conftest import script

from mlops import _core

WHEEL = os.environ.get("MLOPS_WHEEL", "")
PIP = os.environ.get("MLOPS_PIP", "")  # not in the environment that is tested
GLIBC = {"libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "ld-linux-x86-64.so.2"}


def readelf(*words):
    return subprocess.run(["readelf", "-W", *words, _core.__file__], check=True, stdout=subprocess.PIPE, text=True).stdout


needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-d")))
if any(one.startswith("libmlops") for one in needed):
    pytest.skip("this package is linked with an installed libmlops", allow_module_level=True)

BIN = pathlib.Path(sys.prefix) / "bin" / "mlops"


def test_only_glibc_of_2018_is_needed():
    assert needed <= GLIBC
    versions = {tuple(map(int, one.split("."))) for one in re.findall(r"\bGLIBC_([0-9.]+)", readelf("-V"))}
    assert versions and max(versions) <= (2, 28)


def test_it_takes_no_static_thread_local_memory():
    """Of which a process has about 1.6 kB for all that is loaded late: the import would fail beside others that take it."""
    assert "STATIC_TLS" not in readelf("-d")


def test_nothing_is_bound_to_a_namesake_elsewhere():
    """What is undefined is glibc's or Python's: no symbol of C++, RocksDB, OpenSSL, … that another library could give."""
    names = [line.split()[-1] for line in subprocess.run(["nm", "-D", "--undefined-only", _core.__file__], check=True,
                                                         stdout=subprocess.PIPE, text=True).stdout.splitlines()]
    foreign = {n for n in names if "@GLIBC" not in n and not n.startswith(("Py", "_Py"))}
    # Weak: a hook that a program may give RocksDB, and the start of a thread-local variable that needs none.
    assert foreign <= {"RocksDbThreadYieldAndCheckAbort", "_ZTHN7rocksdb10perf_levelE"}


def test_the_wheel_is_small_and_asks_for_nothing():
    assert os.path.getsize(WHEEL) <= 8_000_000
    with zipfile.ZipFile(WHEEL) as wheel:
        names = wheel.namelist()
        text = wheel.read(next(n for n in names if n.endswith(".dist-info/METADATA"))).decode()
    metadata = email.parser.Parser().parsestr(text)
    assert [one for one in metadata.get_all("Requires-Dist") or [] if "extra ==" not in one] == []
    assert [n for n in names if n.endswith(".so")] == [n for n in names if n.startswith("mlops/_core.c")]
    assert any(n.endswith("LICENSE") for n in names)
    assert re.search(r"-manylinux_2_(\d+)", WHEEL) and int(re.search(r"-manylinux_2_(\d+)", WHEEL)[1]) <= 28


def test_memory_over_bare_python():
    text = "{}import re; print(re.search(r'VmRSS:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    bare = min(int(script(text.format("")).stdout) for _ in range(3))
    with_us = min(int(script(text.format("import mlops; ")).stdout) for _ in range(3))
    print(f"import mlops: {(with_us - bare) / 1024:.1f} MiB over {bare / 1024:.1f}")
    assert with_us - bare <= (15_000_000 if sys.version_info < (3, 14) else 17_000_000) / 1024


def test_a_virtual_environment_with_nothing_else(tmp_path):
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    subprocess.run([PIP, "--disable-pip-version-check", "--python", python, "install", "--no-index", "-q", WHEEL], check=True)
    clean = {"PATH": "/nowhere", "HOME": str(tmp_path), "MLOPS_HOME": str(tmp_path / "root")}
    text = """if True:
        import importlib.metadata, mlops
        assert [one.name for one in importlib.metadata.distributions()] == ["mlops"]
        with mlops.start_run(run_name="bare") as run:
            mlops.log_param("lr", 0.1)
            for step in range(100):
                mlops.log_metric("loss", 1 / (step + 1), step=step)
        print(mlops.get_run(run.info.run_id).data.metrics)
        """
    said = subprocess.run([python, "-I", "-c", text], env=clean, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True).stdout
    assert said.strip() == "{'loss': 0.01}"
    runs = subprocess.run([venv / "bin" / "mlops", "runs", "--json"], env=clean, cwd=tmp_path, check=True, stdout=subprocess.PIPE).stdout
    assert b'"bare"' in runs


def command(*words, **more):
    return subprocess.run([BIN, *map(str, words)], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, **more)


def test_the_command_is_inside(tmp_path):
    env = {**os.environ, "MLOPS_HOME": str(tmp_path / "root")}
    assert command("--version").stdout.strip() == f"mlops {_core.__version__}"
    run = command("run", "start", "--experiment", "shell", "--name", "first", "--param", "lr=0.1", env=env).stdout.strip()
    assert command("log", "--run", run, "loss=0.25", "--step", "5", env=env).returncode == 0
    assert command("run", "end", "--run", run, env=env).returncode == 0
    shown = json.loads(command("show", run, "--json", env=env).stdout)
    assert "0.25" in json.dumps(shown)
    wrong = command("show", "nosuchrun", env=env)
    assert wrong.returncode not in (0, 2) and "nosuchrun" in wrong.stderr
    assert command("nosuchcommand").returncode == 2
    assert command("exec", "--", "sh", "-c", "exit 7", env=env).returncode == 7
    assert subprocess.run([sys.executable, "-m", "mlops", "--version"], stdout=subprocess.PIPE, text=True).stdout == f"mlops {_core.__version__}\n"


def test_the_command_ends_by_signals_as_a_program_does(tmp_path):
    env = {**os.environ, "MLOPS_HOME": str(tmp_path / "root")}
    piped = subprocess.run(["bash", "-c", f'"{BIN}" reference | head -n 1; echo "${{PIPESTATUS[0]}}"'], stdout=subprocess.PIPE,
                           stderr=subprocess.PIPE, text=True, env=env, timeout=60)
    assert piped.stderr == "" and piped.stdout.splitlines()[-1] in ("0", str(128 + signal.SIGPIPE))
    going = subprocess.Popen([BIN, "tail", "--regex", r"(?P<x>\d+)"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, text=True, env=env)
    going.stdin.write("1\n")
    going.stdin.flush()
    assert going.stdout.readline() == "1\n"  # it is at work
    going.send_signal(signal.SIGINT)
    going.stdin.close()
    assert going.wait(30) in (-signal.SIGINT, 128 + signal.SIGINT, 0)
