"""Data that is made: the demo set and scribbles."""
