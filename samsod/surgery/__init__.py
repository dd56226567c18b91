"""Gradient surgery: one gradient per loss and parameter group, merged so that they do not fight (paper Eq. 9-17)."""
