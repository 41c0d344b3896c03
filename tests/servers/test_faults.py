"""What goes wrong between the SDK and a server, through a proxy that spoils chosen requests (proxy.py): the final state
on the server is that of an undisturbed delivery, and while it cannot be, the command says why and what to do."""

import copy
import json
import os
import subprocess
import time

import pytest

import proxy as faults
from proxy import FaultProxy
from scenario import Scenario
from servers import free_port

T0 = 1700000000000
POINTS = 120


def record(s, experiment, lane=12, points=POINTS):
    """A short finished run in the buffer: params, tags, points with fixed times (NaN and Inf among them)."""
    s.train("start", experiment, "short", "id", "id", "params", 100, 3, "tags", 110, 2, "tag", "gone", "x", "stamped", lane,
            points, T0, "delete-tag", "gone", "note", "a note", "flush", "durable", 20000)


def want_of(s, lane=12):
    return s.expected().points(s.counter, lane).text(s.counter, 100, "params").text(s.counter, 110, "tags")


def via(s, uri):
    """The same scenario whose trainers deliver to `uri`; s.rest still reads the real server."""
    other = copy.copy(s)
    other.uri = uri
    return other


def sync_to(s, uri, *words, env=None, seconds=120):
    """mlops sync -> (exit status, what it printed, both streams)."""
    got = subprocess.run([str(s.build.mlops), "sync", "--to", uri, *map(str, words)], env={**s.env, **(env or {})}, cwd=s.folder,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, text=True)
    with open(s.log, "a") as log:
        log.write(f"$ mlops sync --to {uri} {' '.join(map(str, words))}\n{got.stdout}[{got.returncode}]\n")
    return got.returncode, got.stdout


def good_sync(s, uri, **kwargs):
    rc, said = sync_to(s, uri, **kwargs)
    assert rc == 0, said[-3000:]
    return said


def bad_sync(s, uri, *needles, env=None, deadline=8):
    """The sync fails and says all of `needles` (any case)."""
    rc, said = sync_to(s, uri, "--deadline", deadline, env=env)
    assert rc != 0, said
    for needle in needles:
        assert needle.lower() in said.lower(), f"{needle!r} is not in: {said}"
    return said


def state(s, experiment):
    """All that the server holds of the experiment's only run, without what differs from run to run."""
    runs = s.rest.runs(experiment)
    assert len(runs) == 1, f"{len(runs)} runs on the server\n{s.tail()}"
    run = runs[0]
    assert run.uid == s.id("id")
    tags = {k: v for k, v in run.tags.items() if not k.startswith(("mlops.sync.", "mlops.uid"))}
    return {"name": run.name, "status": run.status, "params": run.params, "tags": tags, "points": s.rest.points(run),
            "has_end": run.end_time > 0}


def check(s, experiment):
    got = state(s, experiment)
    assert got["status"] == "FINISHED" and "gone" not in got["tags"] and got["tags"]["mlflow.note.content"] == "a note"
    s.check(experiment, s.id("id"), want_of(s))
    return got


# -- one fault at each request index -----------------------------------------------------------------------------------
@pytest.mark.parametrize("fault", [faults.lose_request, faults.drop_response, faults.cut_response], ids=lambda f: f.__name__)
def test_each_request_index(build, server, tmp_path, experiment, fault):
    def deliver(name, spoil):
        s = Scenario(build, tmp_path / name, server.uri)
        where = f"{experiment}-{name}"
        record(s, where)
        with FaultProxy(server.uri, spoil) as proxy:
            good_sync(s, proxy.uri)
        return check(s, where), proxy

    undisturbed, proxy = deliver("none", {})
    count = len(proxy.log)
    assert {"POST runs/create", "POST runs/log-batch", "POST runs/update"} <= set(proxy.endpoints())
    for index in range(count):
        got, proxy = deliver(f"at{index}", {index: fault()})
        spoiled = proxy.log[index]
        assert spoiled.fault == fault.__name__ and (spoiled.status == 0) == (fault is faults.lose_request)
        assert got == undisturbed, f"request {index} ({spoiled.endpoint}): {proxy.endpoints()}"
        creates = [r for r in proxy.log if r.endpoint == "POST runs/create" and r.status == 200]
        assert len(creates) == 1, "the run was created twice"


@pytest.mark.parametrize("fault", [faults.lose_request, faults.drop_response], ids=lambda f: f.__name__)
def test_every_third_request(build, server, tmp_path, experiment, fault):
    s = Scenario(build, tmp_path, server.uri)
    record(s, experiment)
    with FaultProxy(server.uri, rule=lambda r: fault() if r.index % 3 == 1 else None) as proxy:
        good_sync(s, proxy.uri)
    check(s, experiment)


