"""A picture that a client looks at: what is kept of it, and its previews."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.extras import WHITE
from colorjax.colorize.faces import Crop, face_crops
from colorjax.colorize.full_size import area_mean, interpolate_rows
from colorjax.colorize.hints import Hints
from colorjax.colorize.pictures import in_threads, to_rgb8
from colorjax.colorize.views import reduced
from colorjax.images.photo import Photo, on_white, to_bytes
from colorjax.serve.looks import Look

# Longest side of previews and of those of candidates, in pixels.
PREVIEW_SIDE, CANDIDATE_SIDE = 1024, 512
# Colour in full size too.
_JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, 90),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]
# The colour of what the model is unsure of (RGB), and its opacity at most.
UNSURE, MAX_OPACITY = (199, 28, 0), 0.85
# Of the model's answers to one question, so many are kept.
KEPT = 4


class Seen(NamedTuple):
    """What the model said last about a picture: one answer, or the first KEPT candidates.

    Attributes:
      asked: the temperature and the hints it was asked for.
      coefficients: see `Colorizer.coefficients`.
    """

    asked: tuple[float | None, bytes]
    coefficients: Sequence[np.ndarray]


class Picture:
    """An uploaded photograph, decoded at preview size.

    Attributes:
      data: the file.
      name: of the file.
      model: name of the model that colours it.
      size: width and height of the upright photograph.
      preview: [h, w, 3] uint8 sRGB, or [h, w, 1] if it is grey.
      alpha: [h, w] uint8, or None.
      crops: its faces, in pixels of the preview.
      notes: what its coloured file does not keep.
    """

    def __init__(self, data: bytes, name: str, model: str, photo: Photo) -> None:
        self.data, self.name, self.model, self.notes = data, name, model, photo.notes
        self.size = photo.rgb.shape[1], photo.rgb.shape[0]
        small = reduced(photo.rgb)
        rgb = to_bytes(_shrunk(small, PREVIEW_SIDE))
        is_grey = all(np.array_equal(rgb[..., 0], rgb[..., i]) for i in (1, 2))
        self.preview = np.ascontiguousarray(rgb[..., :1] if is_grey else rgb)
        self.alpha: np.ndarray | None = None
        if photo.alpha is not None:
            alpha = _shrunk(photo.alpha[..., None], PREVIEW_SIDE)
            self.alpha = np.ascontiguousarray(to_bytes(alpha)[..., 0])
        # As the command finds them: in the picture, and not in its preview.
        scale = rgb.shape[1] / small.shape[1]
        crops = face_crops(to_rgb8(small))
        self.crops = [Crop(scale * x, scale * y, scale * side, w) for x, y, side, w in crops]
        self._seen: Seen | None = None

    @property
    def num_bytes(self) -> int:
        """That are kept of it."""
        seen = self._seen.coefficients if self._seen else ()
        arrays = [self.preview, *seen, *([] if self.alpha is None else [self.alpha])]
        return len(self.data) + sum(array.nbytes for array in arrays)

    @property
    def preview_size(self) -> tuple[int, int]:
        return self.preview.shape[1], self.preview.shape[0]

    def grey(self, colorizer: Colorizer) -> bytes:
        """A JPEG of the lightness."""
        none = np.zeros((1, 1, 4), np.float32)
        rgb = colorizer.full_size(self.preview, none)
        return self._jpeg(np.repeat(rgb[..., 1:2], 3, axis=-1))

    def coloured(self, look: Look, colorizer: Colorizer) -> bytes:
        """A JPEG of the picture as it is to look."""
        coefficients = self._coefficients(look, colorizer, 1 + look.candidate)[look.candidate]
        return self._jpeg(colorizer.full_size(self.preview, look.saturation * coefficients))

    def candidates(self, look: Look, colorizer: Colorizer, count: int) -> list[bytes]:
        """Smaller JPEGs of the answer and the candidates after it."""
        found = self._coefficients(look, colorizer, count)[:count]
        small = _shrunk(self.preview, CANDIDATE_SIDE)
        alpha = None if self.alpha is None else _shrunk(self.alpha[..., None], CANDIDATE_SIDE)

        def jpeg(coefficients: np.ndarray) -> bytes:
            rgb = colorizer.full_size(small, look.saturation * coefficients)
            return _jpeg(on_white(rgb, None if alpha is None else alpha[..., 0]))

        return in_threads(jpeg, found)

    def uncertainty(self, look: Look, colorizer: Colorizer) -> bytes:
        """A PNG to lay over the preview, the more opaque the less sure the model is."""
        hints = [self._hints(look)]
        (small,) = colorizer.uncertainty_maps([self.preview], [self.crops], hints)
        height, width = self.preview.shape[:2]
        deviation = interpolate_rows(small[..., None], (height, width), 0, height)
        overlay = np.empty((height, width, 4), np.uint8)
        overlay[..., :3] = UNSURE[::-1]
        overlay[..., 3] = np.rint(255 * MAX_OPACITY * np.clip(deviation / WHITE, 0, 1))
        return cv2.imencode(".png", overlay)[1].tobytes()

    def suggest(
        self, x: float, y: float, hints: Hints | None, colorizer: Colorizer, count: int
    ) -> list[tuple[str, float]]:
        """The likeliest colours at a pixel of the photograph, see `Colorizer.suggest`."""
        (width, height), (across, down) = self.size, self.preview_size
        if hints is not None:
            pixels = hints.of(self.size).pixels * (across, down) // (width, height)
            hints = hints._replace(pixels=pixels, size=None)
        at = int(x) * across // width, int(y) * down // height
        return colorizer.suggest(self.preview, *at, count, hints, self.crops)

    def _hints(self, look: Look) -> Hints | None:
        # The size of the photograph: the model's views have a size of their own anyway.
        return look.hints.of(self.size) if look.hints is not None else None

    def _coefficients(self, look: Look, colorizer: Colorizer, count: int) -> Sequence[np.ndarray]:
        """At least `count`; those of the last look if only its saturation or candidate differ."""
        hints = self._hints(look)
        points = b"" if hints is None else hints.pixels.tobytes() + hints.rgb.tobytes()
        asked = look.temperature, points
        seen = self._seen
        if seen is not None and seen.asked == asked and len(seen.coefficients) >= count:
            return seen.coefficients
        pictures, crops = [self.preview], [self.crops]
        if count == 1:
            found = colorizer.coefficients(pictures, crops, [hints])
        else:
            (found,) = colorizer.candidate_coefficients(pictures, count, crops, [hints])
        self._seen = Seen(asked, found[:KEPT])
        return found

    def _jpeg(self, rgb: np.ndarray) -> bytes:
        return _jpeg(on_white(rgb, self.alpha))


def _jpeg(rgb: np.ndarray) -> bytes:
    bgr = np.ascontiguousarray(rgb[..., ::-1])
    return cv2.imencode(".jpg", bgr, _JPEG)[1].tobytes()


def _shrunk(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture whose longer side is at most `side`."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    return area_mean(picture, (max(1, round(scale * width)), max(1, round(scale * height))))
