"""Starlight: the search for a star model, and model fusion, which is the same with its own loss added."""
