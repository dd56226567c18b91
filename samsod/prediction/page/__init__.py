"""A local page to try a trained model on."""
