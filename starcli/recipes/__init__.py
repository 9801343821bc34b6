"""Recipes that ship with the program."""
