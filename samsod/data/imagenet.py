"""ImageNet's statistics, with which photographs are standardised."""

MEAN = (0.485, 0.456, 0.406)
"""Mean of each channel, red first, of images in 0-1."""
STD = (0.229, 0.224, 0.225)
"""Standard deviation of each channel."""
