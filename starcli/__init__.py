"""Star domains of neural network solutions: train, align, connect, average and fuse checkpoints."""

__version__ = "0.1.0"
