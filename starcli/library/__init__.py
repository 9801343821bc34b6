"""What `import starcli as sc` offers: a function for each command, models and data in any common form."""