# -- the server away ---------------------------------------------------------------------------------------------------
def test_down_at_the_start(s, experiment):
    port = free_port()
    uri = f"http://127.0.0.1:{port}"
    via(s, uri).train("start", experiment, "short", "id", "id", "params", 100, 3, "tags", 110, 2, "tag", "gone", "x", "stamped", 12,
                      POINTS, T0, "delete-tag", "gone", "note", "a note", exit_ms=500, deliver=True)
    bad_sync(s, uri, "cannot connect", deadline=3)
    with FaultProxy(s.uri, port=port):
        good_sync(s, uri)
    check(s, experiment)


def test_down_in_the_middle(s, experiment):
    first = FaultProxy(s.uri)
    with first:
        trainer = via(s, first.uri).start("start", experiment, "short", "id", "id", "points", 0, 2, 3000, 500, 2, "flush", "delivered", 60000,
                          deliver=True)
        until = time.monotonic() + 60
        while "POST runs/log-batch" not in first.endpoints() and time.monotonic() < until:
            time.sleep(0.05)
        assert trainer.poll() is None, s.tail()
    time.sleep(2)
    assert trainer.poll() is None, "the trainer stopped because its server did"
    with FaultProxy(s.uri, port=first.port) as second:
        assert s._finish(trainer, 120, 0) == 0
    assert "POST runs/log-batch" in second.endpoints()
    run = s.check(experiment, s.id("id"), s.expected().points(s.counter, 0, 2).points(s.counter, 1, 2))
    assert run.status == "FINISHED" and len(s.rest.runs(experiment)) == 1


def test_down_at_the_end(s, experiment):
    with FaultProxy(s.uri) as proxy:
        trainer = via(s, proxy.uri).start(
            "start", experiment, "short", "id", "id", "params", 100, 3, "tags", 110, 2, "tag", "gone", "x", "flush", "delivered",
            60000, "sleep", 3000, "stamped", 12, POINTS, T0, "delete-tag", "gone", "note", "a note", exit_ms=1500, deliver=True)
        until = time.monotonic() + 60
        while not s.rest.runs(experiment) and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(1)
    began = time.monotonic()
    assert s._finish(trainer, 60, 0) == 0
    assert time.monotonic() - began < 20, "the exit is bounded"
    with FaultProxy(s.uri, port=proxy.port):
        good_sync(s, proxy.uri)
    check(s, experiment)


# -- answers that are none ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("where", ["everywhere", "log-batch"])
def test_html_200(s, experiment, where):
    record(s, experiment)
    page = faults.answer(200, "<html><body>Please log in</body></html>")
    with FaultProxy(s.uri, rule=lambda r: page if where == "everywhere" or where in r.path else None) as proxy:
        bad_sync(s, proxy.uri, "login page")
        port = proxy.port
    status = json.loads(s.mlops("status", "--json", rc=None))  # a page for every call is no server to remember
    assert [d["delivered"] for d in status["destinations"]] == ([] if where == "everywhere" else [0])
    with FaultProxy(s.uri, port=port) as proxy:
        good_sync(s, proxy.uri)
    check(s, experiment)


def test_redirect_is_said(s, experiment):
    record(s, experiment)
    moved = faults.answer(302, "", Location="https://user:pw@sso.example/login?x=1")
    with FaultProxy(s.uri, rule=lambda r: moved) as proxy:
        said = bad_sync(s, proxy.uri, "redirect", "https://sso.example/login")
        assert "pw@" not in said
        proxy.rule = None
        good_sync(s, proxy.uri)
    check(s, experiment)


def test_wrong_path_is_said(s, experiment):
    record(s, experiment)
    bad_sync(s, s.uri + "/no/such/prefix", "path of the tracking URI")
    assert s.rest.runs(experiment) == []


# -- limits ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured(s, experiment, status):
    record(s, experiment)
    asked = []

    def rule(request):
        if "log-batch" in request.path and len(asked) < 2:
            asked.append(request.time)
            return faults.answer(status, "slow down", "text/plain", Retry_After="2")
        return None

    with FaultProxy(s.uri, rule=rule) as proxy:
        good_sync(s, proxy.uri)
    check(s, experiment)
    assert len(asked) == 2
    spoiled = [r for r in proxy.log if r.fault == "answer"]
    for bad in spoiled:
        after = min(r.time for r in proxy.log if r.index > bad.index)
        assert after - bad.time >= 1.9, f"came back after {after - bad.time:.2f} s"


def test_413_halves(s, experiment):
    record(s, experiment)
    limit = 3000
    too_large = faults.answer(413, "<html><h1>413 Request Entity Too Large</h1></html>")
    with FaultProxy(s.uri, rule=lambda r: too_large if len(r.body) > limit else None) as proxy:
        good_sync(s, proxy.uri)
    check(s, experiment)
    assert any(r.fault for r in proxy.log)
    assert all(len(r.body) <= limit for r in proxy.log if r.status)


