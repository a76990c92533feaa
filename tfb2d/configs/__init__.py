"""Recipes: a file each, whose docstring gives the command, the time it takes and the figure to expect."""
