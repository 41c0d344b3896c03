"""Reading a root: what the search language means is what a real server means by it, and what export, compare, plot and
show print is what was logged; also in a terminal of 80 columns, and when a block is damaged."""

import collections
import csv
import io
import json
import re
import subprocess

import pytest

from terminal import in_pipe, in_terminal

RUNS = {  # name -> (params, tags, metrics by step)
    "a one": ({"lr": "0.1", "model": "ResNet"}, {"stage": "train", "a.b": "x"}, {"acc": [0.1, 0.9], "val/loss": [2.0, 0.5]}),
    "b": ({"lr": "0.01", "model": "resnet"}, {"stage": "test"}, {"acc": [0.5]}),
    "c": ({"lr": "1"}, {}, {"acc": ["nan"], "val/loss": [-1.5]}),
    "d%_": ({"model": "VGG"}, {"stage": "train"}, {"val/loss": [1e-3]}),
    "e": ({}, {"a.b": "y"}, {}),
}
FILTERS = [
    "", "metrics.acc > 0.4", "metrics.acc >= 0.9", "metrics.acc < 1", "metrics.acc != 0.9", "metrics.acc = 0.5",
    "metrics.`val/loss` < 1", "metrics.\"val/loss\" <= -1.5", "metric.acc <= 9e-1", "metrics.none > 0",
    "params.lr = '0.1'", "params.lr != '0.1'", "params.model LIKE 'Res%'", "params.model ILIKE 'res%'",
    "params.model LIKE '%G_'", "param.model ILIKE '%net'", "parameters.lr = \"1\"",
    "tags.stage = 'train'", "tags.stage != 'train'", "tags.`a.b` = 'x'", "tag.\"a.b\" LIKE '_'",
    "attributes.status = 'FINISHED'", "status != 'FINISHED'", "attributes.run_name = 'b'", "run_name LIKE 'a%'",
    "attributes.`run name` = 'e'", "attributes.run_name ILIKE 'D%'", "start_time > 0", "attributes.end_time > 0",
    "created < 5", "metrics.acc > 0.4 AND params.lr = '0.1'", "metrics.acc > 0.4 and tags.stage = 'test' and status = 'FINISHED'",
    "tags.mlflow.user != 'nobody'", "attributes.user_id != 'nobody'",
]
ORDERS = [["metrics.acc ASC"], ["metrics.acc DESC"], ["metrics.`val/loss`"], ["params.lr DESC"], ["tags.stage", "attributes.run_name DESC"],
          ["attributes.start_time ASC"], ["attributes.run_name"]]


def record(s, experiment):
    for name, (params, tags, metrics) in RUNS.items():
        words = [w for k, v in params.items() for w in ("--param", f"{k}={v}")]
        words += [w for k, v in tags.items() for w in ("--tag", f"{k}={v}")]
        run = s.mlops("run", "start", "--experiment", experiment, "--name", name, *words).strip()
        for step in range(2):
            values = [f"{k}={v[step]}" for k, v in metrics.items() if len(v) > step]
            if values:
                s.mlops("log", "--run", run, *values, "--step", step)
        s.mlops("run", "end", "--run", run)


def here(s, experiment, text, order):
    words = [w for o in order for w in ("--order-by", o)]
    runs = json.loads(s.mlops("runs", "--json", "--experiment", experiment, "--filter", text, *words))["runs"]
    return [r["server_id"] for r in runs]


def there(s, experiment, text, order):
    body = {"experiment_ids": [s.rest.experiment_id(experiment)], "filter": text, "order_by": order, "max_results": 100}
    return [r["info"]["run_id"] for r in s.rest.call("POST", "runs/search", body).get("runs", [])]


