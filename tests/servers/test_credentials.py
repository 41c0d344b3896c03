"""Credentials against peers that look at them: a TLS peer that wants a client certificate (Python's ssl, so OpenSSL), and
one that verifies AWS signatures as AWS does, each in front of a real MLflow server. What is accepted arrives through both;
who shows nothing, a stranger's certificate or a wrong key is refused in words that say what to do, and loses nothing.
"""

import json
import ssl
import subprocess

import pytest

import sigv4
from proxy import FaultProxy, answer
from rest import Rest
from scenario import Scenario
from terminal import in_pipe

KEY_ID, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1"
METRICS = ["loss", "val/acc", "a b-c.d_e:f", "größe"]  # whose names must be encoded in a query, as the signature wants it


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def authority(folder, name):
    openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key",
            "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}")


def certificate(folder, ca, name, extension=""):
    """-> the PEM with certificate and key, as MLFLOW_TRACKING_CLIENT_CERT_PATH wants it."""
    (folder / "extension").write_text(extension or "basicConstraints=CA:FALSE\n")
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key", "-out",
            f"{name}.csr", "-subj", f"/CN={name}")
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2",
            "-out", f"{name}.crt", "-extfile", "extension")
    both = folder / f"{name}-both.pem"
    both.write_text((folder / f"{name}.crt").read_text() + (folder / f"{name}.key").read_text())
    return both


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pki")
    authority(folder, "ours")
    authority(folder, "theirs")
    certificate(folder, "ours", "server", "subjectAltName=IP:127.0.0.1\n")
    certificate(folder, "ours", "me")
    certificate(folder, "theirs", "stranger")
    return folder


@pytest.fixture
def waiting(build, mlflow3, tmp_path, experiment):
    """A scenario with a run that waits; .check(): all of it is on the server, by plain REST."""
    s = Scenario(build, tmp_path, mlflow3.uri)
    s.run = s.mlops("run", "start", "--experiment", experiment, "--name", "one", "--param", "lr=0.1").strip()
    for step in range(3):
        s.mlops("log", "--run", s.run, *(f"{name}={step + 0.5}" for name in METRICS), "--step", step)
    s.mlops("run", "end", "--run", s.run)

    def check():
        run = s.rest.by_uid(experiment, s.run)
        assert run.params == {"lr": "0.1"} and run.status == "FINISHED"
        held = sorted((key, step, value) for key, _, step, value in s.rest.points(run).elements())
        assert held == sorted((name, step, step + 0.5) for name in METRICS for step in range(3))

    def nothing_there():
        assert s.rest.by_uid(experiment, s.run) is None
        assert json.loads(s.mlops("runs", "--json"))["runs"][0]["points"] == 3 * len(METRICS)

    s.all_there, s.nothing_there = check, nothing_there
    return s


def sync(s, uri, env, deadline=4):
    """-> (exit code, what was said). In a pipe, with a deadline: somebody who is refused waits for other credentials."""
    code, out, err = in_pipe(s, "sync", "--to", uri, "--deadline", deadline, env=env)
    return code, out + err


@pytest.mark.parametrize("tls13", [True, False], ids=["1.3", "1.2"])
def test_client_certificate(waiting, pki, mlflow3, tls13):
    s = waiting
    with FaultProxy(mlflow3.uri, tls=(pki / "server.crt", pki / "server.key"), client_ca=pki / "ours.pem") as proxy:
        if not tls13:
            proxy.tls.maximum_version = ssl.TLSVersion.TLSv1_2
        env = {"MLFLOW_TRACKING_SERVER_CERT_PATH": str(pki / "ours.pem")}
        refused = {"none": {}, "a stranger's": {"MLFLOW_TRACKING_CLIENT_CERT_PATH": str(pki / "stranger-both.pem")},
                   "no certificate": {"MLFLOW_TRACKING_CLIENT_CERT_PATH": str(pki / "extension")},
                   "not there": {"MLFLOW_TRACKING_CLIENT_CERT_PATH": str(pki / "nowhere.pem")}}
        for which, more in refused.items():
            code, said = sync(s, proxy.uri, {**env, **more})
            assert code in (1, 4), f"{which}: {code}: {said}"
            assert "client certificate" in said and "MLFLOW_TRACKING_CLIENT_CERT_PATH" in said, f"{which}: {said}"
            code, out, _ = in_pipe(s, "doctor", "--to", proxy.uri, env={**env, **more})
            assert code == 1 and "MLFLOW_TRACKING_CLIENT_CERT_PATH" in out, f"{which}: {out}"
        assert not proxy.log, "a request went through without a certificate"
        s.nothing_there()
        mine = {**env, "MLFLOW_TRACKING_CLIENT_CERT_PATH": str(pki / "me-both.pem")}
        code, said = sync(s, proxy.uri, mine, deadline=60)
        assert code == 0, said
        s.all_there()
        code, out, err = in_pipe(s, "verify", s.run, "--to", proxy.uri, env=mine)
        assert code == 0, out + err


