"""Colouring pictures of any size with a trained generator."""

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from colorjax.colorize import faces
from colorjax.colorize.full_size import apply_coefficients, fit_coefficients, interpolate_rows
from colorjax.colorize.hints import Hints, fitting
from colorjax.colorize.outputs import Network
from colorjax.colorize.pictures import in_threads, like, to_array, to_rgb8, upright
from colorjax.colorize.suggestions import suggestions
from colorjax.colorize.views import Output, Views, reduced
from colorjax.lab import rgb_to_lab
from colorjax.models.variables import Predictor, Variables, model_predictor
from colorjax.parallel import devices
from colorjax.runs.model_paths import DEFAULT_MODEL
from colorjax.runs.weights import open_model
from colorjax.terminal.arguments import TEMPERATURE_RULE, is_temperature
from colorjax.terminal.errors import InputError

Pictures = TypeVar("Pictures", Image.Image, np.ndarray, list)
Picture = TypeVar("Picture", Image.Image, np.ndarray)


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
      generator: the network of the predictor: for hints, candidates and uncertainty, if it has
        what these need.
      temperature: of the generator's answer, see `answers.answer`; 0 for the predictor's.
    """

    def __init__(
        self,
        predict: Predictor,
        variables: Variables,
        image_size: int,
        batch_size: int = 8,
        device: jax.Device | None = None,
        generator: nn.Module | None = None,
        temperature: float = 0.0,
    ) -> None:
        self._device = device or devices.one_device()
        self._network = Network(generator, jax.device_put(variables, self._device))
        self._views = Views(image_size, batch_size, self._device)
        self._temperature = temperature

        def predict_lab(variables: Variables, rgb: jax.Array, *hints: jax.Array) -> jax.Array:
            l = rgb_to_lab(rgb)[..., :1]
            return jnp.concatenate([l, predict(variables, l, *hints)], axis=-1)

        self._lab = jax.jit(predict_lab)

    @classmethod
    def load(
        cls,
        model: str | Path = DEFAULT_MODEL,
        batch_size: int = 8,
        device: str | None = None,
        temperature: float | None = None,
    ) -> "Colorizer":
        """Loads a model.

        Args:
          model: a run's folder, RUN/checkpoints/STEP, a file written by `colorjax export`, or, as
            a text, a packaged model's name or `hub.SYNTAX`. The default is that for faces.
          batch_size: see the class.
          device: "cpu", "gpu" or "tpu"; by default JAX's first device.
          temperature: of the annealed mean of the predicted distribution: 1, or less for bolder
            colours; 0 for the answer of the regression; None for the model's own.

        Raises:
          InputError: the model or the device does not exist, or the model has no distribution.
        """
        run = open_model(model)
        predict, on = model_predictor(run.generator), devices.one_device(device)
        return cls(
            predict, run.variables, run.image_size, batch_size, on, run.generator, run.temperature
        ).variant(temperature)

    def variant(self, temperature: float | None = None, one_program: bool = False) -> "Colorizer":
        """The same model, which shares its variables and what is compiled for it.

        Args:
          temperature: see `load`; None: as it is.
          one_program: takes answers, with and without hints, from the network that also gives
            candidates, uncertainty and suggestions. Less is compiled for a picture that all of
            these are asked of; one answer takes a little longer.

        Raises:
          InputError: see `load`.
        """
        other = copy.copy(self)
        other._network = self._network._replace(one_program=one_program)
        if temperature is not None:
            other._temperature = temperature
        if not is_temperature(other._temperature):
            raise InputError(
                f"temperature={temperature} is not valid; it must be {TEMPERATURE_RULE}"
            )
        if other._temperature:
            other._network.check_distribution()
        return other

    def __call__(self, image: Pictures, saturation: float = 1.0, hints: Any = None) -> Pictures:
        """Colours one picture or a list of pictures.

        Args:
          image: a PIL image of any mode; an sRGB array [H, W], [H, W, 1] or [H, W, 3] of uint8 or
            uint16, of which only the lightness is used; or a list of these. Samples of modes I
            and F count as 8 bits if all are in [0, 255], else as 16 bits in [0, 65535]; those of
            mode F count as [0, 1] if none exceeds 1. The profile of an 8-bit grey or CMYK image
            is applied.
          saturation: factor applied to a*b*.
          hints: a list of (x, y, "#rrggbb"): column and row of a pixel of the upright picture, and
            the sRGB colour whose a*b* it is to have. For a list of pictures a list of such lists,
            in which None means none.

        Returns:
          A PIL image of mode RGB or RGBA, upright and without EXIF orientation; an array
          [H, W, 3] of the input's type; or a list of these. Colours outside sRGB lose chroma until
          they fit.

        Raises:
          TypeError: an image is of another type.
          ValueError: an array has another shape, or no pixels; or samples of mode I or F are
            negative, not finite or above 65535.
          InputError: a hint is no such triple or outside its picture, or the model takes none. It
            is a ValueError.
        """
        if not isinstance(image, list):
            return self([image], saturation, None if hints is None else [hints])[0]
        image = [upright(one) for one in image]
        pictures = [to_array(one) for one in image]
        given = None if hints is None else self._fitting(hints, pictures)
        coefficients = [saturation * c for c in self.coefficients(pictures, hints=given)]
        coloured = in_threads(self.full_size, pictures, coefficients)
        return [like(one, rgb) for one, rgb in zip(image, coloured, strict=True)]

    def candidates(
        self, image: Picture, count: int, saturation: float = 1.0, hints: Any = None
    ) -> list[Picture]:
        """Colours a picture in different ways, each plausible as a whole.

        Args:
          image: a PIL image or an array, as for `__call__`.
          count: number of coloured images. The first ones of more are the same.
          saturation: see `__call__`.
          hints: see `__call__`, for one picture.

        Returns:
          Coloured images, as `__call__` returns them.

        Raises:
          InputError: the model predicts no distribution, or the count is less than 1. Otherwise
            see `__call__`.
        """
        if count < 1:
            raise InputError(f"count={count} is not valid; give 1 or more")
        image, picture, given = self._one(image, hints)
        (found,) = self.candidate_coefficients([picture], count, hints=[given])
        coloured = in_threads(self.full_size, count * [picture], [saturation * c for c in found])
        return [like(image, rgb) for rgb in coloured]

    def uncertainty(self, image: Image.Image | np.ndarray, hints: Any = None) -> np.ndarray:
        """How unsure the model is of each pixel's colour.

        Args:
          image: a PIL image or an array, as for `__call__`.
          hints: see `__call__`, for one picture.

        Returns:
          [H, W] float32, of the upright image: the standard deviation of a*b* in Lab units. It is
          predicted for the views that the model sees, and interpolated.

        Raises:
          InputError: the model predicts no distribution. Otherwise see `__call__`.
        """
        _, picture, given = self._one(image, hints)
        (small,) = self.uncertainty_maps([picture], hints=[given])
        height, width = picture.shape[:2]
        return interpolate_rows(small[..., None], (height, width), 0, height)

    def suggest(
        self,
        image: Image.Image | np.ndarray,
        x: float,
        y: float,
        count: int = 5,
        hints: Any = None,
        crops: Sequence[faces.Crop] | None = None,
    ) -> list[tuple[str, float]]:
        """The likeliest colours of a pixel.

        Args:
          image: a PIL image or an array, as for `__call__`.
          x: column of the pixel in the upright image, from 0.
          y: its row.
          count: at most as many colours are returned.
          hints: see `__call__`, for one picture.
          crops: its faces; by default `find_faces` searches for them.

        Returns:
          ("#rrggbb", probability), the likeliest first: modes of the distribution, in sRGB at the
          lightness of the pixel, see `suggestions`.

        Raises:
          InputError: the pixel is outside the image, the count is less than 1, or the model
            predicts no distribution. Otherwise see `__call__`.
        """
        _, picture, given = self._one(image, hints)
        self._network.check_distribution()
        if count < 1:
            raise InputError(f"count={count} is not valid; give 1 or more")
        height, width = picture.shape[:2]
        if not (0 <= x < width and 0 <= y < height):
            raise InputError(f"({x}, {y}) is outside the picture of {width}×{height} pixels")
        small = reduced(picture) if crops is None else picture
        crops = self.find_faces([small])[0] if crops is None else crops
        place = (int(x) + 0.5) / width, (int(y) + 0.5) / height
        found = self._views.at(self._network.probabilities, small, crops, given, place)
        return suggestions(found, picture[int(y), int(x)], count)

    def coefficients(
        self,
        pictures: Sequence[np.ndarray],
        crops: Sequence[Sequence[faces.Crop]] | None = None,
        hints: Sequence[Hints | None] | None = None,
    ) -> list[np.ndarray]:
        """Predicts the colours of pictures as local linear models a*b* = slope · L + intercept.

        Args:
          pictures: arrays [H, W, 1 or 3] of uint8 or uint16, sRGB.
          crops: for each picture its faces; by default `find_faces` searches for them.
          hints: for each picture its hints, with its size, or None.

        Returns:
          For each picture [h, w, 4] float32, as `full_size.fit_coefficients` returns them, of the
          size at which the model saw the picture.
        """
        return [fit_coefficients(lab) for lab in self._maps(self._answer, pictures, crops, hints)]

    def candidate_coefficients(
        self,
        pictures: Sequence[np.ndarray],
        count: int,
        crops: Sequence[Sequence[faces.Crop]] | None = None,
        hints: Sequence[Hints | None] | None = None,
    ) -> list[list[np.ndarray]]:
        """Like `coefficients`, for each picture those of `count` candidates."""
        self._network.check_distribution()
        output = partial(self._network.candidates, temperature=self._temperature, count=count)
        channels = [[0, 2 * i + 1, 2 * i + 2] for i in range(count)]
        return [
            [fit_coefficients(np.ascontiguousarray(maps[..., of])) for of in channels]
            for maps in self._maps(output, pictures, crops, hints)
        ]

    def uncertainty_maps(
        self,
        pictures: Sequence[np.ndarray],
        crops: Sequence[Sequence[faces.Crop]] | None = None,
        hints: Sequence[Hints | None] | None = None,
    ) -> list[np.ndarray]:
        """For each picture [h, w] float32: `uncertainty` at the size at which the model saw it.

        The arguments are those of `coefficients`.
        """
        self._network.check_distribution()
        maps = self._maps(self._network.uncertainty, pictures, crops, hints)
        return [of_picture[..., 1].copy() for of_picture in maps]

    def find_faces(self, pictures: Sequence[np.ndarray]) -> list[list[faces.Crop]]:
        """Finds the faces of pictures, arrays as `coefficients` takes them; empty where none is."""
        return in_threads(lambda picture: faces.face_crops(to_rgb8(picture)), pictures)

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

    def _one(self, image: Any, hints: Any) -> tuple[Any, np.ndarray, Hints | None]:
        """An upright image, its samples and its hints."""
        image = upright(image)
        picture = to_array(image)
        return image, picture, self._fitting([hints], [picture])[0]

    def _fitting(self, hints: Any, pictures: Sequence[np.ndarray]) -> list[Hints | None]:
        found = fitting(hints, [(one.shape[1], one.shape[0]) for one in pictures])
        if any(found):
            self._network.check_hints()
        return found

    def _answer(self, rgb: jax.Array, hints: jax.Array | None) -> jax.Array:
        of_network = self._temperature or self._network.one_program
        if of_network and self._network.generator is not None:
            return self._network.answer(rgb, hints, temperature=self._temperature)
        return self._lab(self._network.variables, rgb, *(() if hints is None else (hints,)))

    def _maps(
        self,
        output: Output,
        pictures: Sequence[np.ndarray],
        crops: Sequence[Sequence[faces.Crop]] | None,
        hints: Sequence[Hints | None] | None,
    ) -> list[np.ndarray]:
        if crops is None:
            pictures = in_threads(reduced, pictures)
            crops = self.find_faces(pictures)
        return self._views.maps(output, pictures, crops, hints or len(pictures) * [None])