def test_the_search_language_is_the_servers(s, experiment):
    record(s, experiment)
    s.sync()
    names = {r.run_id: r.name for r in s.rest.runs(experiment)}
    assert len(names) == len(RUNS)
    wrong = []
    for text in FILTERS:
        ours, theirs = here(s, experiment, text, []), there(s, experiment, text, [])
        # MLflow 2 stores NaN as 0 and compares that; MLflow 3 and we do not.
        nan = {i for i, n in names.items() if n == "c"} if text.startswith(("metrics.acc", "metric.acc")) else set()
        if set(ours) - nan != set(theirs) - nan or len(ours) != len(set(ours)):
            wrong.append(f"{text!r}: ours {[names[i] for i in ours]}, theirs {[names[i] for i in theirs]}")
    for order in ORDERS:
        ours, theirs = here(s, experiment, "", order), there(s, experiment, "", order)
        if ours != theirs:
            wrong.append(f"{order}: ours {[names[i] for i in ours]}, theirs {[names[i] for i in theirs]}")
    assert not wrong, "\n".join(wrong)
    for text in ("metrics.acc > 'x'", "params.lr > '0.1'", "metrics.acc > 1 or metrics.acc < 0", "nothing = 1", "params.lr = '"):
        rc, out, err = in_pipe(s, "runs", "--filter", text)
        assert rc == 2 and out == "" and err.startswith("mlops: filter "), (text, rc, err)


def test_export_is_what_was_logged(s, experiment):
    s.train("start", experiment, "one", "id", "id", "points", 0, 3, 2500, 0, 3, "special", "odd")
    run = s.id("id")
    rows = list(csv.DictReader(io.StringIO(s.mlops("export", run))))
    lines = [json.loads(line) for line in s.mlops("export", run, "--format", "jsonl").splitlines()]
    assert len(rows) == len(lines) >= 7500
    for row, line in zip(rows, lines):
        assert row["run_id"] == line["run_id"] == run and row["metric"] == line["metric"]
        assert int(row["step"]) == line["step"] and int(row["time_ms"]) == line["time_ms"]
        assert float(row["value"]) == float(line["value"]) or row["value"] in ("nan", "-nan")
    s.sync()
    held = collections.Counter(key for key, _, _, _ in s.rest.points(s.server_run(experiment, run)).elements())
    mine = collections.Counter(row["metric"] for row in rows)
    assert {k: n for k, n in mine.items() if k.startswith("lane")} == {k: n for k, n in held.items() if k.startswith("lane")}
    metric = next(iter(mine))
    only = list(csv.DictReader(io.StringIO(s.mlops("export", run, "--metric", metric))))
    assert {row["metric"] for row in only} == {metric} and len(only) == mine[metric]
    target = s.folder / "out.csv"
    s.mlops("export", "--output", target)
    assert len(target.read_text().splitlines()) == len(rows) + 1
    before = target.read_text()
    for words, code in ((("export", "--output", s.folder / "no" / "x"), 3), (("export", "ffffffff"), 3), (("export", "--format", "xml"), 2),
                        (("export", "--output", "/dev/full"), 5)):
        rc, _, err = in_pipe(s, *words)
        assert rc == code and err, words
    assert target.read_text() == before and not list(s.folder.glob("*.part-*"))
    full = subprocess.run([str(s.build.mlops), "export", run], env=s.env, cwd=s.folder, stdout=open("/dev/full", "w"), stderr=subprocess.PIPE)
    assert full.returncode == 5 and b"No space left" in full.stderr


def test_pages_fit_a_terminal_of_80_columns(s, experiment):
    record(s, experiment)
    first = json.loads(s.mlops("runs", "--json", "-o", "attributes.run_name"))["runs"][0]["id"]
    for words in (["runs"], ["runs", "-c", "id,name,metrics.acc,params.lr,tags.stage"], ["experiments"], ["show", first],
                  ["compare", "--experiment", experiment], ["plot", first, "-m", "acc", "-m", "val/loss"], ["--help"],
                  ["runs", "--help"], ["plot", "--experiment", experiment, "-m", "acc", "--log", "--smooth", "0.5", "-x", "time"]):
        rc, shown = in_terminal(s, *words, env={"LANG": "C.UTF-8", "TERM": "xterm"})
        plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", shown)
        assert rc == 0 and plain.strip(), (words, rc, shown)
        if "--help" not in words:
            assert all(len(line) <= 80 for line in plain.splitlines()), [line for line in plain.splitlines() if len(line) > 80]
        rc, out, _ = in_pipe(s, *words)
        assert rc == 0 and "\x1b" not in out
        rc, shown = in_terminal(s, *words, env={"NO_COLOR": "1"})
        assert rc == 0 and "\x1b[3" not in shown
    rc, _, err = in_pipe(s, "runs", "--watch", "1")
    assert rc == 2 and "terminal" in err
    svg = s.folder / "x.svg"
    s.mlops("plot", first, "--output", svg)
    assert svg.read_text().startswith("<svg ") and svg.read_text().count("<path") > 5