def test_413_and_killed_after_the_watermark(s, experiment):
    """Points that went in parts have a watermark that goes by itself: killed when it is there and the ledger says nothing yet."""
    record(s, experiment)
    limit = 3000
    too_large = faults.answer(413, "<html><h1>413 Request Entity Too Large</h1></html>")
    with FaultProxy(s.uri, rule=lambda r: too_large if len(r.body) > limit else None) as proxy:
        rc, said = sync_to(s, proxy.uri, env={"MLOPS_KILL_AT": "sync.after_watermark:1"})
        assert rc == -9, said
        good_sync(s, proxy.uri)
    check(s, experiment)


# -- credentials -------------------------------------------------------------------------------------------------------
def test_401_then_good_credentials(s, experiment):
    record(s, experiment)
    good = "Basic YW5uOmNvcnJlY3QtaG9yc2U="  # ann:correct-horse
    no = faults.answer(401, "You are not authenticated.", "text/html", WWW_Authenticate='Basic realm="mlflow"')
    env = {"MLFLOW_TRACKING_USERNAME": "ann", "MLFLOW_TRACKING_PASSWORD": "correct-horse"}
    with FaultProxy(s.uri, rule=lambda r: None if r.headers.get("authorization") == good else no) as proxy:
        bad_sync(s, proxy.uri, "MLFLOW_TRACKING_USERNAME")
        wrong = bad_sync(s, proxy.uri, "credentials", env={**env, "MLFLOW_TRACKING_PASSWORD": "wrong-horse"})
        assert s.rest.runs(experiment) == []
        said = good_sync(s, proxy.uri, env=env)
    check(s, experiment)
    assert "horse" not in wrong + said
    for folder, _, names in os.walk(s.root):
        for name in names:
            data = open(os.path.join(folder, name), "rb").read()
            assert b"correct-horse" not in data and b"YW5uOmNvcnJlY3Q" not in data, f"a secret is in {folder}/{name}"


def test_403_names_its_cause(s, experiment):
    record(s, experiment)
    host = faults.answer(403, "Invalid Host header - possible DNS rebinding attack detected", "text/html")
    with FaultProxy(s.uri, rule=lambda r: host) as proxy:
        bad_sync(s, proxy.uri, "--allowed-hosts")
        proxy.rule = lambda r: faults.answer(403, "Permission denied", "text/html")
        bad_sync(s, proxy.uri, "permission")
        proxy.rule = None
        good_sync(s, proxy.uri)
    check(s, experiment)


def test_wrong_certificate(s, experiment, tmp_path):
    record(s, experiment)
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir(), other.mkdir()
    tls = faults.make_certificate(mine)
    not_it, _ = faults.make_certificate(other)
    with FaultProxy(s.uri, tls=tls) as proxy:
        for env in ({}, {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(not_it)}):
            bad_sync(s, proxy.uri, "certificate", "MLFLOW_TRACKING_SERVER_CERT_PATH", env=env)
        bad_sync(s, proxy.uri, "nowhere.pem", env={"MLFLOW_TRACKING_SERVER_CERT_PATH": str(tmp_path / "nowhere.pem")})
        assert proxy.log == [], "something was sent to a server that is not proved"
        good_sync(s, proxy.uri, env={"MLFLOW_TRACKING_SERVER_CERT_PATH": str(tls[0])})
    check(s, experiment)


def test_insecure_tls_is_a_choice_with_a_warning(s, experiment, tmp_path):
    record(s, experiment)
    with FaultProxy(s.uri, tls=faults.make_certificate(tmp_path)) as proxy:
        said = good_sync(s, proxy.uri, env={"MLFLOW_TRACKING_INSECURE_TLS": "true"})
    assert "NOT verified" in said
    check(s, experiment)


# -- another server behind the same URI --------------------------------------------------------------------------------
def test_another_server_is_parked_and_said(build, mlflow3, mlflow2, tmp_path, experiment):
    s = Scenario(build, tmp_path, mlflow3.uri)
    record(s, experiment)
    with FaultProxy(mlflow3.uri) as proxy:
        good_sync(s, proxy.uri)
    check(s, experiment)
    s.train("resume", s.id("id"), "stamped", 12, POINTS + 40, T0)
    with FaultProxy(mlflow2.uri, port=proxy.port) as stranger:
        bad_sync(s, proxy.uri, "another server")
        changed = [r for r in stranger.log if r.method != "GET" and not r.path.endswith("runs/search")]
        assert changed == [], f"something was written to another server: {[r.endpoint for r in changed]}"
    with FaultProxy(mlflow3.uri, port=proxy.port):
        good_sync(s, proxy.uri)
    check(s, experiment)


# -- the calls themselves ----------------------------------------------------------------------------------------------
def test_the_api_itself(build, server):
    program = build.dir / "tests" / "test_mlflow"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    got = subprocess.run([str(program), "--gtest_filter=Live.*"], env={**os.environ, "MLOPS_TEST_SERVER": server.uri},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert got.returncode == 0 and "SKIPPED" not in got.stdout, got.stdout[-4000:]
