"""One command for whoever has a GPU: whether samsod computes there what it does on a CPU, and how fast."""
