"""What things cost: time, memory, parameters and multiply-adds, each beside a plain reference."""
