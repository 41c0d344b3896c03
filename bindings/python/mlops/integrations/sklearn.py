"""scikit-learn: what an estimator was set to, what it reaches, and what a search tried. Functions, no patching."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy
from sklearn.base import is_classifier, is_regressor

from .. import fluent
from ._run import key, log_params, run_of


def log_estimator(estimator: Any, run: Any = None, *, deep: bool = True) -> None:
    """Its class as tags `estimator_name` and `estimator_class`, its settings as params; as MLflow's autologging does."""
    to = run_of(run)
    kind = type(estimator)
    to.set_tags({"estimator_name": kind.__name__, "estimator_class": f"{kind.__module__}.{kind.__qualname__}"})
    log_params(to, estimator.get_params(deep=deep))


def log_scores(
    estimator: Any, X: Any, y: Any, run: Any = None, *, prefix: str = "test_", step: int | None = None, scoring: Any = None
) -> dict[str, float]:
    """Scores of a fitted estimator on data, logged and returned. `scoring`: names as scikit-learn's, or {name: scorer};
    None: accuracy, precision, recall and F1 (weighted) of a classifier, r2, MAE and RMSE of a regressor, and `score`."""
    found = _scores(estimator, X, y, scoring)
    named = {f"{prefix}{name}": float(value) for name, value in found.items()}
    to = run_of(run)
    for name, value in named.items():
        to.metric(key(name)).log(value, step)
    return named


def _scores(estimator: Any, X: Any, y: Any, scoring: Any) -> dict[str, float]:
    from sklearn import metrics

    if scoring is not None:
        scorers = scoring if isinstance(scoring, Mapping) else {one: one for one in ([scoring] if isinstance(scoring, str) else scoring)}
        return {name: metrics.check_scoring(estimator, one)(estimator, X, y) for name, one in scorers.items()}
    found = {"score": estimator.score(X, y)} if hasattr(estimator, "score") else {}
    if is_classifier(estimator):
        said = estimator.predict(X)
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(y, said, average="weighted", zero_division=0)
        found.update(accuracy_score=metrics.accuracy_score(y, said), precision_score=precision, recall_score=recall, f1_score=f1)
    elif is_regressor(estimator):
        said = estimator.predict(X)
        error = metrics.mean_squared_error(y, said)
        found.update(r2_score=metrics.r2_score(y, said), mean_absolute_error=metrics.mean_absolute_error(y, said),
                     root_mean_squared_error=error**0.5)
    return found


def log_search(search: Any, run: Any = None, *, most: int = 100) -> list[str]:
    """A fitted GridSearchCV or its like: the best settings and score in the run, and below it a run for each of the best
    `most` candidates. -> ids of those."""
    to = run_of(run)
    log_params(to, {f"best_{name}": value for name, value in search.best_params_.items()})
    to.metric("best_cv_score").log(float(search.best_score_))
    results = search.cv_results_
    rank = next((results[name] for name in results if name.startswith("rank_test_")), None)
    order = numpy.argsort(rank, kind="stable") if rank is not None else range(len(results["params"]))
    scores = [name for name in results if name.startswith(("mean_", "std_", "rank_")) and not name.endswith("_time")]
    made = []
    for place in list(order)[:most]:
        with fluent.start_run(run_name=f"candidate {place}", nested=True, parent_run_id=to.info.run_id) as child:
            log_params(child, results["params"][place])
            for name in scores:
                child.metric(key(name)).log(float(results[name][place]))
            made.append(child.info.run_id)
    return made
