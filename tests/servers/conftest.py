"""Fixtures of the server tests. Servers start when first asked for, live for the session, and are always stopped.

MLOPS_BUILD_DIR names the build to test (default build/dev). MLOPS_SERVERS, a comma list of mlflow3, mlflow2 and
postgres, limits which servers are tried (default all).
"""

import os
import pathlib
import signal
import types
import uuid

import pytest

import servers
from rest import Rest
from scenario import Scenario


# A shell starts what it puts into the background with Ctrl-C ignored, and programs inherit that; the tests send SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Authorities of the machine where the tests run would be shown by `mlops config`, and be asked about our own servers.
for _name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
    os.environ.pop(_name, None)


def wanted(name):
    chosen = os.environ.get("MLOPS_SERVERS")
    if chosen is not None and name not in chosen.split(","):
        pytest.skip(f"MLOPS_SERVERS={chosen}")


@pytest.fixture(scope="session")
def build():
    """The programs under test: .dir, .trainer, .mlops (paths)."""
    folder = pathlib.Path(os.environ.get("MLOPS_BUILD_DIR", servers.ROOT / "build" / "dev")).resolve()
    found = types.SimpleNamespace(dir=folder, trainer=folder / "tests" / "trainer", mlops=folder / "src" / "cli" / "mlops")
    for program in (found.trainer, found.mlops):
        assert program.exists(), f"{program} is not built: cmake --build --preset dev"
    return found


@pytest.fixture(scope="session")
def mlflow3():
    wanted("mlflow3")
    server = servers.MlflowServer("mlflow3")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def mlflow2():
    wanted("mlflow2")
    server = servers.MlflowServer("mlflow2")
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres():
    wanted("postgres")
    cluster = servers.Postgres()
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def mlflow3_postgres(postgres):
    server = servers.MlflowServer("mlflow3", store=postgres.database("mlflow3"))
    try:
        yield server.start()
    finally:
        server.stop()


@pytest.fixture(params=["mlflow3", "mlflow2"])
def server(request):
    """Each SQLite server in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def rest(server):
    return Rest(server.uri)


@pytest.fixture
def clean_env():
    """The environment without anything that would steer the SDK."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_"))}


@pytest.fixture
def experiment(request):
    """A name of the test's own."""
    return f"{request.node.name.split('[')[0]}-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def s(build, server, tmp_path):
    """A scenario on each SQLite server in turn."""
    return Scenario(build, tmp_path, server.uri)
