"""Trained models as files for other runtimes: what they hold and say of themselves, and how they are checked."""
