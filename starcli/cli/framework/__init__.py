"""What typer does not do for our commands: lists, help, errors, signals, results, tables and progress."""
