"""The integrations, each with its real framework: what it logs is what the framework says. Needs the environment of
scripts/requirements-integrations.txt; a framework that is not there skips its tests."""

import contextlib
import copy
import math
import os
import pickle

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


def test_names_no_key_may_hold_and_a_second_training():
    from mlops.integrations._run import key, log_params

    assert [key(name) for name in ("ndcg@5", "a/b.c-d: e", "f(x)=1", "größe")] == ["ndcg_at_5", "a/b.c-d: e", "f_x__1", "größe"]
    with mlops.start_run() as run:
        log_params(run, {"depth": 1, "ndcg@5": "x", "f(x)": 2})
        with pytest.warns(UserWarning, match="keeps them: depth, ndcg@5") as said:
            log_params(run, {"depth": 2, "ndcg@5": "y", "f(x)": 2, "new": 3})
    assert len(said) == 1
    assert mlops.get_run(run.info.run_id).data.params == {"depth": "1", "ndcg_at_5": "x", "f_x_": "2", "new": "3"}


def test_xgboost_ranks_and_trains_twice(xy):
    xgboost = pytest.importorskip("xgboost")
    from mlops.integrations.xgboost import MlopsCallback

    data = xgboost.DMatrix(xy[0], xy[1])
    data.set_group([60, 60])
    with mlops.start_run() as run:
        for number, depth in enumerate((2, 3)):
            params = {"objective": "rank:ndcg", "max_depth": depth, "eval_metric": ["ndcg@5"]}
            said = {}
            with pytest.warns(UserWarning, match="max_depth") if number else contextlib.nullcontext():
                xgboost.train(params, data, 3, evals=[(data, "train")], evals_result=said, verbose_eval=False,
                              callbacks=[MlopsCallback(params=params, prefix=f"{number}/")])
            assert read(run, f"{number}/train-ndcg_at_5")[1] == pytest.approx(said["train"]["ndcg@5"])
    assert mlops.get_run(run.info.run_id).data.params["max_depth"] == "2"


def test_a_fitted_xgboost_model_is_pickled_and_cloned(xy):
    xgboost = pytest.importorskip("xgboost")
    sklearn = pytest.importorskip("sklearn.base")
    from mlops.integrations.xgboost import MlopsCallback

    with mlops.start_run() as run:
        model = xgboost.XGBClassifier(n_estimators=3, callbacks=[MlopsCallback(run, prefix="a/")], eval_metric="logloss")
        model.fit(*xy, eval_set=[xy], verbose=False)
        back = pickle.loads(pickle.dumps(model))
        assert (back.predict(xy[0]) == copy.deepcopy(model).predict(xy[0])).all()
        twin = sklearn.clone(model)
        with mlops.start_run(nested=True) as other:
            twin.set_params(n_estimators=5).fit(*xy, eval_set=[xy], verbose=False)  # a clone logs where its original does
            back.fit(*xy, eval_set=[xy], verbose=False)  # what was pickled to the active run
    assert sorted(read(run, "a/validation_0-logloss")[0]) == sorted([*range(3), *range(5)])
    assert read(other, "a/validation_0-logloss")[0] == list(range(3))


def test_lightgbm_ranks_and_trains_twice(xy):
    lightgbm = pytest.importorskip("lightgbm")
    from mlops.integrations.lightgbm import mlops_callback

    said = {}
    with mlops.start_run() as run, pytest.warns(UserWarning, match="num_leaves"):
        for leaves in (4, 5):
            train = lightgbm.Dataset(*xy, group=[60, 60])
            lightgbm.train({"objective": "lambdarank", "metric": "ndcg", "eval_at": [5], "verbose": -1, "num_leaves": leaves}, train, 3,
                           valid_sets=[train], valid_names=["v"],
                           callbacks=[mlops_callback(prefix=f"{leaves}/"), lightgbm.record_evaluation(said)])
    assert read(run, "5/v-ndcg_at_5")[1] == pytest.approx(said["v"]["ndcg@5"])
    assert mlops.get_run(run.info.run_id).data.params["num_leaves"] == "4"


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

    with mlops.start_run(run_id=run.info.run_id), pytest.warns(UserWarning, match="epochs"):  # goes on, longer
        model.fit(xy[0], xy[1], epochs=6, initial_epoch=4, batch_size=30, verbose=0, callbacks=[MlopsCallback()])
    assert read(run, "loss")[0] == list(range(6)) and mlops.get_run(run.info.run_id).data.params["epochs"] == "4"


