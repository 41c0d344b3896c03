"""MLflow's place of the client: `from mlops.tracking import MlflowClient`."""

from ..client import MlflowClient

__all__ = ["MlflowClient"]
