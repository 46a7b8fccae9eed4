"""Colouring images with a trained generator."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, overload

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from colorjax.colorize import faces, full_size
from colorjax.colorize.full_size import apply_coefficients
from colorjax.images.decode import num_cores
from colorjax.images.photo import to_bytes
from colorjax.lab import rgb_to_lab
from colorjax.models import SIZE_MULTIPLE
from colorjax.models.variables import Predictor, Variables
from colorjax.parallel import devices
from colorjax.runs.weights import DEFAULT_MODEL, open_model

# The longest side that the model sees of a picture.
LARGEST = 1024
# Pixels coloured in one call at most: few calls, and little memory for a picture of any size.
CHUNK = 1 << 20


class Colorizer:
    """Colours pictures of any size with a trained generator.

    The model sees a picture at the size it was trained with, and one that holds faces smaller than
    it knows them a second time, so large that these have their size; near them that counts. Its
    a*b* come back to full size guided by the lightness of the picture, which stays as it is.

    >>> from skimage import color, data
    >>> portrait = data.astronaut()[25:205, 135:315]
    >>> grey = (255 * color.rgb2gray(portrait)).astype(np.uint8)
    >>> coloured = Colorizer.load()(grey)
    >>> coloured.shape, coloured.dtype
    ((180, 180, 3), dtype('uint8'))
    >>> bool(abs(color.rgb2lab(portrait) - color.rgb2lab(coloured)).mean() < 4)
    True

    Args:
      predict: see `steps.Predictor`.
      variables: the predictor's.
      image_size: the side of the images it was trained with, in pixels.
      batch_size: how many of these it sees at once at most.
      device: where it runs; by default the first that JAX has.
    """

    def __init__(
        self,
        predict: Predictor,
        variables: Variables,
        image_size: int,
        batch_size: int = 8,
        device: jax.Device | None = None,
    ) -> None:
        self._device = device or devices.one_device()
        self._variables = jax.device_put(variables, self._device)
        self._image_size, self._batch_size = image_size, batch_size
        self._lab = jax.jit(partial(_predict_lab, predict))

    @classmethod
    def load(
        cls, model: str | Path = DEFAULT_MODEL, batch_size: int = 8, device: str | None = None
    ) -> "Colorizer":
        """Loads a model.

        Args:
          model: a run's folder, RUN/checkpoints/STEP, a file that `colorjax export` wrote, or the
            name of a model that comes with colorjax; by default the one that is best for faces.
          batch_size: see the class.
          device: "cpu", "gpu" or "tpu"; by default the best that JAX has.

        Raises:
          InputError: there is no such model or device.
        """
        run = open_model(str(model))
        return cls(
            run.predict,
            run.variables,
            run.image_size,
            batch_size,
            devices.one_device(device),
        )

    @overload
    def __call__(self, image: Image.Image, saturation: float = ...) -> Image.Image: ...
    @overload
    def __call__(self, image: np.ndarray, saturation: float = ...) -> np.ndarray: ...
    @overload
    def __call__(self, image: list, saturation: float = ...) -> list: ...
    def __call__(self, image: Any, saturation: float = 1.0) -> Any:
        """Colours a picture, or several.

        Args:
          image: a PIL image, whose alpha stays; an array [H, W], [H, W, 1] or [H, W, 3] of uint8
            or uint16, sRGB, of which only the lightness is used; or a list of these.
          saturation: a*b* are multiplied by it.

        Returns:
          The same of the same kind and type, arrays as [H, W, 3]. Colours that sRGB cannot show
          lose chroma until they fit.

        Raises:
          TypeError: it is of another kind.
          ValueError: an array of another shape, or without a pixel.
        """
        if not isinstance(image, list):
            return self([image], saturation)[0]
        arrays = [_to_array(one) for one in image]
        coloured = self._colorize(arrays, saturation)
        return [_like(one, array) for one, array in zip(image, coloured, strict=True)]

    def _colorize(self, pictures: Sequence[np.ndarray], saturation: float) -> list[np.ndarray]:
        coefficients = [saturation * coefficient for coefficient in self._coefficients(pictures)]
        return in_threads(self._full_size, pictures, coefficients)

    def _coefficients(self, pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
        """For each picture how a*b* follow L, as `upsampling.fit_coefficients`."""
        crops = in_threads(lambda rgb: faces.face_crops(_shown(rgb)), pictures)
        whole = self._see([_resized(rgb, self._image_size) for rgb in pictures])
        zooms = [
            _resized(rgb, self._image_size * faces.zoom(found, rgb.shape[:2]))
            for rgb, found in zip(pictures, crops, strict=True)
            if found
        ]
        zoomed = iter(self._see(zooms))
        coefficients = []
        for rgb, lab, found in zip(pictures, whole, crops, strict=True):
            if found:
                lab = _mixed(lab, next(zoomed), found, rgb.shape[:2])
            coefficients.append(full_size.fit_coefficients(lab[..., 0].copy(), lab[..., 1:].copy()))
        return coefficients

    def _see(self, views: Sequence[np.ndarray]) -> list[np.ndarray]:
        """L, a*, b* [h, w, 3] of views [h, w, 3], by batches of those padded to one size."""
        buckets = defaultdict(list)
        for number, view in enumerate(views):
            buckets[_bucket(*view.shape[:2])].append(number)
        labs: dict[int, np.ndarray] = {}
        for (height, width), numbers in buckets.items():
            at_once = max(1, self._batch_size * self._image_size**2 // (height * width))
            for start in range(0, len(numbers), at_once):
                batch = numbers[start : start + at_once]
                padded = [_padded(views[number], height, width) for number in batch]
                # A power of two, so that few sizes are compiled.
                padded += padded[-1:] * (2 ** math.ceil(math.log2(len(batch))) - len(batch))
                found = self._lab(self._variables, jax.device_put(np.stack(padded), self._device))
                for number, lab in zip(batch, np.asarray(found), strict=False):
                    labs[number] = lab[: views[number].shape[0], : views[number].shape[1]]
        return [labs[number] for number in range(len(views))]

    def _full_size(self, rgb: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """Colours all pixels, some rows at a time: a picture may fill most of the memory."""
        coloured = np.empty((*rgb.shape[:2], 3), rgb.dtype)
        height, width = rgb.shape[:2]
        rows = max(1, CHUNK // width)
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            guide = full_size.interpolate_rows(coefficients, (height, width), top, bottom)
            coloured[top:bottom] = self._recolored(rgb[top:bottom], guide)
        return coloured

    def _recolored(self, rgb: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """[h, w, 3] of pixels [h, w, 1 or 3] and coefficients [h, w, 4]."""
        pixels, guide = rgb.reshape(-1, rgb.shape[-1]), coefficients.reshape(-1, 4)
        coloured, fits = self._by_coefficients(pixels, guide, clip=False)
        outside = np.flatnonzero(~fits)
        if outside.size:
            coloured[outside], _ = self._by_coefficients(pixels[outside], guide[outside], clip=True)
        return coloured.reshape(*rgb.shape[:2], 3)

    def _by_coefficients(
        self, pixels: np.ndarray, coefficients: np.ndarray, clip: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `apply_coefficients`; by chunks of a power of two, so that little is compiled."""
        coloured, fits = np.empty((len(pixels), 3), pixels.dtype), np.empty(len(pixels), bool)
        size = min(CHUNK, max(CHUNK >> 6, 1 << (len(pixels) - 1).bit_length()))
        for start in range(0, len(pixels), size):
            some = slice(start, start + size)
            padding = ((0, size - len(pixels[some])), (0, 0))
            chunk = np.pad(pixels[some], padding), np.pad(coefficients[some], padding)
            found = apply_coefficients(*jax.device_put(chunk, self._device), clip=clip)
            for whole, part in zip((coloured, fits), found, strict=True):
                whole[some] = np.asarray(part)[: len(whole[some])]
        return coloured, fits


