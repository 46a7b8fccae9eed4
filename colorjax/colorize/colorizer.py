"""Colouring pictures of any size with a trained generator."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from colorjax.colorize import faces
from colorjax.colorize.full_size import apply_coefficients, area_mean, fit_coefficients
from colorjax.colorize.pictures import like, to_array, upright
from colorjax.images.decode import num_cores
from colorjax.images.photo import to_bytes
from colorjax.lab import rgb_to_lab
from colorjax.models import SIZE_MULTIPLE
from colorjax.models.variables import Predictor, Variables
from colorjax.parallel import devices
from colorjax.runs.model_paths import DEFAULT_MODEL
from colorjax.runs.weights import open_model

# Longest side of a view given to the model, in pixels.
MAX_SIDE = 1024
# Views of larger pictures are made from one whose longest side is REDUCED_SIDE.
LARGE_PIXELS = 1 << 25
REDUCED_SIDE = 4 * MAX_SIDE

Pictures = TypeVar("Pictures", Image.Image, np.ndarray, list)


class Colorizer:
    """Colours pictures of any size with a trained generator.

    The model sees a picture resized to the size it was trained with. If the picture contains
    smaller faces, the model also sees a view in which they have that size, and near them this
    prediction is used. The predicted a*b* are upsampled with the picture's lightness as a guide.
    The lightness itself does not change.

    >>> from skimage import color, data
    >>> portrait = data.astronaut()[25:205, 135:315]
    >>> grey = (255 * color.rgb2gray(portrait)).astype(np.uint8)
    >>> coloured = Colorizer.load()(grey)
    >>> coloured.shape, coloured.dtype
    ((180, 180, 3), dtype('uint8'))
    >>> bool(abs(color.rgb2lab(portrait) - color.rgb2lab(coloured)).mean() < 4)
    True

    Args:
      predict: see `models.variables.Predictor`.
      variables: of the predictor.
      image_size: side of the images it was trained with, in pixels.
      batch_size: maximum number of such images per batch.
      device: where it runs; by default JAX's first device.
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

        def predict_lab(variables: Variables, rgb: jax.Array) -> jax.Array:
            l = rgb_to_lab(rgb)[..., :1]
            return jnp.concatenate([l, predict(variables, l)], axis=-1)

        self._lab = jax.jit(predict_lab)

    @classmethod
    def load(
        cls, model: str | Path = DEFAULT_MODEL, batch_size: int = 8, device: str | None = None
    ) -> "Colorizer":
        """Loads a model.

        Args:
          model: a run's folder, RUN/checkpoints/STEP, a file written by `colorjax export`, or the
            name of a packaged model. The default is the packaged model for faces.
          batch_size: see the class.
          device: "cpu", "gpu" or "tpu"; by default JAX's first device.

        Raises:
          InputError: the model or the device does not exist.
        """
        run = open_model(str(model))
        return cls(
            run.predict, run.variables, run.image_size, batch_size, devices.one_device(device)
        )

    def __call__(self, image: Pictures, saturation: float = 1.0) -> Pictures:
        """Colours one picture or a list of pictures.

        Args:
          image: a PIL image of any mode; an sRGB array [H, W], [H, W, 1] or [H, W, 3] of uint8 or
            uint16, of which only the lightness is used; or a list of these. Samples of modes I
            and F count as 8 bits if all are in [0, 255], else as 16 bits in [0, 65535]; those of
            mode F count as [0, 1] if none exceeds 1. The profile of an 8-bit grey or CMYK image
            is applied.
          saturation: factor applied to a*b*.

        Returns:
          A PIL image of mode RGB or RGBA, upright and without EXIF orientation; an array
          [H, W, 3] of the input's type; or a list of these. Colours outside sRGB lose chroma until
          they fit.

        Raises:
          TypeError: an image is of another type.
          ValueError: an array has another shape, or no pixels; or samples of mode I or F are
            negative, not finite or above 65535.
        """
        if not isinstance(image, list):
            return self([image], saturation)[0]
        image = [upright(one) for one in image]
        pictures = [to_array(one) for one in image]
        coefficients = [saturation * c for c in self.coefficients(pictures)]
        coloured = in_threads(self.full_size, pictures, coefficients)
        return [like(one, rgb) for one, rgb in zip(image, coloured, strict=True)]

    def coefficients(
        self, pictures: Sequence[np.ndarray], crops: Sequence[Sequence[faces.Crop]] | None = None
    ) -> list[np.ndarray]:
        """Predicts the colours of pictures as local linear models a*b* = slope · L + intercept.

        Args:
          pictures: arrays [H, W, 1 or 3] of uint8 or uint16, sRGB.
          crops: for each picture its faces; by default `find_faces` searches for them.

        Returns:
          For each picture [h, w, 4] float32, as `full_size.fit_coefficients` returns them, of the
          size at which the model saw the picture.
        """
        if crops is None:
            pictures = in_threads(reduced, pictures)
            crops = self.find_faces(pictures)
        labs = self._predict([_resized(picture, self._image_size) for picture in pictures])
        zoomed = {
            i: _resized(pictures[i], self._image_size * faces.zoom(found, pictures[i].shape[:2]))
            for i, found in enumerate(crops)
            if faces.zoom(found, pictures[i].shape[:2]) > 1
        }
        for i, lab in zip(zoomed, self._predict(list(zoomed.values())), strict=True):
            labs[i] = _blended(labs[i], lab, crops[i], lab.shape[0] / pictures[i].shape[0])
        return [fit_coefficients(lab) for lab in labs]

    def find_faces(self, pictures: Sequence[np.ndarray]) -> list[list[faces.Crop]]:
        """Finds the faces of pictures, arrays as `coefficients` takes them; empty where none is."""
        return in_threads(lambda picture: faces.face_crops(_to_rgb8(picture)), pictures)

    def full_size(
        self, picture: np.ndarray, coefficients: np.ndarray, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Colours every pixel of a picture.

        Args:
          picture: [H, W, 1 or 3] uint8 or uint16, sRGB, of which only the lightness is used.
          coefficients: [h, w, 4], one element of what `Colorizer.coefficients` returns.
          out: array for the result; may be `picture` if it has three channels.

        Returns:
          [H, W, 3] of the type of `picture`: `out`, or a new array.
        """
        return apply_coefficients(picture, coefficients, self._device, out)

    def _predict(self, views: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Predicts L, a*, b* [h, w, 3] of views [h, w, 3], in batches of one padded size each."""
        padded = [_padded(view) for view in views]
        by_size = defaultdict(list)
        for index, view in enumerate(padded):
            by_size[view.shape].append(index)
        labs: dict[int, np.ndarray] = {}
        for (height, width, _), indices in by_size.items():
            fitting = max(1, self._batch_size * self._image_size**2 // (height * width))
            batch_size = 1 << (fitting.bit_length() - 1)
            for start in range(0, len(indices), batch_size):
                batch = indices[start : start + batch_size]
                # A number of views is padded to a power of two, so that few sizes are compiled.
                size = 1 << (len(batch) - 1).bit_length()
                rgb = np.stack([padded[index] for index in (batch + size * batch[-1:])[:size]])
                found = self._lab(self._variables, jax.device_put(rgb, self._device))
                labs.update(zip(batch, np.asarray(found), strict=False))
        return [labs[i][: view.shape[0], : view.shape[1]] for i, view in enumerate(views)]


def in_threads(function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
    """Maps in one thread per core: neither the detector nor XLA uses all cores for one picture."""
    with ThreadPoolExecutor(num_cores()) as pool:
        return list(pool.map(function, *arguments))


def _blended(
    lab: np.ndarray, zoomed: np.ndarray, crops: Sequence[faces.Crop], scale: float
) -> np.ndarray:
    """The Lab of a view `scale` times as large as the picture; far from faces the a*b* of `lab`."""
    scaled = [
        faces.Crop(scale * crop.x, scale * crop.y, scale * crop.side, crop.weight) for crop in crops
    ]
    near = faces.nearness(scaled, zoomed.shape[:2])[..., None]
    far = cv2.resize(lab[..., 1:], zoomed.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.concatenate([zoomed[..., :1], far + near * (zoomed[..., 1:] - far)], axis=-1)


def reduced(picture: np.ndarray) -> np.ndarray:
    """A picture of few enough pixels to be in memory several times: shrunk if it is large."""
    height, width = picture.shape[:2]
    if height * width <= LARGE_PIXELS:
        return picture
    scale = REDUCED_SIDE / max(height, width)
    return area_mean(picture, (max(1, round(scale * width)), max(1, round(scale * height))))


def _resized(rgb: np.ndarray, side: float) -> np.ndarray:
    """[h, w, 3] float32, with `side` as the shorter side unless the longer exceeds MAX_SIDE."""
    height, width = rgb.shape[:2]
    scale = min(side / min(height, width), MAX_SIDE / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    resized = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    pixels = resized.reshape(*resized.shape[:2], -1).astype(np.float32) / np.iinfo(rgb.dtype).max
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _padded(view: np.ndarray) -> np.ndarray:
    """Pads a view [h, w, 3] to one of few sizes, since the model is compiled for each."""

    def padding(side: int) -> tuple[int, int]:
        return 0, -side % (SIZE_MULTIPLE * (1 if side <= 256 else 2 if side <= 512 else 4))

    height, width = view.shape[:2]
    return np.pad(view, (padding(height), padding(width), (0, 0)), mode="symmetric")


def _to_rgb8(image: np.ndarray) -> np.ndarray:
    """[H, W, 3] uint8."""
    return np.broadcast_to(to_bytes(image), (*image.shape[:2], 3))
