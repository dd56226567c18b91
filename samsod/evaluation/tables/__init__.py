"""Tables of results, measured and reported."""
