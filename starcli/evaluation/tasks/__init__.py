"""Tasks: the loss of each, its metrics, and how its predictions are averaged."""
