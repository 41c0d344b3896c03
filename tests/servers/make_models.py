"""Small real models for test_models.py, made where onnx, xgboost and lightgbm are (scripts/requirements-models.txt).

make_models.py FOLDER: writes model.onnx, model.ubj, model.txt, and expected.json: rows and what each model makes of them.
"""

import json
import pathlib
import sys

import lightgbm
import numpy as np
import onnx
import onnxruntime
import xgboost
from onnx import TensorProto, helper, numpy_helper

folder = pathlib.Path(sys.argv[1])
rng = np.random.default_rng(7)
rows = rng.normal(size=(5, 4))
names = ["c0", "c1", "c2", "c3"]

weights = rng.normal(size=(4, 2)).astype(np.float32)
bias = np.array([0.5, -0.25], dtype=np.float32)
graph = helper.make_graph(
    [helper.make_node("Gemm", ["x", "w", "b"], ["y"])], "linear",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 2])],
    [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
onnx.save(model, folder / "model.onnx")
session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])

x, y = rng.normal(size=(200, 4)), rng.normal(size=200)
y += 3 * x[:, 0]
booster = xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(x, label=y, feature_names=names), 8)
booster.save_model(folder / "model.ubj")
gbm = lightgbm.train({"num_threads": 1, "verbose": -1, "objective": "regression"},
                     lightgbm.Dataset(x, label=y, feature_name=names), 8)
gbm.save_model(folder / "model.txt")

(folder / "expected.json").write_text(json.dumps({
    "rows": rows.tolist(),
    "linear": session.run(None, {"x": rows.astype(np.float32)})[0].tolist(),
    "boosted": booster.predict(xgboost.DMatrix(rows, feature_names=names)).tolist(),
    "light": gbm.predict(rows).tolist(),
}))
