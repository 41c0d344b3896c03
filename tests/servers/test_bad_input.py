"""Input that is wrong (tests/tools/bad_input.cc): each call answers with its code and words that name the fault; the good
records beside it are on the server."""

import subprocess

import pytest

from expect import DBL_MAX
from scenario import Scenario

REFUSED = {  # what was tried -> a word of the message that names the fault
    "experiment 257": "256", "experiment utf8": "UTF-8",
    "param nul": "NUL", "param utf8": "UTF-8", "tag utf8": "UTF-8", "tag nul": "NUL", "name 251": "250",
    "name empty": "empty", "name utf8": "UTF-8", "5000 params": "250", "metrics with a bad one": "empty",
}
for _kind in ("metric", "param", "tag"):
    for _label, _word in (("empty", "empty"), ("251", "251"), ("300", "300"), ("nul", "character"), ("utf8", "UTF-8"),
                          ("half-char", "UTF-8"), ("surrogate", "UTF-8"), ("newline", "character"), ("dots", "path")):
        REFUSED[f"{_kind} key {_label}"] = _word


def test_bad_input(build, server, tmp_path):
    s = Scenario(build, tmp_path, server.uri)
    got = subprocess.run([str(build.dir / "tests" / "bad_input"), str(s.root), str(tmp_path / "answers"), server.uri], env=s.env,
                         cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180, text=True)
    assert got.returncode == 0, got.stdout
    uid, *lines = (tmp_path / "answers").read_text().splitlines()
    answers = {tried: (code, message) for tried, code, message in (line.split("\t", 2) for line in lines)}
    for tried, word in REFUSED.items():
        code, message = answers[tried]
        assert code == "invalid_argument" and word in message, f"{tried}: {code}: {message}"
    assert answers["time before 1970"][0] == "invalid_argument"
    assert answers["param once other"][0] == "already_exists" and "first" in answers["param once other"][1]
    accepted = [tried for tried, (code, _) in answers.items() if code == "ok"]
    assert {"metric key 250", "param key 250", "tag key 250", "param once again", "param 6001", "param 6001 of 2 bytes",
            "param empty", "tag 8001", "step max", "step min", "end", *(f"value {i}" for i in range(7))} <= set(accepted)

    run = s.server_run("bad_input", uid, seconds=60)
    assert run.status == "FINISHED"
    odd = {step: value for _, step, value in s.rest.history(run.run_id, "odd")}
    assert odd == {0: "NaN", 1: DBL_MAX, 2: -DBL_MAX, 3: 0.0, 4: 5e-324, 5: -5e-324, 6: 2.2250738585072014e-308 / 2,
                   2**63 - 1: 8.0, -2**63: 9.0}
    assert sorted(s.rest.history(run.run_id, "k" * 250), key=lambda p: p[1])[0][1:] == (1, 1.0)
    assert {key for key, _, _, _ in s.rest.points(run)} == {"odd", "k" * 250, "good1", "good2"}
    assert run.params["once"] == "first" and run.params["empty"] == "" and run.params["k" * 250] == "value"
    assert run.params["long"] == "x" * 6000 and run.tags["mlops.truncated.long"] == "6001"
    assert run.params["wide"] == "ü" * 6000
    assert sum(key.startswith("p") and key[1:].isdigit() for key in run.params) == 4999  # 5,000 but the bad one
    assert run.tags["longtag"] == "y" * 8000
    dropped = {tried.split()[1]: int(tried.split()[2]) for tried in answers if tried.startswith("dropped ")}
    assert dropped.get("invalid", 0) >= 9  # handles of bad names: each point counted
