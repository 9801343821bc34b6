"""Names that users type and what they stand for, a table a file: to add a choice, add a line to its table.

Nothing heavy is imported here, so that `--help`, completion and error messages need no torch.
"""
