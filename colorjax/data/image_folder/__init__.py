"""Folders and zips of images."""
