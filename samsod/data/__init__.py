"""Data: families and folder layouts (catalog), decoding (images), augmentation (transforms), samples and batches."""
