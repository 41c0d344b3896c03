"""The integrations, each with its real framework: what it logs is what the framework says. Needs the environment of
scripts/requirements-integrations.txt; a framework that is not there skips its tests."""

import math
import os

import pytest

import mlops

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")


@pytest.fixture
def xy():
    numpy = pytest.importorskip("numpy")
    random = numpy.random.default_rng(7)
    X = random.normal(size=(120, 4))
    return X, (X[:, 0] + 0.5 * X[:, 1] + 0.1 * random.normal(size=120) > 0).astype(int)


def read(run, name):
    step, _, value = mlops.read(run.info.run_id, name)
    return [int(one) for one in step], [float(one) for one in value]


def test_xgboost(xy):
    xgboost = pytest.importorskip("xgboost")
    from mlops.integrations.xgboost import MlopsCallback

    data = xgboost.DMatrix(xy[0], xy[1])
    params = {"objective": "binary:logistic", "max_depth": 2, "eval_metric": ["logloss", "auc"]}
    said = {}
    with mlops.start_run() as run:
        xgboost.train(params, data, 12, evals=[(data, "train")], evals_result=said, verbose_eval=False,
                      callbacks=[MlopsCallback(params=params)])
    for metric in ("logloss", "auc"):
        steps, values = read(run, f"train-{metric}")
        assert steps == list(range(12)) and values == pytest.approx(said["train"][metric])
    assert mlops.get_run(run.info.run_id).data.params["max_depth"] == "2"


def test_xgboost_cross_validation_and_early_stopping(xy):
    xgboost = pytest.importorskip("xgboost")
    from mlops.integrations.xgboost import MlopsCallback

    data = xgboost.DMatrix(xy[0], xy[1])
    params = {"objective": "binary:logistic", "max_depth": 2, "eta": 1.0}
    with mlops.start_run() as run:
        said = xgboost.cv(params, data, 5, nfold=3, callbacks=[MlopsCallback(prefix="cv/")], as_pandas=False)
        booster = xgboost.train(params, data, 200, evals=[(data, "valid")], early_stopping_rounds=3, verbose_eval=False,
                                callbacks=[MlopsCallback(run, prefix="t/")])
    assert read(run, "cv/test-logloss")[1] == pytest.approx(said["test-logloss-mean"])
    assert read(run, "t/best_iteration")[1] == [booster.best_iteration]
    assert len(read(run, "t/valid-logloss")[0]) == booster.num_boosted_rounds()


def test_lightgbm(xy):
    lightgbm = pytest.importorskip("lightgbm")
    from mlops.integrations.lightgbm import mlops_callback

    train = lightgbm.Dataset(xy[0], xy[1])
    said = {}
    with mlops.start_run() as run:
        lightgbm.train({"objective": "binary", "metric": ["auc", "binary_logloss"], "verbose": -1, "num_leaves": 4}, train, 10,
                       valid_sets=[train], valid_names=["v"], callbacks=[mlops_callback(), lightgbm.record_evaluation(said)])
        lightgbm.cv({"objective": "binary", "verbose": -1}, lightgbm.Dataset(xy[0], xy[1]), 4, nfold=3,
                    callbacks=[mlops_callback(params=False, prefix="cv/")])
    steps, values = read(run, "v-auc")
    assert steps == list(range(10)) and values == pytest.approx(said["v"]["auc"])
    found = mlops.get_run(run.info.run_id).data
    assert found.params["num_leaves"] == "4"
    assert [name for name in found.metrics if name.startswith("cv/")]


def test_sklearn(xy):
    pytest.importorskip("sklearn")
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from mlops.integrations import sklearn as log

    model = make_pipeline(StandardScaler(), LogisticRegression(C=2.0)).fit(*xy)
    with mlops.start_run() as run:
        log.log_estimator(model)
        scores = log.log_scores(model, *xy)
        assert scores["test_score"] == scores["test_accuracy_score"] == pytest.approx(model.score(*xy))
        assert set(log.log_scores(model, *xy, prefix="own_", scoring=["roc_auc", "neg_log_loss"])) == {"own_roc_auc", "own_neg_log_loss"}
        assert "r_r2_score" in log.log_scores(LinearRegression().fit(*xy), *xy, prefix="r_")
        search = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0, 10.0]}, cv=3).fit(*xy)
        children = log.log_search(search, most=2)
    found = mlops.get_run(run.info.run_id).data
    assert found.params["logisticregression__C"] == "2.0" and found.tags["estimator_name"] == "Pipeline"
    assert found.metrics["best_cv_score"] == search.best_score_
    assert len(children) == 2
    best = mlops.get_run(children[0]).data
    assert best.params["C"] == str(search.best_params_["C"]) and best.metrics["rank_test_score"] == 1
    assert mlops.get_parent_run(children[0]).info.run_id == run.info.run_id


def test_optuna():
    optuna = pytest.importorskip("optuna")
    from mlops.integrations.optuna import MlopsCallback

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial):
        x = trial.suggest_float("x", -1, 1)
        trial.report(x, 3)
        if trial.number == 2:
            raise optuna.TrialPruned
        return x * x

    with mlops.start_run() as run:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
        study.optimize(objective, n_trials=8, n_jobs=2, callbacks=[MlopsCallback(metric="square")])
    runs = [one for one in mlops.search_runs(output_format="list") if one.info.run_id != run.info.run_id]
    assert len(runs) == 8 and all(mlops.get_parent_run(one.info.run_id).info.run_id == run.info.run_id for one in runs)
    states = [one.data.tags["optuna.state"] for one in runs]
    assert states.count("PRUNED") == 1 and states.count("COMPLETE") == 7
    for one in runs:
        trial = study.trials[int(one.data.tags["optuna.number"])]
        assert one.data.params["x"] == str(trial.params["x"])
        assert one.data.metrics["intermediate_square"] == trial.params["x"]
        if trial.values:
            assert one.data.metrics["square"] == trial.value
    assert min(read(run, "best_square")[1]) == study.best_value


def test_keras(xy):
    keras = pytest.importorskip("keras")
    from mlops.integrations.keras import MlopsCallback

    model = keras.Sequential([keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"])
    with mlops.start_run() as run:
        history = model.fit(xy[0], xy[1], epochs=4, batch_size=30, validation_split=0.2, verbose=0,
                            callbacks=[MlopsCallback(every_n_batches=2)]).history
    for name in ("loss", "accuracy", "val_loss"):
        steps, values = read(run, name)
        assert steps == [0, 1, 2, 3] and values == pytest.approx(history[name])
    assert read(run, "batch/loss")[0] == list(range(2, 17, 2)) or len(read(run, "batch/loss")[0]) == 4 * math.ceil(96 / 30) // 2
    params = mlops.get_run(run.info.run_id).data.params
    assert params["optimizer_name"] == "adam" and float(params["optimizer_learning_rate"]) == pytest.approx(0.01)
