"""Networks by name, and their parameters in one vector."""
