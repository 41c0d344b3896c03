"""mlops doctor and mlops config against real servers and their faults: what is wrong is named, the rest is ok, no secret is
shown, and the look leaves nothing behind."""

import email.utils
import json
import os
import stat
import subprocess
import time

import pytest

import proxy
from scenario import Scenario


@pytest.fixture
def root(build, tmp_path):
    """A scenario without a server, with one run of 3 points in it."""
    s = Scenario(build, tmp_path / "place")
    s.run = s.mlops("run", "start", "--experiment", "doctor").strip()
    s.mlops("log", "--run", s.run, "a=1", "b=2", "c=3")
    return s


def look(s, *words, env=None, rc=None):
    """-> {name: check}; exit code and checks agree."""
    got = json.loads(s.mlops("doctor", "--json", *words, env=env, rc=None))
    bad = {c["name"] for c in got["checks"] if not c["ok"]}
    assert got["ok"] == (not bad) and s.last_rc == (1 if bad else 0)
    for check in got["checks"]:
        assert check["found"] and check["ok"] == (check["mend"] == ""), check
    return bad, {c["name"]: c for c in got["checks"]}


def files(folder):
    return sorted(str(p) for p in folder.rglob("*"))


def test_all_ok_on_a_real_server(root, server):
    before = files(root.root)
    bad, checks = look(root, "--to", server.uri)
    assert not bad, [checks[name] for name in bad]
    assert checks["server.version"]["found"].startswith("MLflow " + ("3." if server.kind == "mlflow3" else "2."))
    assert "3 points wait" in checks["delivery"]["found"] and "not measured here" in checks["delivery"]["found"]
    assert files(root.root) == before
    root.mlops("sync", "--to", server.uri)
    bad, checks = look(root)  # the root knows where it delivers
    assert not bad and checks["server.uri"]["found"] == server.uri
    assert checks["delivery"]["found"] == "nothing waits"


def test_the_pace_of_a_backlog_is_measured(root, mlflow3):
    lines = "".join(f"step {i} loss={i}\n" for i in range(30_000))
    subprocess.run([str(root.build.mlops), "tail", "--run", root.run, "--quiet", "--regex",
                    r"step (?P<step>\d+) loss=(?P<loss>\S+)"], input=lines, text=True, env=root.env, cwd=root.folder, check=True,
                   timeout=120)
    root.mlops("sync", "--to", mlflow3.uri)
    root.mlops("log", "--run", root.run, "loss=1", "--step", "30001")
    bad, checks = look(root)
    assert not bad
    assert "as measured" in checks["delivery"]["found"]
    pace = int(checks["delivery"]["found"].split(" at ")[1].split(" points/s")[0])
    assert 100 < pace < 1_000_000


