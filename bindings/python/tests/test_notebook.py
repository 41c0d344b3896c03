"""examples/notebook.ipynb, executed as Jupyter does, and what it then shows; examples/python_trainer.py."""

import os
import subprocess
import sys

import pytest
from conftest import SOURCE

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")


def test_the_notebook_shows_its_runs(tmp_path, monkeypatch):
    notebook = nbformat.read(SOURCE / "examples" / "notebook.ipynb", as_version=4)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    kernel = {"metadata": {"path": str(tmp_path)}}
    manager = nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3", resources=kernel)
    manager.create_kernel_manager()
    # The interpreter of this test, whatever kernels the machine knows.
    manager.km.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager.execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [{key: value for out in cell.outputs for key, value in out.get("data", {}).items()} for cell in cells]
    run = shown[1]["text/html"]
    assert "waves" in run and run.count("<svg") >= 2 and "FINISHED" in run and "<script" not in run
    assert "loss" in run and "rate" in run and "decay" in run
    assert "waves" in shown[2]["text/html"] and "<svg" in shown[2]["text/html"]
    assert shown[3]["text/plain"].startswith("(200, ")
    assert "400 accepted" in cells[4].outputs[0].text
    assert (tmp_path / ".mlops").exists()


def test_the_example_trainer(tmp_path):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}
    done = subprocess.run([sys.executable, str(SOURCE / "examples" / "python_trainer.py")], cwd=tmp_path, env=clean, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["rate 0.03", "rate 0.3", "best"] and "rate 0.3" in lines[-1]
