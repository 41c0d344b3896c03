"""beside.py PEER...: this package and others with a protobuf, an Abseil, a RocksDB, a TLS or an OpenMP of their own, in
one process: in both orders of import, each used after both are there, each used again after the other. No test by itself:
scripts/beside runs it where the others are installed. One line for each peer and order; exit 1 when one is not ok."""

import os
import subprocess
import sys
import tempfile


def use_mlops(root):
    import mlops

    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow's set_tracking_uri leaves its own there
    mlops.set_tracking_uri("mlops:" + root)
    with mlops.start_run() as run:
        for step in range(1000):
            mlops.log_metric("loss", 1 / (step + 1), step=step)
        mlops.log_param("lr", 0.1)
        run.flush("durable")
    assert mlops.get_run(run.info.run_id).data.metrics == {"loss": 0.001}
    try:  # libcurl and its TLS at work, with nobody there
        mlops.sync("https://127.0.0.1:9", timeout=0.5, progress=False)
    except mlops.Error as error:
        assert "127.0.0.1:9" in str(error) or "missing" in str(error) or "wait" in str(error), error


def use_torch(folder):
    import torch

    x = torch.ones(64, 64, requires_grad=True)
    (x @ x).sum().backward()
    assert float(x.grad.sum()) == 2 * 64**3
    torch.save(x, os.path.join(folder, "x.pt"))


def use_tensorflow(folder):
    import tensorflow as tf

    @tf.function
    def product(x):
        return tf.reduce_sum(x @ x)

    assert float(product(tf.ones((32, 32)))) == 32.0**3
    tf.io.write_graph(product.get_concrete_function(tf.ones((32, 32))).graph.as_graph_def(), folder, "graph.pb", as_text=False)


def use_pyarrow(folder):
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    table = pyarrow.table({"x": list(range(1000)), "y": ["a"] * 1000})
    pyarrow.parquet.write_table(table, os.path.join(folder, "t.parquet"), compression="zstd")
    assert pyarrow.compute.sum(pyarrow.parquet.read_table(os.path.join(folder, "t.parquet"))["x"]).as_py() == 499500


def use_grpc(folder):
    from concurrent import futures

    import grpc

    class Echo(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: request + b"!")

    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((Echo(),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert channel.unary_unary("/a/b")(b"hello", timeout=20) == b"hello!"
    server.stop(None).wait()


def use_rocksdict(folder):
    import rocksdict

    with tempfile.TemporaryDirectory(dir=folder) as place:
        db = rocksdict.Rdict(place)
        for key in range(1000):
            db[key] = "v" * 100
        db.flush()
        assert db[999] == "v" * 100
        db.close()


def use_mlflow(folder):
    import mlflow

    mlflow.set_tracking_uri("sqlite:///" + os.path.join(folder, "mlflow.db"))
    with mlflow.start_run() as run:
        mlflow.log_metric("loss", 0.5)
    assert mlflow.get_run(run.info.run_id).data.metrics == {"loss": 0.5}


MODULES = {"torch": use_torch, "tensorflow": use_tensorflow, "pyarrow": use_pyarrow, "grpc": use_grpc, "rocksdict": use_rocksdict,
           "mlflow": use_mlflow}


def both(peers, ours_first):
    """In a process of its own: imports in that order, then everybody works, twice over."""
    order = ["mlops", *peers] if ours_first else [*peers, "mlops"]
    for name in order:
        __import__(name)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            for name in order:
                use_mlops(os.path.join(folder, "root")) if name == "mlops" else MODULES[name](folder)


def main():
    if sys.argv[1] == "--in-order":
        both(sys.argv[3:], sys.argv[2] == "first")
        print("worked", flush=True)
        return 0
    peers, bad = sys.argv[1:], 0
    for some in [*([one] for one in peers), peers]:
        for order in ("first", "last"):
            done = subprocess.run([sys.executable, __file__, "--in-order", order, *some], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, timeout=600, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "MLOPS_LOG": "error"})
            good = done.returncode == 0 and done.stdout.endswith("worked\n")  # also through its exit
            bad += not good
            print(f"{'ok' if good else 'FAILED'}: mlops imported {order}, beside {', '.join(some)}", flush=True)
            if not good:
                print(f"exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
