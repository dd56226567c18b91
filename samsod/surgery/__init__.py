"""Gradient surgery: one gradient per loss and parameter group, merged by a rule."""
