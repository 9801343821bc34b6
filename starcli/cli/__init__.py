"""The command line: words to one library call to rows.

main.py          the program and its commands
commands/        one file a command
options/         options of several commands: shared.py has single ones, the other files bundles that go together
read_models.py   from words to checkpoints
outputs.py       from words to files to write; job.py: one file in the making
framework/       what typer does not do: commands, help, errors, signals, results, tables, progress bars

Nothing here imports torch, numpy or pydantic before a command runs: `--help` and completion answer at once.
"""
