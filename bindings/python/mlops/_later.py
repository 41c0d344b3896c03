"""Later: MLflow's public names that this release does not have. Each can be imported; a call says what to do instead.

docs/python.md has all of them, made from this table and an installed mlflow.
"""

from __future__ import annotations


from .exceptions import Unimplemented

TYPE_CHECKING = False  # typing is 1 MiB that nobody needs at run time
if TYPE_CHECKING:
    from typing import Any, NoReturn

ARTIFACTS = "not in this release; log_artifact takes any file, artifacts.download_artifacts gets it back"
DATASETS = "datasets of their own on the server are not in this release; log_input names one a run used"
MODELS = "not in this release; log_model logs files as a model, register_model makes a version; for the rest use the mlflow package"
ACTIVE = "an active model is for traces and autologging; give model_id to log_metric and log_model_params"
FLAVORS = "models are loaded and run by the mlflow package; log_model here logs files that it can load"
AUTOLOG = "autologging needs MLflow's own client; log in your loop with log_metrics, or use the framework's callback"
TRACES = "traces, prompts and evaluation are no part of this package; use the mlflow package"
ELSEWHERE = "no part of this package; use the mlflow package"
EXPERIMENTS = "experiments are deleted, restored, renamed and tagged on the server: use the mlflow package there"

NAMES = {
    **dict.fromkeys(
        (
            "models",
        ),
        MODELS,
    ),
    **dict.fromkeys(("ActiveModel", "active_model", "clear_active_model", "get_active_model_id", "set_active_model"), ACTIVE),
    **dict.fromkeys(("autolog", "sklearn", "pytorch", "xgboost", "lightgbm", "keras", "tensorflow", "transformers"), AUTOLOG),
    **dict.fromkeys(
        (
            "delete_experiment",
            "delete_experiment_tag",
            "delete_experiment_tags",
            "rename_experiment",
            "restore_experiment",
            "set_experiment_tag",
            "set_experiment_tags",
        ),
        EXPERIMENTS,
    ),
    **dict.fromkeys(("pyfunc", "onnx", "langchain", "spark"), FLAVORS),
    **dict.fromkeys(("run", "context", "gateway", "import_checkpoints", "login", "test"), ELSEWHERE),
    **dict.fromkeys(("search_sessions", "validate_evaluation_results"), TRACES),
    **dict.fromkeys(("evaluate", "trace", "start_span", "tracing", "search_traces", "get_trace", "genai"), TRACES),
}


# Families of names, by a word in them.
WORDS = {
    "dataset": DATASETS,
    "model": MODELS,
    "artifact": ARTIFACTS,
    "autolog": AUTOLOG,
    **dict.fromkeys(("prompt", "trac", "span", "mcp", "scorer", "assessment", "feedback", "expectation", "issue"), TRACES),
    **dict.fromkeys(("webhook", "workspace", "system_metrics", "tracking", "project", "async", "doctor"), ELSEWHERE),
}


def reason(name: str) -> str | None:
    """What to do instead of an absent name of MLflow's; None: it is none."""
    if name in NAMES or name.startswith("_"):
        return NAMES.get(name)
    return next((words for word, words in WORDS.items() if word in name), None)


class _Absent:
    """Stands for a name that is not there: any use of it raises."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _raise(self) -> NoReturn:
        raise Unimplemented(f"{self._name}: {reason(self._name)}")

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._raise()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what inspection asks of any object
            raise AttributeError(name)
        self._raise()

    def __repr__(self) -> str:
        return f"<{self._name}: not in this release>"


def function(name: str) -> _Absent:
    """For the module's __getattr__."""
    if reason(name) is not None:
        return _Absent(name)
    raise AttributeError(f"module 'mlops' has no attribute {name!r}")


def method(name: str) -> _Absent:
    if reason(name) is not None:
        return _Absent(name)
    raise AttributeError(f"'MlflowClient' object has no attribute {name!r}")
