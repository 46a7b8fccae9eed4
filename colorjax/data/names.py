"""The data sets by name. Imports nothing that reads them."""

import os

from colorjax.terminal.errors import InputError

# The data sets, and the keys of config.dataset that only their builders take.
DATASETS: dict[str, tuple[str, ...]] = {
    "digiface1m": ("variant",),
    "image_folder": ("min_chroma",),
    "procedural_faces": (),
}


def check_paths(paths: str) -> None:
    """Raises InputError if what is neither a data set nor a path was given for evaluation."""
    if not any(os.path.exists(path) for path in (paths, *paths.split(","))):
        known = ", ".join(sorted(set(DATASETS) - {"image_folder"}))
        raise InputError(f"--dataset {paths} is neither a path nor a data set ({known})")