def in_threads(function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
    """As map; each core takes pictures, since neither the cascade nor XLA fills all with one."""
    with ThreadPoolExecutor(num_cores()) as pool:
        return list(pool.map(function, *arguments))


def _predict_lab(predict: Predictor, variables: Variables, rgb: jax.Array) -> jax.Array:
    l = rgb_to_lab(rgb)[..., :1]
    return jnp.concatenate([l, predict(variables, l)], axis=-1)


def _mixed(
    whole: np.ndarray, zoomed: np.ndarray, crops: Sequence[faces.Crop], shape: tuple[int, int]
) -> np.ndarray:
    """[h, w, 3] Lab as `zoomed`, but with the a*b* of `whole` far from the faces."""
    height, width = zoomed.shape[:2]
    scale = height / shape[0]
    scaled = [faces.Crop(*(scale * value for value in crop)) for crop in crops]
    near = faces.nearness(scaled, (height, width))[..., None]
    far = cv2.resize(whole[..., 1:], (width, height), interpolation=cv2.INTER_LINEAR)
    return np.concatenate([zoomed[..., :1], far + near * (zoomed[..., 1:] - far)], axis=-1)


def _resized(rgb: np.ndarray, side: float) -> np.ndarray:
    """[h, w, 3] float32 of a picture whose shorter side shall be `side`, if it is not too long."""
    height, width = rgb.shape[:2]
    scale = min(side / min(height, width), LARGEST / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    resized = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    pixels = resized.reshape(*resized.shape[:2], -1).astype(np.float32) / np.iinfo(rgb.dtype).max
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _bucket(*shape: int) -> tuple[int, ...]:
    """The size to which a view is padded; few, since the model is compiled for each."""
    steps = (SIZE_MULTIPLE * (1 if side <= 256 else 2 if side <= 512 else 4) for side in shape)
    return tuple(math.ceil(side / step) * step for side, step in zip(shape, steps, strict=True))


def _padded(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    padding = ((0, height - rgb.shape[0]), (0, width - rgb.shape[1]), (0, 0))
    return np.pad(rgb, padding, mode="symmetric")


def _to_array(image: Any) -> np.ndarray:
    """[H, W, 1 or 3] uint8 or uint16."""
    if isinstance(image, Image.Image):
        image = np.asarray(image if image.mode.startswith("I;16") else image.convert("RGB"))
    if not isinstance(image, np.ndarray) or image.dtype not in (np.uint8, np.uint16):
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f"{kind} is no PIL image, nor an array of uint8 or uint16")
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise ValueError(f"an array of shape {image.shape} is no [H, W], [H, W, 1] or [H, W, 3]")
    return image


def _shown(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8."""
    return np.broadcast_to(to_bytes(image), (*image.shape[:2], 3))


def _like(original: Any, rgb: np.ndarray) -> Any:
    if not isinstance(original, Image.Image):
        return rgb
    image = Image.fromarray(_shown(rgb))
    if original.has_transparency_data:
        image.putalpha(original.convert("RGBA").getchannel("A"))
    # A profile for grey says nothing of RGB.
    keeps_profile = original.mode in ("RGB", "RGBA")
    image.info = {
        key: value for key, value in original.info.items() if key != "icc_profile" or keeps_profile
    }
    return image
