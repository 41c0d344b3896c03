"""Artifacts, datasets, models and the registry without a server: what was logged is read back from the buffer."""

import io
import json
import pathlib
import zlib

import pytest

import mlops
from mlops import _files
from mlops.client import MlflowClient

numpy = pytest.importorskip("numpy")


def content(run, path):
    return pathlib.Path(mlops.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=path)).read_bytes()


def png(data):
    """(width, height, rows of unfiltered pixels) of a PNG that has one kind of filter or none."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    at, packed = 8, b""
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IDAT":
            packed += data[at + 8 : at + 8 + size]
        at += 12 + size
    return width, height, zlib.decompress(packed)


def test_files_and_folders(tmp_path):
    (tmp_path / "d" / "deep").mkdir(parents=True)
    (tmp_path / "a.bin").write_bytes(b"\0one")
    (tmp_path / "d" / "b.txt").write_text("two")
    (tmp_path / "d" / "deep" / "ü c.txt").write_text("three")
    with mlops.start_run() as run:
        mlops.log_artifact(tmp_path / "a.bin")
        mlops.log_artifact(str(tmp_path / "a.bin"), "below")
        mlops.log_artifacts(tmp_path / "d", "all")
        mlops.log_artifact(tmp_path / "d")
        (tmp_path / "a.bin").write_bytes(b"changed")
    listed = mlops.artifacts.list_artifacts(run_id=run.info.run_id)
    assert [(one.path, one.is_dir, one.file_size) for one in listed] == [
        ("a.bin", False, 4), ("all", True, None), ("below", True, None), ("d", True, None)]
    below = MlflowClient().list_artifacts(run.info.run_id, "all")
    assert [one.path for one in below] == ["all/b.txt", "all/deep"]
    assert content(run, "a.bin") == content(run, "below/a.bin") == b"\0one"
    folder = pathlib.Path(MlflowClient().download_artifacts(run.info.run_id, "", tmp_path / "out"))
    assert (folder / "all" / "deep" / "ü c.txt").read_text() == "three" and (folder / "d" / "b.txt").read_text() == "two"
    assert mlops.artifacts.load_text(f"runs:/{run.info.run_id}/all/b.txt") == "two"


def test_texts_and_dictionaries():
    with mlops.start_run() as run:
        mlops.log_text("grüße\n", "t/words.txt")
        mlops.log_dict({"a": [1, None, 2.5], "where": pathlib.Path("x")}, "d.json")
        mlops.log_stream(io.BytesIO(b"\x00\x01"), "s.bin")
        mlops.log_text("by id", "later.txt", run_id=run.info.run_id)
        assert mlops.get_artifact_uri("d.json") == f"runs:/{run.info.run_id}/d.json"
        with pytest.raises(TypeError, match="text must be a str"):
            mlops.log_text(b"x", "x.txt")
        with pytest.raises(TypeError, match="bytes"):
            mlops.log_stream(io.StringIO("x"), "x.txt")
        with pytest.raises(ValueError, match="JSON"):
            loop = {}
            loop["self"] = loop
            mlops.log_dict(loop, "loop.json")
        with pytest.raises(ValueError):
            mlops.log_text("x", "../out.txt")
        with pytest.raises(LookupError):
            mlops.log_artifact("/no/such/file")
    assert content(run, "t/words.txt").decode() == "grüße\n" and content(run, "s.bin") == b"\0\1"
    assert mlops.artifacts.load_dict(f"runs:/{run.info.run_id}/d.json") == {"a": [1, None, 2.5], "where": "x"}
    assert len(mlops.artifacts.list_artifacts(run_id=run.info.run_id)) == 4
    with pytest.raises(LookupError, match="no artifact 'none'"):
        mlops.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="none")
    with pytest.raises(mlops.FailedPrecondition, match="ended"):
        run.log_param("x", 1)


class Drawing:
    """What matplotlib's figures do."""

    def savefig(self, out, format, dpi=0):
        out.write(f"{format} {dpi}".encode())


