"""The command line: one file a command, each a thin body around one library call.

main.py       the program: its commands and the one place where errors become exit statuses (boundary.py, signals.py)
command.py    what a command is: list options, quoted patterns, options that come in bundles
options.py    every option, declared once
inputs.py     from words to checkpoints and a workspace
targets.py    from words to files to write: templates, what exists already, locks
output.py     results: a table for people, JSON lines for programs
tables.py     columns, and which of them fit into the terminal
bars.py       progress and notes on stderr

Nothing here imports torch, numpy or pydantic before a command runs: `--help` and completion answer at once.
"""
