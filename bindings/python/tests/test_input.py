"""Bad input: each raises one of our errors, which is also the built-in it belongs to, says what is wrong, and loses
nothing that came before."""

import pytest

import mlops
from mlops import InvalidArgument, WrongType


@pytest.fixture
def run():
    with mlops.start_run() as run:
        mlops.log_metric("before", 1)
        yield run
    assert mlops.get_run(run.info.run_id).data.metrics == {"before": 1.0}


@pytest.mark.parametrize("value, error, words", [
    (None, TypeError, "None"),
    ("abc", ValueError, "'abc' (str)"),
    ([1, 2], TypeError, "log_history"),
    ({}, TypeError, "dict"),
    (object(), TypeError, "object"),
    (1j, TypeError, "complex"),
    (10**400, ValueError, "greatest double"),
])
def test_values(run, value, error, words):
    for call in (lambda: mlops.log_metric("bad", value), lambda: run.metric("before").log(value),
                 lambda: mlops.log_metrics({"good": 1, "bad": value})):
        with pytest.raises(error) as caught:
            call()
        assert isinstance(caught.value, mlops.Error) and words in str(caught.value)


@pytest.mark.parametrize("step", ["x", 1.5, [], 2**70, float("nan"), float("inf")])
def test_steps(run, step):
    with pytest.raises((TypeError, ValueError)) as caught:
        mlops.log_metric("bad", 1, step=step)
    assert isinstance(caught.value, mlops.Error) and "step" in str(caught.value)


@pytest.mark.parametrize("timestamp", [-1, "x", float("nan"), 2**70])
def test_timestamps(run, timestamp):
    with pytest.raises(mlops.Error, match="timestamp"):
        mlops.log_metric("bad", 1, timestamp=timestamp)


@pytest.mark.parametrize("name", ["", "a" * 251, "tab\there", "nul\0", "\ud800", "../up", "ü*"])
def test_names(run, name):
    for call in (lambda: mlops.log_metric(name, 1), lambda: run.metric(name), lambda: mlops.log_param(name, 1),
                 lambda: mlops.set_tag(name, 1), lambda: mlops.log_metrics({name: 1}),
                 lambda: mlops.log_history(name, [1])):
        with pytest.raises(InvalidArgument):
            call()


@pytest.mark.parametrize("name", [None, 1, b"bytes", ("a",)])
def test_names_of_the_wrong_type(run, name):
    for call in (lambda: mlops.log_metric(name, 1), lambda: run.metric(name), lambda: mlops.log_param(name, 1),
                 lambda: mlops.set_tag(name, 1), lambda: mlops.log_metrics({name: 1})):
        with pytest.raises(WrongType):
            call()


def test_texts(run):
    for value in ("nul\0", "\ud800"):
        with pytest.raises(InvalidArgument):
            mlops.log_param("p", value)
        with pytest.raises(InvalidArgument):
            mlops.set_tag("t", value)
    with pytest.raises(InvalidArgument):
        mlops.set_experiment("nul\0")
    with pytest.raises(InvalidArgument):
        mlops.start_run(run_name="\ud800", nested=True)


def test_a_param_twice(run):
    mlops.log_param("p", 1)
    mlops.log_param("p", 1)
    with pytest.raises(mlops.AlreadyExists, match="p"):
        mlops.log_param("p", 2)
    assert mlops.get_run(run.info.run_id).data.params == {"p": "1"}


def test_histories(run):
    numpy = pytest.importorskip("numpy")
    for values, steps in [
        ([1, "x"], None), ("text", None), (7, None), ([1, 2], [1]), (numpy.zeros((2, 2)), None),
        (numpy.array([1, object()], dtype=object), None), (numpy.array(["a"]), None), (numpy.array([1j]), None),
        ([1], [1.5]), ([1], numpy.array([0.5])),
    ]:
        with pytest.raises(mlops.Error):
            mlops.log_history("bad", values, steps)
    with pytest.raises(mlops.Error, match="timestamps"):
        mlops.log_history("bad", [1], timestamps=[-1])
    mlops.log_history("nothing", [])


def test_signatures(run):
    for call in (lambda: mlops.log_metric(), lambda: mlops.log_metric("a"), lambda: mlops.log_metric("a", 1, stepp=1),
                 lambda: mlops.log_metric("a", 1, key="b"), lambda: mlops.log_metric(*range(9)),
                 lambda: run.metric("before").log(), lambda: run.metric("before").log(1, 2, 3, 4),
                 lambda: mlops.log_metrics(), lambda: mlops.Metric()):
        with pytest.raises(TypeError):
            call()
    with pytest.raises(WrongType):
        mlops.log_metrics([1, 2])
    with pytest.raises(WrongType):
        mlops.log_params([1, 2])


def test_runs_that_are_not_there():
    for call in (lambda: mlops.get_run("0" * 32), lambda: mlops.start_run(run_id="0" * 32),
                 lambda: mlops.log_metric("a", 1, run_id="0" * 32), lambda: mlops.delete_run("0" * 32)):
        with mlops.start_run():
            mlops.log_metric("x", 1)
        with pytest.raises(LookupError) as caught:
            call()
        assert isinstance(caught.value, mlops.NotFound)
    with pytest.raises(WrongType):
        mlops.get_run(None)


def test_end_states():
    with mlops.start_run() as run:
        with pytest.raises(InvalidArgument, match="DONE"):
            mlops.MlflowClient().set_terminated(run.info.run_id, "DONE")
        mlops.log_metric("x", 1)


def test_errors_belong_to_builtins():
    for kind, base in [(mlops.InvalidArgument, ValueError), (mlops.NotFound, LookupError), (mlops.WrongType, TypeError),
                       (mlops.PermissionDenied, PermissionError), (mlops.DeadlineExceeded, TimeoutError),
                       (mlops.Unavailable, ConnectionError), (mlops.Unimplemented, NotImplementedError),
                       (mlops.ResourceExhausted, OSError), (mlops.FailedPrecondition, RuntimeError)]:
        error = kind("words")
        assert isinstance(error, (mlops.Error,)) and isinstance(error, base) and str(error) == "words"
        assert error.error_code and mlops.MlflowException is mlops.Error
