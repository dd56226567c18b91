"""The training engine: the loop, saving and going on, signals, what ranks tell each other, logs."""
