"""Logs of runs for other programs: `--log`."""
