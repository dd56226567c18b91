"""The training engine: the loop, gradient surgery, checkpoints, ranks and logs."""
