"""What a long loop keeps: nothing. Counted by Python's own allocator and by the process's private memory."""

import os

import pytest
from conftest import SOURCE, script

CALLS = """
    import gc, re, sys, mlops
    run = mlops.start_run()
    loss = run.metric("loss")
    def calls(n):
        for i in range(n):
            loss.log(i * 0.5, i)
            mlops.log_metric("loss", i * 0.5, step=i)
            mlops.log_metrics({"a": i, "b": 0.5}, step=i)
            run.metric("loss")
            try:
                mlops.log_metric("loss", "x")
            except ValueError:
                pass
        run.flush("buffered", 60)
        gc.collect()
        return sys.getallocatedblocks(), int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])
    rounds = [calls(int(sys.argv[1])) for _ in range(6)][1:]
    print(*(blocks for blocks, _ in rounds), *(kilobytes for _, kilobytes in rounds))
    """


def test_a_million_calls_leak_nothing(tmp_path):
    """A million of each of five calls, in 5 rounds after a first. What is freed is given back: no quarantine below ASan."""
    asan = os.environ.get("ASAN_OPTIONS", "")
    each = 40_000 if asan else 200_000
    done = script(CALLS, each, cwd=tmp_path, env={"ASAN_OPTIONS": f"{asan}:quarantine_size_mb=0:thread_local_quarantine_size_kb=0"})
    found = list(map(int, done.stdout.split()))
    print(*found)
    blocks, kilobytes = found[:5], found[5:]
    assert max(blocks) - blocks[0] < 200, blocks
    # A memtable of 5 MiB comes and goes; 16 bytes a call would be 9.6 MB.
    assert min(kilobytes[3:]) - min(kilobytes[:2]) < 7_000, kilobytes


RUNS = """
    import gc, sys, mlops
    def runs(n):
        for i in range(n):
            with mlops.start_run():
                mlops.log_metric("loss", 0.5, step=i)
                mlops.log_param("i", i)
                mlops.set_tag("t", i)
        gc.collect()
        return sys.getallocatedblocks()
    print(*[runs(int(sys.argv[1])) for _ in range(4)][1:])
    """


def test_ended_runs_leave_no_python_objects(tmp_path):
    """What the library keeps of each is tests/drain/runs_test.cc's to tell."""
    blocks = list(map(int, script(RUNS, 60, cwd=tmp_path).stdout.split()))
    print(*blocks)
    assert max(blocks) - blocks[0] < 60, blocks


EVERYTHING = """
    import mlops
    with mlops.start_run() as run:
        loss = run.metric("loss")
        for i in range(100):
            loss.log(i * 0.5, i)
            mlops.log_metric("acc", i * 0.5, step=i)
            mlops.log_metrics({"a": i, "b": 0.5}, step=i)
            mlops.log_param(f"p{i}", i)
            mlops.set_tag(f"t{i}", i)
            for bad in (lambda: mlops.log_metric("loss", "x"), lambda: mlops.log_param(f"p{i}", "other"), lambda: mlops.get_run("none")):
                try:
                    bad()
                except mlops.Error:
                    pass
        mlops.log_history("h", [1.0] * 1000)
        mlops.log_text("abc", "a.txt")
        mlops.log_table({"x": [1, 2], "y": ["a", "b"]}, "t.json")
        mlops.register_model(f"runs:/{run.info.run_id}/a.txt", "m")
    assert len(mlops.read(run.info.run_id, "loss", format="memoryview").step) == 100
    mlops.search_runs(output_format="list")
    print(mlops.artifacts.load_text(f"runs:/{run.info.run_id}/a.txt"))
    """


@pytest.mark.skipif("ASAN_OPTIONS" not in os.environ, reason="only below AddressSanitizer: scripts/python --asan")
def test_nothing_is_left_at_the_end(tmp_path):
    """LeakSanitizer at the exit of a process that did a bit of everything, whatever module, library or Python allocated."""
    known = tmp_path / "known"  # OpenSSL keeps a thread's list of errors
    known.write_text((SOURCE / "tests" / "lsan.supp").read_text() + "leak:ERR_set_mark\n")
    done = script(EVERYTHING, cwd=tmp_path, env={"ASAN_OPTIONS": "detect_leaks=1:fast_unwind_on_malloc=0",
                                                 "LSAN_OPTIONS": f"suppressions={known}:print_suppressions=0"})
    assert done.stdout == "abc\n"
