"""The command line: words to one library call to rows.

main.py          the program and its commands
commands/        one file a command
options/         options of several commands: shared.py has single ones, the other files bundles that go together
read_models.py   from words to checkpoints
outputs.py       from words to files to write; job.py: one file in the making
COMMAND_*.py     what is larger than a command's file: its models as options, the files that it makes (_jobs), what it
                 shows (_results); star_*.py serve fuse too, landscape_results.py plane and surface
framework/       what typer does not do: commands, help, errors, signals, results, tables, progress bars

Nothing here imports torch, numpy or pydantic before a command runs: `--help` and completion answer at once.
"""
