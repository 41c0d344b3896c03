"""What is installed: one exported symbol, a quick import that brings nobody along, types that are true."""

import json
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import SOURCE, script

import mlops
from mlops import _core

PACKAGE = pathlib.Path(mlops.__file__).parent
# mypy finds what is installed properly, and refuses to be told where.
MYPY = os.environ if PACKAGE.parent.name == "site-packages" else {**os.environ, "MYPYPATH": str(PACKAGE.parent)}


def test_versions_are_one():
    assert mlops.__version__ == _core.__version__


def test_the_module_exports_its_init_and_nothing_else():
    module = _core.__file__
    names = subprocess.run(["nm", "-D", "--defined-only", module], check=True, stdout=subprocess.PIPE, text=True).stdout
    assert [line.split()[-1] for line in names.splitlines()] == ["PyInit__core"]


def test_import_brings_nobody_along():
    found = script("""
        import sys
        before = set(sys.modules)
        import mlops
        with mlops.start_run() as run:
            mlops.log_metric("x", 1)
            mlops.log_history("y", [1, 2])
        print(sorted(m for m in set(sys.modules) - before if m.split(".")[0] in ("numpy", "pandas", "mlflow", "requests", "IPython")))
        """, env={"MLOPS_HOME": os.path.join(os.getcwd(), "home")}).stdout
    assert found.strip() == "[]"


def test_import_takes_little():
    """CPU time of `import mlops` in a fresh process, least of 5; the goal is 30 ms."""
    best = min(float(script("import time; t = time.process_time(); import mlops; print(time.process_time() - t)").stdout)
               for _ in range(5))
    print(f"import: {best * 1000:.1f} ms of CPU time")
    assert best < 0.12  # a machine that others use has cold caches


def test_typed(tmp_path):
    assert (PACKAGE / "py.typed").exists()
    common = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "env": MYPY}
    if not SOURCE.joinpath("bindings").exists():
        pytest.skip("the source is not here")
    config = str(SOURCE / "pyproject.toml")
    checked = subprocess.run([sys.executable, "-m", "mypy", "--config-file", config, "--strict", "-p", "mlops"], **common)
    assert checked.returncode == 0, checked.stdout
    # pybind11's metaclass is its own, and so is the __init__ of what is not made from Python.
    allowed = tmp_path / "allowed"
    allowed.write_text("mlops\\._core\\.[A-Z][A-Za-z0-9]+\nmlops\\._core\\.[A-Z][A-Za-z0-9]+\\.__init__\n")
    stubs = subprocess.run([sys.executable, "-m", "mypy.stubtest", "--ignore-disjoint-bases", "--ignore-unused-allowlist",
                            "--allowlist", str(allowed), "mlops._core"], **common)
    assert stubs.returncode == 0, stubs.stdout


def pyright(*words, folder):
    done = subprocess.run([sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", *words],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder,
                          env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)})  # it passes over a virtual environment's own
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError:
        raise AssertionError(f"exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}") from None


def test_pyright_is_content():
    """The package's source in pyright's strict mode, as [tool.pyright] of pyproject.toml has it."""
    if not SOURCE.joinpath("bindings").exists():
        pytest.skip("the source is not here")
    said = pyright(folder=SOURCE)
    assert said["summary"]["filesAnalyzed"] > 30
    assert [f"{one['file']}:{one['range']['start']['line'] + 1}: {one['message']}" for one in said["generalDiagnostics"]] == []


def test_a_user_of_pyright_sees_every_type(tmp_path):
    """What is installed, as a py.typed library: nothing is left to be guessed or unknown, but in what stands on others' classes."""
    said = pyright("--verifytypes", "mlops", "--ignoreexternal", folder=tmp_path)["typeCompleteness"]
    exported = [one for one in said["symbols"] if one["isExported"]]
    assert len(exported) > 400 and said["pyTypedPath"]
    vague = [one["name"] for one in exported if not one["isTypeKnown"] or one["isTypeAmbiguous"]]
    assert [name for name in vague if not name.startswith(("mlops.plugin.", "mlops.integrations."))] == []


def test_a_typed_user_is_checked(tmp_path):
    (tmp_path / "user.py").write_text(
        "import mlops as mlflow\n"
        "with mlflow.start_run(run_name='x') as run:\n"
        "    mlflow.log_metric('loss', 0.5, step=1)\n"
        "    handle = run.metric('loss')\n"
        "    handle.log(1.0, 2)\n"
        "runs = mlflow.search_runs(output_format='list')\n"
        "reveal_type(runs[0].data.metrics)\n"
        "mlflow.start_run(nested='no')\n")
    checked = subprocess.run([sys.executable, "-m", "mypy", "--strict", "user.py"], stdout=subprocess.PIPE, text=True,
                             env=MYPY, cwd=tmp_path)
    assert 'Revealed type is "dict[str, float]"' in checked.stdout.replace("builtins.", ""), checked.stdout
    assert 'Argument "nested" to "start_run"' in checked.stdout and "Found 1 error" in checked.stdout, checked.stdout
