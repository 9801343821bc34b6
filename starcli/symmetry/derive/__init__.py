"""Permutation specs found by tracing a network: exported graph, atoms and their laws, groups, expressions."""
