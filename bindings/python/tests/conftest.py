"""Tests of the installed package (scripts/python installs the wheel and sets PYTHONPATH to it). Each test has a root of
its own; no test needs the source tree but through MLOPS_SOURCE."""

import os
import pathlib
import signal
import subprocess
import sys
import textwrap

import pytest

import mlops

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE.parent.parent.parent

# A shell starts what it puts into the background with Ctrl-C ignored, and programs inherit that; the tests send SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "MLOPS_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "root"
    mlops.set_tracking_uri(f"mlops:{folder}")
    mlops.set_experiment("tests")
    yield folder
    while mlops.active_run() is not None:
        mlops.end_run()
    mlops.set_tracking_uri("")


def script(text, *args, env=None, check=True, cwd=None, **kwargs):
    """Runs Python code in a process of its own."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}
    clean.update(env or {})
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(text), *map(str, args)], env=clean, cwd=cwd, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **kwargs)
    if check and done.returncode != 0:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done
