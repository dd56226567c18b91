"""Data sets as they lie on disk: families, layouts, and files paired by stem."""
