"""The real MLflow server of the delivery benchmarks: prints "URI PYTHON" once it answers, serves until its input ends."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "servers"))
import servers  # noqa: E402

server = servers.MlflowServer("mlflow3").start()
print(server.uri, server.venv / "bin" / "python", flush=True)
try:
    sys.stdin.read()
except KeyboardInterrupt:
    pass
server.stop()
