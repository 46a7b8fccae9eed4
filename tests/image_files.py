"""Folders and zips of small images for tests, and how image_folder opens them."""

import io
import zipfile

import numpy as np
from PIL import Image

from colorjax.data import pipeline


def encoded(image, format="png", **options):
    """The contents of a file with a Pillow image or an array."""
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, format, **options)
    return file.getvalue()


def noise(seed, format="png", size=(12, 10)):
    rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return encoded(rgb, format)


def people(count, images=2, start=0):
    """`count` people with a JPEG and PNGs each, by file name."""
    return {
        f"person {start + p}/{i}.{'jpg' if i == 0 else 'PNG'}": noise(
            100 * (start + p) + i, "jpeg" if i == 0 else "png"
        )
        for p in range(count)
        for i in range(images)
    }


def write_files(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def zipped(files, compression=zipfile.ZIP_STORED):
    """The contents of a zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


def write_zip(path, files, compression=zipfile.ZIP_STORED):
    path.write_bytes(zipped(files, compression))
    return path


def load(tmp_path, *paths, validation=(), **options):
    return pipeline.load_sources(
        "image_folder",
        path=",".join(map(str, paths)),
        validation_path=",".join(map(str, validation)),
        cache_dir=tmp_path / "cache",
        **options,
    )


def times_prepared(tmp_path):
    return len(list((tmp_path / "cache").rglob("dataset_info.json")))