def test_pictures():
    grey = numpy.arange(12, dtype="uint8").reshape(3, 4)
    with mlops.start_run() as run:
        mlops.log_image(grey, "grey.png")
        mlops.log_image(numpy.ones((2, 2, 3)), "white.png")
        mlops.log_image(grey[:, :, None].repeat(4, 2), "alpha.png")
        mlops.log_image(grey, key="series", step=3)
        mlops.log_figure(Drawing(), "f.svg", save_kwargs={"dpi": 7})
        for wrong, words in ((numpy.full((2, 2), 300), "0 to 255"), (numpy.full((2, 2), 1.5), "0 to 1"),
                             (numpy.zeros((2, 2, 2)), "height, width"), (numpy.full((1, 1), float("nan")), "0 to 1")):
            with pytest.raises(ValueError, match=words):
                mlops.log_image(wrong, "x.png")
        for wrong in ("text", None, numpy.array([["a"]])):
            with pytest.raises(TypeError):
                mlops.log_image(wrong, "x.png")
        with pytest.raises(ValueError, match="artifact_file, or key"):
            mlops.log_image(grey)
    width, height, rows = png(content(run, "grey.png"))
    assert (width, height) == (4, 3) and len(rows) == 3 * 5
    assert png(content(run, "white.png"))[:2] == (2, 2)
    assert content(run, "f.svg") == b"svg 7"
    assert mlops.artifacts.list_artifacts(run_id=run.info.run_id, artifact_path="images")


def test_tables():
    with mlops.start_run() as run:
        mlops.log_table({"n": [1, 2], "x": [0.5, float("nan")], "t": ["a", "b"], "ok": [True, False]}, "t.json")
        mlops.log_table({"n": [3], "x": [1], "t": ["c"], "ok": [True]}, "t.json")
        with pytest.raises(ValueError, match="has the columns"):
            mlops.log_table({"m": [1]}, "t.json")
        with pytest.raises(TypeError, match="column 'a' has values of int, str"):
            mlops.log_table({"a": [1, "x"]}, "u.json")
        pandas = pytest.importorskip("pandas")
        mlops.log_table(pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}), "frame.json")
    assert json.loads(content(run, "t.json")) == {"columns": ["n", "x", "t", "ok"],
                                                  "data": [[1, 0.5, "a", True], [2, None, "b", False], [3, 1.0, "c", True]]}
    assert json.loads(content(run, "frame.json"))["data"] == [[1, "x"], [2, "y"]]
    assert {one["path"] for one in json.loads(mlops.get_run(run.info.run_id).data.tags["mlflow.loggedArtifacts"])} == {
        "t.json", "frame.json"}


def test_tables_of_several_runs():
    pandas = pytest.importorskip("pandas")
    runs = []
    for number in (1, 2):
        with mlops.start_run() as run:
            mlops.log_param("lr", number)
            mlops.log_table({"n": [number], "lr": ["x"]}, "t/a.json")
            runs.append(run.info.run_id)
    with mlops.start_run():
        mlops.log_dict({"columns": ["n"], "data": [[9]]}, "t/a.json")  # no table
    found = mlops.load_table("t/a.json", extra_columns=["run_id", "params.lr"])
    assert isinstance(found, pandas.DataFrame) and sorted(found["n"]) == [1, 2] and list(found.index) == [0, 1]
    assert {(row.n, row.run_id, row["params.lr"]) for _, row in found.iterrows()} == {(1, runs[0], "1"), (2, runs[1], "2")}
    assert list(mlops.load_table("t/a.json", run_ids=runs[:1])["n"]) == [1]
    assert list(mlops.MlflowClient().load_table("tests", "t/a.json", extra_columns=["run_id"])["run_id"]) != []
    with pytest.warns(UserWarning, match="left out"):
        assert list(mlops.load_table("t/a.json", run_ids=[runs[1], "0" * 32])["n"]) == [2]
    with pytest.raises(LookupError, match="t/b.json"):
        mlops.load_table("t/b.json")


def test_datasets(tmp_path):
    (tmp_path / "d.csv").write_text("a,b\n1,2\n")
    first = mlops.data.from_numpy(numpy.arange(6.0).reshape(3, 2), name="x", source="s3://bucket/x")
    assert first == mlops.data.from_numpy(numpy.arange(6.0).reshape(3, 2), name="x", source="s3://bucket/x")
    assert first.digest != mlops.data.from_numpy(numpy.arange(6.0).reshape(2, 3)).digest
    assert first.source_type == "s3" and json.loads(first.profile)["features_shape"] == [3, 2]
    with mlops.start_run():
        mlops.log_input(first, context="training", tags={"k": "v"})
        mlops.log_input(mlops.data.from_file(tmp_path / "d.csv"))
        with pytest.raises(TypeError, match="mlops.data"):
            mlops.log_input("x")
        with pytest.raises(LookupError):
            mlops.data.from_file(tmp_path / "none")
    pandas = pytest.importorskip("pandas")
    frame = mlops.data.from_pandas(pandas.DataFrame({"a": [1], "b": ["x"]}), name="f")
    assert json.loads(frame.schema)["mlflow_colspec"][0] == {"type": "long", "name": "a", "required": True}


