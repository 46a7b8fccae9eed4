"""Faces: the TFDS builders that prepare them and the grain pipeline that reads them."""