def test_lightning_trainer(xy, tmp_path):
    torch = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")
    from mlops.integrations.lightning import MlopsLogger

    class Linear(lightning.LightningModule):
        def __init__(self, lr):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(4, 1)
            self.said = []

        def loss(self, batch):
            return torch.nn.functional.binary_cross_entropy_with_logits(self.layer(batch[0])[:, 0], batch[1])

        def training_step(self, batch, index):
            found = self.loss(batch)
            self.said.append(float(found.detach()))
            self.log("loss", found)
            return found

        def validation_step(self, batch, index):
            self.log("val_loss", self.loss(batch))

        def test_step(self, batch, index):
            self.log("test_loss", self.loss(batch))

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

    data = torch.utils.data.TensorDataset(torch.tensor(xy[0], dtype=torch.float32), torch.tensor(xy[1], dtype=torch.float32))
    batches = torch.utils.data.DataLoader(data, batch_size=20)
    quiet = dict(default_root_dir=tmp_path, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
                 accelerator="cpu", log_every_n_steps=1)
    logger = MlopsLogger(run_name="light", prefix="l", tags={"kind": "test"})
    model = Linear(lr=0.25)
    trainer = lightning.Trainer(max_epochs=3, logger=logger, **quiet)
    trainer.fit(model, batches, batches)
    assert mlops.active_run() is None
    run = mlops.get_run(logger.version)
    assert (run.info.status, run.info.run_name, run.data.tags["kind"], run.data.params["lr"]) == ("FINISHED", "light", "test", "0.25")
    steps, values = read(run, "l/loss")
    assert steps == list(range(18)) and values == pytest.approx(model.said)
    assert len(read(run, "l/val_loss")[0]) == 3
    trainer.test(model, batches, verbose=False)  # goes on with the same run
    run = mlops.get_run(logger.version)
    assert run.info.status == "FINISHED" and len(read(run, "l/test_loss")[0]) == 1

    with mlops.start_run() as mine:  # the active run is the user's: it is not ended here
        lightning.Trainer(max_epochs=1, logger=MlopsLogger(), **quiet).fit(Linear(lr=0.1), batches)
        assert mlops.active_run() is mine
    assert len(read(mine, "loss")[0]) == 6

    class Broken(Linear):
        def training_step(self, batch, index):
            raise ValueError("on purpose")

    logger = MlopsLogger()
    with pytest.raises(ValueError):
        lightning.Trainer(max_epochs=1, logger=logger, **quiet).fit(Broken(lr=0.1), batches)
    assert mlops.get_run(logger.version).info.status == "FAILED"


def test_transformers(xy, tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from mlops.integrations.transformers import MlopsCallback

    config = transformers.BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
                                     max_position_embeddings=8, num_labels=2)
    rows = [{"input_ids": torch.tensor([abs(int(v * 9)) % 40 for v in x]), "labels": int(y)} for x, y in zip(*xy)]
    args = transformers.TrainingArguments(output_dir=str(tmp_path / "out"), num_train_epochs=2, per_device_train_batch_size=20,
                                          logging_steps=3, eval_strategy="epoch", save_strategy="no", report_to="none", use_cpu=True,
                                          disable_tqdm=True, seed=1)
    with mlops.start_run() as run:
        trainer = transformers.Trainer(model=transformers.BertForSequenceClassification(config), args=args, train_dataset=rows,
                                       eval_dataset=rows, callbacks=[MlopsCallback()])
        trainer.train()
        trainer.evaluate()
    said = trainer.state.log_history
    for name in ("loss", "learning_rate", "eval_loss", "train_loss"):
        wanted = [(one["step"], one[name]) for one in said if name in one]
        steps, values = read(run, name)
        assert wanted and sorted(zip(steps, values)) == sorted(wanted), name
    params = mlops.get_run(run.info.run_id).data.params
    assert params["num_train_epochs"] == "2" and params["model.hidden_size"] == "16"
