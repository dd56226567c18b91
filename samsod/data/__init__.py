"""Data: where sets lie (sources), reading (decoding), augmentation, samples and batches, checks, made-up sets."""
