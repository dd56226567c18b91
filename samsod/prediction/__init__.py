"""Predictions for images without a truth: a trained model for use."""
