"""Figures and the HTML report of a run; matplotlib is the `plot` extra."""
