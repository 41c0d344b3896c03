"""Integrations: small modules for the frameworks people train with. Each is imported by name and needs its framework.

    from mlops.integrations.xgboost import MlopsCallback

They log to `run` when one is given, else to the thread's active run (started where there is none), with the metric names
that MLflow's own autologging has. docs/integrations.md shows each.
"""
