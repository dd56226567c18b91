"""Scoring of saliency maps."""
