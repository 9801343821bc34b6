"""Curves between two models: a path of low loss by way of trained bends (mode connectivity)."""
