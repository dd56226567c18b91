"""The scenes of the generated demo set; data/make_demo_set.py writes them."""