def test_server_of_an_unknown_authority(waiting, pki, mlflow3):
    s = waiting
    with FaultProxy(mlflow3.uri, tls=(pki / "server.crt", pki / "server.key"), client_ca=pki / "ours.pem") as proxy:
        env = {"MLFLOW_TRACKING_CLIENT_CERT_PATH": str(pki / "me-both.pem"),
               "MLFLOW_TRACKING_SERVER_CERT_PATH": str(pki / "theirs.pem")}
        code, said = sync(s, proxy.uri, env)
        assert code in (1, 4) and "the server's TLS certificate was not accepted" in said and "MLFLOW_TRACKING_SERVER_CERT_PATH" in said
        assert not proxy.log
        s.nothing_there()


def test_our_verifier_agrees_with_botocore():
    """Signatures of botocore 1.44.8; tests/http/sigv4_test.cc has the same ones."""
    def made(method, host, target, body, token=""):
        headers = {"host": host, "x-amz-date": "20261127T013914Z", **({"x-amz-security-token": token} if token else {})}
        return sigv4.signature(method, target, headers, body, sorted(headers), SECRET, f"20261127/{REGION}/execute-api/aws4_request")

    assert made("POST", "abc.execute-api.eu-central-1.amazonaws.com", "/prod/api/2.0/mlflow/runs/log-batch", b'{"run_id":"1"}') == \
        "1d424983a794f79f466e7d07cd957802aa6b7333126bf217a2dc47607b1baf65"
    query = "run_id=7&metric_key=val%2Facc%20x&max_results=25000"
    assert made("GET", "abc.example.org:8443", f"/api/2.0/mlflow/metrics/get-history?{query}", b"", "tok/en==") == \
        "522480590bff0f0112e48dd928f8393b793706f78f837d8e7af36f5e36d649f8"
    assert made("GET", "abc.example.org", "/a%20b/c", b"") == "b19b31459bd0223428d559479d9e154e961fb529e1758641096309bcf9ff7ab3"


@pytest.mark.parametrize("session", ["", "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaCXVzLWVhc3Qt=="], ids=["key", "session"])
def test_aws_sigv4(waiting, mlflow3, session):
    s = waiting
    wrongs = []

    def gate(request):
        wrong = sigv4.wrong_with(request, KEY_ID, SECRET, REGION, "execute-api", session)
        wrongs.append((request.endpoint, wrong))
        return answer(403, json.dumps({"message": wrong}), "application/json") if wrong else None

    with FaultProxy(mlflow3.uri, rule=gate) as proxy:
        env = {"MLFLOW_TRACKING_AWS_SIGV4": "true", "AWS_REGION": REGION, "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
        if session:
            env["AWS_SESSION_TOKEN"] = session
        refused = {"no signature": ({"MLFLOW_TRACKING_AWS_SIGV4": "false"}, "Missing Authentication Token"),
                   "a wrong secret": ({"AWS_SECRET_ACCESS_KEY": SECRET[::-1]}, "signature we calculated does not match"),
                   "an unknown key": ({"AWS_ACCESS_KEY_ID": "AKIDNOBODY"}, "security token included in the request is invalid"),
                   "another region": ({"AWS_REGION": "us-east-1"}, "Credential should be scoped"),
                   "no key": ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "AWS_ACCESS_KEY_ID"),
                   "no region": ({"AWS_REGION": ""}, "AWS_REGION")}
        if session:
            refused["an old session"] = ({"AWS_SESSION_TOKEN": "old"}, "expired")
        for which, (more, words) in refused.items():
            code, said = sync(s, proxy.uri, {**env, **more})
            assert code in (1, 4) and words in said, f"{which}: {code}: {said}"
            assert SECRET not in said and (not session or session not in said)
        s.nothing_there()
        assert all(wrong for _, wrong in wrongs)
        wrongs.clear()
        code, said = sync(s, proxy.uri, env, deadline=60)
        assert code == 0, f"{said}\n{wrongs}"
        s.all_there()
        code, out, err = in_pipe(s, "verify", s.run, "--to", proxy.uri, env=env)  # reads: names in the query
        assert code == 0, f"{out}{err}\n{wrongs}"
        assert wrongs and not any(wrong for _, wrong in wrongs), [w for w in wrongs if w[1]]
        assert any(endpoint == "GET metrics/get-history" for endpoint, _ in wrongs)
