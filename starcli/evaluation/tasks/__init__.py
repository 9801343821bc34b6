"""What networks are trained for: the loss of each task, its metrics, and how its predictions are averaged."""
