"""python_start.py [N]: what `import mlops` and the first logged point cost in a fresh process: medians of N (default 11)
processes of the Python that runs this, in which the package is installed; beside a bare Python of the same run."""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

NOTHING = "pass"
IMPORT = "import mlops"
POINT = """
import mlops
run = mlops.start_run()
mlops.log_metric("loss", 0.5, step=0)
"""
TELL = """
import resource, time
wall, cpu = time.perf_counter(), time.process_time()
{}
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
resident = next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1]
print(wall * 1e3, cpu * 1e3, int(resident) / 1024)
"""


def measure(text, times):
    rows = []
    for _ in range(times):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "MLOPS_HOME": folder + "/root", "MLFLOW_TRACKING_URI": ""}
            said = subprocess.run([sys.executable, "-c", TELL.format(text)], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE)
            rows.append([float(word) for word in said.stdout.split()])
    return [statistics.median(column) for column in zip(*rows)]


def main():
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 11
    for _ in range(2):
        measure(POINT, 1)  # files into the page cache
    bare = measure(NOTHING, times)
    module = next(pathlib.Path(subprocess.run([sys.executable, "-c", "import mlops; print(mlops.__file__)"], check=True, text=True,
                                              stdout=subprocess.PIPE).stdout.strip()).parent.glob("_core*.so"))
    print(f"Python {sys.version.split()[0]}, medians of {times} processes; bare Python: {bare[2]:.1f} MiB")
    print(f"module on disk                     {module.stat().st_size / 1e6:6.2f} MB")
    for name, text in (("import mlops", IMPORT), ("import mlops, start_run, one point", POINT)):
        wall, cpu, resident = measure(text, times)
        print(f"{name:34} {wall - bare[0]:6.1f} ms, {cpu - bare[1]:6.1f} ms of CPU, {resident - bare[2]:5.1f} MiB over bare")


if __name__ == "__main__":
    main()