def test_a_damaged_block_is_named_and_left_out(s, experiment):
    s.train("start", experiment, "whole", "id", "id", "points", 0, 1, 3000, 0, 1)
    good = s.mlops("export", s.id("id")).splitlines()
    [table] = [p for p in s.root.rglob("db/*.sst")] or [None]
    data = bytearray(table.read_bytes())
    # A flipped bit inside the block: RocksDB's own checksum names it.
    at = len(data) // 3
    data[at] ^= 0x10
    table.write_bytes(data)
    rc, out, err = in_pipe(s, "export", s.id("id"))
    assert rc in (1, 5) and err.startswith("mlops: ") and len(out.splitlines()) < len(good), (rc, err)
    assert json.loads(s.mlops("runs", "--json"))["runs"][0]["points"] == 3000  # listing does not need the block


def test_a_damaged_summary_is_named(s, experiment):
    s.train("start", experiment, "whole", "id", "id", "points", 0, 1, 10, 0, 1)
    [summary] = list(s.root.rglob("summary"))
    data = bytearray(summary.read_bytes())
    data[len(data) // 2] ^= 1
    summary.write_bytes(data)
    rc, out, err = in_pipe(s, "runs")
    assert rc == 1 and str(summary.parent) in err and "cannot be listed" in err
    s.train("start", experiment, "next", "id", "id2")  # takes the slot over and writes it anew
    assert len(s.mlops("runs").splitlines()) == 2


def test_best_is_told_or_known_and_never_guessed(s, experiment):
    ids = []
    for energy in ((3, -5, 1), (2, -4, 6)):
        ids.append(s.mlops("run", "start", "--experiment", experiment).strip())
        for step, value in enumerate(energy):
            s.mlops("log", "--run", ids[-1], f"energy={value}", f"loss={value}", "--step", step)

    def best(*words):
        rows = [line.split("\t") for line in s.mlops("show", ids[0], *words).splitlines()]
        return {row[0]: (row[3], row[4]) for row in rows if row[0] in ("energy", "loss")}

    assert best() == {"energy": ("-", "-"), "loss": ("-5", "1")}
    assert best("--higher", "energy") == {"energy": ("3", "0"), "loss": ("-5", "1")}
    assert best("--lower", "energy", "--higher", "loss") == {"energy": ("-5", "1"), "loss": ("3", "0")}
    assert s.mlops("compare", *ids).splitlines()[-2:] == ["metrics.energy\t1\t6", "metrics.loss\t1 *\t6"]
    assert "metrics.energy\t1\t6 *" in s.mlops("compare", *ids, "--higher", "energy")
    energy, loss = json.loads(s.mlops("compare", *ids, "--json"))["metrics"]
    assert energy["lower_is_better"] is None and energy["best"] == [None, None] and energy["last"] == [1, 6]
    assert loss["lower_is_better"] is True and loss["best"] == [-5, -4]


def test_bad_input(s, experiment):
    s.train("start", experiment, "r", "id", "id", "points", 0, 1, 10, 0, 1)
    run = s.id("id")
    for words, code, says in (
            (["runs", "--columns", "id,nope"], 2, "there is no column"), (["runs", "--order-by", "metrics.acc UP"], 2, "ASC or DESC"),
            (["runs", "--limit", "-1"], 2, ""), (["compare"], 2, "name the runs"), (["plot"], 2, "name the runs"),
            (["plot", run, "-m", "nope"], 3, "none of these runs"), (["plot", run, "--smooth", "1"], 2, "below 1"),
            (["plot", run, "--width", "3"], 2, "--width"), (["plot", run, "-x", "epoch"], 2, ""),
            (["plot", run, "--output", "/none/x.svg"], 5, "cannot write"), (["show", "zz"], 3, "at least 4"), (["show", run, "--metric", "nope"], 3, "no metric"),
            (["runs", "--root", s.folder / "empty"], 3, "no buffer"), (["compare", run, "ffffffff"], 3, "no run")):
        rc, _, err = in_pipe(s, *words)
        assert rc == code and says in err, (words, rc, err)
