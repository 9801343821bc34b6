"""Merging the weights of several models, tensor by tensor: pure functions, which need neither network nor data."""
