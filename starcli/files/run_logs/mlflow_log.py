"""A run for MLflow."""

import re
from collections.abc import Mapping
from pathlib import Path

from starcli.files.run_logs.targets import RunFacts
from starcli.files.write import make_directory

EXPERIMENT = "starcli"
"""Experiment that all runs belong to."""

UNNAMEABLE = re.compile(r"[^\w\-./ ]")
"""Characters that the name of a metric may not have."""

LONGEST_PARAMETER = 500
"""Largest number of letters of a parameter's value."""


class MlflowLog:
    """A run in the database DIR/mlflow.db, for `mlflow ui --backend-store-uri sqlite:///DIR/mlflow.db`.

    A run that goes on is the same run, told by the hash of all that decides it.
    """

    def __init__(self, place: str, facts: RunFacts) -> None:
        from mlflow import MlflowClient

        make_directory(Path(place))
        self._client = MlflowClient(tracking_uri=f"sqlite:///{Path(place).resolve()}/mlflow.db")
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        where = experiment.experiment_id if experiment else self._client.create_experiment(EXPERIMENT)
        found = self._client.search_runs([where], f"tags.`starcli.run_id` = '{facts.run_id}'")
        tags = {"starcli.run_id": facts.run_id}
        run = found[0] if found else self._client.create_run(where, run_name=facts.name, tags=tags)
        self._run = run.info.run_id
        for key, value in {} if found else facts.settings.items():
            self._client.log_param(self._run, key, str(value)[:LONGEST_PARAMETER])

    def record(self, epoch: int, curves: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in curves.items():
            self._client.log_metric(self._run, UNNAMEABLE.sub("_", name), value, step=epoch)

    def close(self, *, finished: bool) -> None:
        """Say how the run ended."""
        self._client.set_terminated(self._run, "FINISHED" if finished else "KILLED")
