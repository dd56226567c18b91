"""The paper's tables by name: which runs they take, making them, and the table they end in."""
