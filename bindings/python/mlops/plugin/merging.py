"""Merging: one answer of what a server has and what the buffer has."""

from __future__ import annotations

import base64
import json
from typing import Any

from mlflow.entities import Param, Run, RunData, RunInputs
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from .buffer import OLD


class Token:
    """Where a page of merged runs ended: in the buffer's and in the server's."""

    def __init__(self, offset: int, server: str | None, skip: int, done: bool) -> None:
        self.offset, self.server, self.skip, self.done = offset, server, skip, done

    @classmethod
    def read(cls, text: str | None) -> Token:
        if not text:
            return cls(0, None, 0, False)
        try:
            offset, server, skip, done = json.loads(base64.b64decode(text))
        except ValueError:
            raise MlflowException("Invalid page token, could not base64-decode", INVALID_PARAMETER_VALUE) from None
        return cls(offset, server, skip, done)

    def text(self) -> str:
        return base64.b64encode(json.dumps([self.offset, self.server, self.skip, self.done]).encode()).decode()


def sides(datasets: list[Any], used: list[Any], made: list[Any]) -> tuple[Any, Any]:
    if OLD:
        return RunInputs(dataset_inputs=datasets), None
    from mlflow.entities import RunOutputs

    return RunInputs(dataset_inputs=datasets, model_inputs=used), RunOutputs(made)


def over(there: Run, here: Run) -> Run:
    """A run that began on the server, with what was logged here since."""

    def both(old: Any, new: Any) -> list[Any]:
        return list(({one.key: one for one in old} | {one.key: one for one in new}).values())

    metrics = both(there.data._metric_objs, here.data._metric_objs)
    params = both(_pairs(there.data.params), _pairs(here.data.params))
    tags = both(_pairs(there.data.tags), _pairs(here.data.tags))
    here.info._start_time = there.info.start_time
    here.info._user_id = there.info.user_id
    return Run(here.info, RunData(metrics, params, tags))


def _pairs(values: dict[str, str]) -> list[Any]:
    return [Param(key, value) for key, value in values.items()]
