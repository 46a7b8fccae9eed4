"""Scores made readable."""
