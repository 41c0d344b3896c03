"""An independent reader of an MLflow server: plain REST by urllib, nothing of the SDK's code.

What comes back is what the server holds: every page of every history, with max_results always given (3.1 to 3.10
answer nothing without it), sorted here because the server does not promise an order. A point is the tuple
(key, timestamp_ms, step, value); NaN is the string "NaN" in it, so that points can be counted.
"""

import collections
import dataclasses
import json
import time
import urllib.error
import urllib.parse
import urllib.request


@dataclasses.dataclass
class RunData:
    run_id: str
    name: str
    status: str
    start_time: int
    end_time: int
    params: dict
    tags: dict
    latest: dict  # key -> value, as the server shows it
    artifact_uri: str = ""

    @property
    def uid(self):
        return self.tags.get("mlops.uid", "")

    @property
    def parent(self):
        return self.tags.get("mlflow.parentRunId", "")


def value_of(v):
    """A metric value as JSON brings it -> float, or "NaN"."""
    v = float(v)
    return "NaN" if v != v else v + 0.0


class Rest:
    def __init__(self, uri, headers=None, timeout=120):
        self.uri = uri.rstrip("/")
        self.headers = headers or {}
        self.timeout = timeout
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def call(self, method, path, body=None, **query):
        url = f"{self.uri}/api/2.0/mlflow/{path}"
        if query:
            url += "?" + urllib.parse.urlencode(query)
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method, headers=dict(self.headers))
        if data is not None:
            request.add_header("Content-Type", "application/json")
        for attempt in range(6):  # a busy server closes idle or new connections; reading is idempotent
            try:
                with self.opener.open(request, timeout=self.timeout) as answer:
                    return json.loads(answer.read())
            except urllib.error.HTTPError as e:
                if e.code == 404:
                    return None
                text = e.read().decode(errors="replace")
                if e.code not in (429, 500, 502, 503, 504) or attempt == 5:
                    raise RuntimeError(f"{method} {url}: HTTP {e.code}: {text[:500]}") from None
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if attempt == 5:
                    raise
            time.sleep(0.2 * 2**attempt)

    def experiment_id(self, name):
        got = self.call("GET", "experiments/get-by-name", experiment_name=name)
        return got["experiment"]["experiment_id"] if got else None

    def runs(self, experiment, view="ALL"):
        """All runs of an experiment (by name), oldest start first; [] when there is no such experiment."""
        experiment_id = self.experiment_id(experiment)
        if experiment_id is None:
            return []
        runs, token = [], None
        while True:
            body = {"experiment_ids": [experiment_id], "max_results": 1000, "run_view_type": view,
                    "order_by": ["attributes.start_time ASC"]}
            if token:
                body["page_token"] = token
            got = self.call("POST", "runs/search", body)
            runs += [self._run(r) for r in got.get("runs", [])]
            token = got.get("next_page_token")
            if not token:
                return runs

    def run(self, run_id):
        got = self.call("GET", "runs/get", run_id=run_id)
        return self._run(got["run"]) if got else None

    def by_uid(self, experiment, uid):
        """The run with our id. More than one is a duplicate, and an error."""
        found = [r for r in self.runs(experiment) if r.uid == uid]
        if len(found) > 1:
            raise AssertionError(f"{len(found)} runs on the server have mlops.uid {uid}")
        return found[0] if found else None

    @staticmethod
    def _run(run):
        info, data = run["info"], run.get("data", {})
        return RunData(
            run_id=info["run_id"], name=info.get("run_name", ""), status=info.get("status", ""),
            start_time=int(info.get("start_time", 0)), end_time=int(info.get("end_time", 0) or 0),
            params={p["key"]: p.get("value", "") for p in data.get("params", [])},
            tags={t["key"]: t.get("value", "") for t in data.get("tags", [])},
            latest={m["key"]: value_of(m["value"]) for m in data.get("metrics", [])},
            artifact_uri=info.get("artifact_uri", ""))

    def history(self, run_id, key):
        """[(timestamp_ms, step, value)] of one metric, every page, sorted by (step, time)."""
        points, token, seen = [], None, set()
        while True:
            query = {"run_id": run_id, "metric_key": key, "max_results": 25000}
            if token:
                query["page_token"] = token
            got = self.call("GET", "metrics/get-history", **query) or {}
            points += [(int(m["timestamp"]), int(m.get("step", 0)), value_of(m["value"])) for m in got.get("metrics", [])]
            token = got.get("next_page_token")
            if not token or token in seen:
                return sorted(points, key=lambda p: (p[1], p[0], str(p[2])))
            seen.add(token)

    def points(self, run):
        """The multiset of all points of a run: Counter of (key, timestamp_ms, step, value)."""
        if isinstance(run, str):
            run = self.run(run)
        points = collections.Counter()
        for key in run.latest:
            for when, step, value in self.history(run.run_id, key):
                points[(key, when, step, value)] += 1
        return points
