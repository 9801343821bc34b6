"""The loss on planes in weight space: through three models, or along two random directions."""
