"""Training: a recipe and a seed make a network."""
