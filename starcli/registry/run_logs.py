"""Logs of runs by name."""

from collections.abc import Mapping

from starcli.registry.entry import Entry

RUN_LOGS: Mapping[str, Entry] = {
    "csv": Entry("starcli.files.run_logs.csv_log:CsvLog", "a table beside the checkpoint, NAME.metrics.csv"),
    "tensorboard": Entry("starcli.files.run_logs.tensorboard_log:TensorBoardLog", "event files in DIR"),
    "wandb": Entry("starcli.files.run_logs.wandb_log:WandbLog", "a run of a project, offline unless WANDB_MODE says"),
    "mlflow": Entry("starcli.files.run_logs.mlflow_log:MlflowLog", "a run in the database DIR/mlflow.db"),
}
"""`--log`: where the curves of a run go besides its own log."""