def test_models_and_versions_wait_for_a_server(tmp_path):
    (tmp_path / "m" / "sub").mkdir(parents=True)
    (tmp_path / "m" / "weights.bin").write_bytes(b"w")
    (tmp_path / "m" / "sub" / "more.bin").write_bytes(b"m")
    with mlops.start_run() as run:
        model = mlops.log_model(tmp_path / "m", "net", params={"layers": 3})
        assert model.run_id == run.info.run_id and len(model.uid) == 32
        with pytest.raises(ValueError, match="flavor"):
            mlops.log_model(tmp_path / "m", "net", flavor="sklearn")
        with pytest.raises(LookupError):
            mlops.log_model(tmp_path / "none", "net")
        data = mlops.data.from_numpy(numpy.arange(4.0), name="valid")
        mlops.log_metric("acc", numpy.float32(0.5), step=2, timestamp=5_000, model_id=model.model_id, dataset=data)
        mlops.log_metrics({"acc": 0.75, "f1": 1}, step=3, model_id=model, dataset=data)
        mlops.log_metric("plain", 1.0, dataset=data)
        MlflowClient().log_metric(run.info.run_id, "client", 4, step=1, model_id=model.uid, dataset_name="valid", dataset_digest="d")
        for wrong in ("m-" + "0" * 32, "nosuch", model.name):
            with pytest.raises(LookupError, match="no logged model"):
                mlops.log_metric("acc", 1, model_id=wrong)
        with pytest.raises(TypeError, match='metric "acc"'):
            mlops.log_metric("acc", [1, 2], model_id=model)
        with pytest.raises(TypeError, match="mlops.data"):
            mlops.log_metric("acc", 1, dataset="valid")
    with mlops.start_run() as judge:  # another run's point of the model
        mlops.log_metric("judged", 1, model_id=model)
    assert mlops.get_run(judge.info.run_id).data.metrics == {"judged": 1.0}
    assert [m.run_id for m in mlops.get_logged_model(model.uid).metrics if m.key == "judged"] == [judge.info.run_id]
    step, when, value = (list(column) for column in mlops.read(run.info.run_id, "acc"))
    assert (step, value) == ([2, 3], [0.5, 0.75]) and when[0] == 5_000 and when[1] > 5_000
    assert mlops.get_run(run.info.run_id).data.metrics == {"acc": 0.75, "f1": 1.0, "plain": 1.0, "client": 4.0}
    version = mlops.register_model(model, "digits")
    assert (version.name, version.version, version.status) == ("digits", "", "PENDING_REGISTRATION")
    assert version.pending.status()["state"] == "waiting"
    other = mlops.register_model(f"runs:/{run.info.run_id}/net", "digits", tags={"k": 1})
    assert other.pending.id != version.pending.id
    MlflowClient().set_registered_model_alias("digits", "champion", version)
    with pytest.raises(mlops.DeadlineExceeded):
        version.wait(0.2)
    with pytest.raises(ValueError, match="digits/x"):
        mlops.register_model(model, "digits/x")
    with pytest.raises(mlops.Error, match="(?i)server|tracking URI|destination"):
        MlflowClient().get_registered_model("digits")


def test_loading_what_was_just_logged(tmp_path, monkeypatch):
    """The spool gives a file its final name between the look and the copy: asked again. Loading leaves no folder behind."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    real, moved = _files._known, []

    def moving(run_id, uri):
        uid, files = real(run_id, uri)
        if len(moved) % 3 < 2:
            files = [(name, size, source + ".moved", lost) for name, size, source, lost in files]
        moved.append(uid)
        return uid, files

    with mlops.start_run() as run:
        for i in range(100):  # as it comes
            mlops.log_dict({"i": i}, f"{i}.json")
            assert mlops.artifacts.load_dict(f"runs:/{run.info.run_id}/{i}.json") == {"i": i}
        monkeypatch.setattr(_files, "_known", moving)
        assert json.loads(mlops.artifacts.load_text(f"runs:/{run.info.run_id}/7.json")) == {"i": 7}
        assert len(moved) == 3
    assert list(scratch.iterdir()) == []
    folder = pathlib.Path(mlops.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="8.json")).parent
    assert [one.name for one in scratch.iterdir()] == [folder.name]
