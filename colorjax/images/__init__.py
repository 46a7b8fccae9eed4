"""People's image files."""
