"""Whether data sets can be used, and what is wrong with them."""
