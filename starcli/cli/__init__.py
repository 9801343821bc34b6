"""The command line: words to one library call to rows.

main.py          the program and its commands
commands/        one file a command
options.py       options of several commands; option_groups.py, *_options.py: options that go together
read_models.py   from words to checkpoints
outputs.py       from words to files to write; job.py: one file in the making
framework/       what typer does not do: commands, help, errors, signals, results, tables, progress bars

Nothing here imports torch, numpy or pydantic before a command runs: `--help` and completion answer at once.
"""
