"""The functions of `import starcli as sc`: one for each command, with models and data in any common form."""
