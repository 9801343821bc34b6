"""One self-contained HTML page of checkpoints and saved results."""
