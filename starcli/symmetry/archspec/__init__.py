"""Permutation specs: axis expressions, YAML files, sizes solved from the shapes of a network's tensors."""
