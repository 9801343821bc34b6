"""The log of a run that goes on: rows before its epoch stay, whatever else a file of that name has does no harm."""

import json
from pathlib import Path

import pytest

from starcli.files.metrics_log import MetricsLog

SOUND = {"epoch": 0, "loss": 0.5}


@pytest.mark.parametrize(
    "line", ['{"epoch": 1, "lo', "5", "null", '["epoch"]', '{"epoch": "1"}', '{"epoch": null}', "[" * 100_000, "\ufffd"]
)
def test_what_is_no_row_ends_the_log_that_goes_on(tmp_path: Path, line: str) -> None:
    log = MetricsLog(tmp_path / "0.safetensors")
    log.path.write_text(f"{json.dumps(SOUND)}\n{line}\n", encoding="utf-8")
    log.record({"epoch": 1, "loss": 0.25})
    assert [json.loads(each) for each in log.path.read_text().splitlines()] == [SOUND, {"epoch": 1, "loss": 0.25}]