FAULTS = {  # what stands in front -> what needs mending
    "html": (lambda request: proxy.answer(200, "<html>Sign in to the hotel</html>"), {"server.api"}),
    "401": (lambda request: proxy.answer(401, "no", content_type="text/plain"), {"server.auth"}),
    "403": (lambda request: proxy.answer(403, "no", content_type="text/plain"), {"server.auth"}),
    "407": (lambda request: proxy.answer(407, "no", content_type="text/plain"), {"server.auth"}),
    "302": (lambda request: proxy.answer(302, Location="https://login.example"), {"server.api"}),
    "404": (lambda request: proxy.answer(404, "not found", content_type="text/plain"), {"server.api"}),
    "502": (lambda request: proxy.answer(502, "<html>Bad Gateway</html>"), {"server.api"}),
    "reset": (lambda request: proxy.lose_request(), {"server.reached"}),
    "cut": (lambda request: proxy.cut_response(), {"server.reached"}),
    "slow": (lambda request: proxy.delay(5), {"server.reached"}),
    "stuck": (lambda request: None if request.index == 0 else proxy.delay(5), {"server.api"}),
    "late": (lambda request: proxy.answer(200, "3.17.2", content_type="text/plain",
                                          Date=email.utils.formatdate(time.time() - 3600, usegmt=True))
             if request.path == "/version" else None, {"server.clock"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_server(root, mlflow3, fault):
    rule, expected = FAULTS[fault]
    with proxy.FaultProxy(mlflow3.uri, rule=rule) as front:
        bad, checks = look(root, "--to", front.uri, "--timeout", "1")
    assert bad == expected, [checks[name] for name in bad | expected if name in checks]


def test_a_server_that_is_away(root):
    bad, checks = look(root, "--to", "http://127.0.0.1:1")
    assert bad == {"server.reached"} and "nothing is lost" in checks["server.reached"]["mend"]
    bad, _ = look(root, "--to", "http://no-such-host.invalid:5000")
    assert bad == {"server.reached"}


def test_certificates(root, mlflow3, tmp_path):
    cert, key = proxy.make_certificate(tmp_path)
    with proxy.FaultProxy(mlflow3.uri, tls=(cert, key)) as front:
        assert front.uri.startswith("https://")
        bad, checks = look(root, "--to", front.uri)
        assert bad == {"server.tls"} and "MLFLOW_TRACKING_SERVER_CERT_PATH" in checks["server.tls"]["mend"]
        bad, checks = look(root, "--to", front.uri, env={"MLFLOW_TRACKING_SERVER_CERT_PATH": str(cert)})
        assert not bad and str(cert) in checks["server.tls"]["found"]
        bad, _ = look(root, "--to", front.uri, env={"MLFLOW_TRACKING_INSECURE_TLS": "true"})
        assert bad == {"server.tls"}
        bad, _ = look(root, "--to", front.uri.replace("https", "http"))
        assert bad == {"server.reached"}


def test_no_secret_is_shown(root, mlflow3):
    env = {"MLFLOW_TRACKING_USERNAME": "anna", "MLFLOW_TRACKING_PASSWORD": "geheim1", "https_proxy": "http://bob:geheim2@127.0.0.1:1",
           "MLFLOW_TRACKING_TOKEN": "geheim3"}
    for words in (["doctor", "--to", mlflow3.uri], ["doctor", "--to", "http://carl:geheim4@127.0.0.1:1"], ["config"],
                  ["config", "--json"], ["doctor", "--json", "--to", "https://127.0.0.1:1"]):
        mark = root.mark()
        out = root.mlops(*words, env=env, rc=None)
        assert root.last_rc in (0, 1)
        assert "geheim" not in out + root.said(mark).split("\n", 1)[1]  # but for the line that says what is called
    assert "anna" in root.mlops("doctor", "--to", mlflow3.uri, env=env)


def as_nobody():
    if os.getuid() != 0:
        pytest.skip("needs root to be somebody else")
    return ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]


def test_a_root_of_somebody_else(root):
    prefix = as_nobody()
    for folder in [root.root, *root.root.parents]:
        if str(folder) != "/":
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    other = Scenario(root.build, root.folder, prefix=prefix)
    bad, checks = look(other)
    assert bad == {"root.owner", "root.write", "slots"}
    assert "chown" in checks["root.owner"]["mend"]
    before = files(root.folder / "root")
    (root.folder / "empty").mkdir(mode=0o755)
    bad, _ = look(other, "--root", str(root.folder / "empty" / "new"))
    assert bad == {"root.write"} and files(root.folder / "root") == before


def in_namespace(script, root):
    if os.getuid() != 0:
        pytest.skip("needs root to mount")
    return subprocess.run(["unshare", "-m", "bash", "-ec", script], env={**root.env, "MLOPS": str(root.build.mlops)}, cwd=root.folder,
                          capture_output=True, text=True, timeout=60)


def test_a_disk_that_is_full(root):
    got = in_namespace("mkdir -p full && mount -t tmpfs -o size=1m none full && mkdir full/root && "
                       "(head -c 2m /dev/zero > full/rest || true) && ls -A full/root >&2 && $MLOPS doctor --root full/root; "
                       "ls -A full/root >&2", root)
    bad = [line.split("\t")[1] for line in got.stdout.splitlines() if line.startswith("mend")]
    assert bad == ["root.write", "disk.free"], got.stdout + got.stderr
    assert "in memory" in got.stdout and ".doctor" not in got.stderr


def test_a_root_that_is_read_only(root):
    got = in_namespace('mount --bind "$MLOPS_HOME" "$MLOPS_HOME" && mount -o remount,ro,bind "$MLOPS_HOME" && $MLOPS doctor', root)
    lines = [line.split("\t") for line in got.stdout.splitlines()]
    bad = {line[1] for line in lines if line[0] == "mend"}
    assert bad <= {"root.write", "slots.rights"} and "root.write" in bad, got.stdout + got.stderr
    assert "ead-only" in dict((line[1], line[2]) for line in lines)["root.write"]


def test_bad_words(root):
    for words in (["--to"], ["--timeout", "x"], ["--timeout", "-1"], ["surplus"]):
        root.mlops("doctor", *words, rc=2)
    root.mlops("config", "surplus", rc=2)


def test_config_says_where_things_come_from(root):
    told = {s["name"]: s for s in json.loads(root.mlops("config", "--json"))["settings"]}
    assert told["root"] == {"name": "root", "value": str(root.root), "origin": "environment", "source": "MLOPS_HOME", "problem": ""}
    assert told["journal_mib"]["origin"] == "default" and told["journal_mib"]["value"] == "64"
    out = root.mlops("config", env={"MLOPS_JOURNAL_MIB": "1"}, rc=1)
    assert "journal_mib\t1\tenvironment (MLOPS_JOURNAL_MIB)" in out
    other = root.folder / "elsewhere"
    told = {s["name"]: s for s in json.loads(root.mlops("config", "--json", "--root", str(other)))["settings"]}
    assert told["root"]["origin"] == "option" and not other.exists()
