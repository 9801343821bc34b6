"""What typer does not do for our commands: lists, help, errors, signals, results, tables and progress.

command.py         commands, their lists of words, and bundles of options; begin here. checked.py: checks of words
errors.py          the one place where exceptions become text; signals.py: how work is stopped
results.py         rows in every form: columns.py, tables.py, sparkline.py, csv_text.py, pasted_tables.py
help.py            help pages; completion.py: completion in the shell
project_file.py    starcli.toml; typed_line.py: the line that was typed
progress_bars.py   bars and notes
"""
