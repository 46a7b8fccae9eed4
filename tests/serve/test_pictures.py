"""What is kept of a picture that is looked at."""

import numpy as np
import pytest
from hinted import colorizer as tiny

from colorjax.colorize.colorizer import Colorizer
from colorjax.colorize.faces import Crop
from colorjax.images.photo import Photo
from colorjax.serve import pictures
from colorjax.serve.looks import Look
from colorjax.serve.pictures import KEPT, Picture


@pytest.fixture
def picture(monkeypatch):
    """[48, 40], with a face."""
    monkeypatch.setattr(pictures, "face_crops", lambda rgb: [Crop(8, 4, 24, 1.0)])
    rgb = np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8)
    return Picture(b"data", "a.png", "tiny", Photo(rgb))


def test_few_answers_are_kept_and_any_number_is_given(picture):
    colorizer = tiny()
    plain = picture.num_bytes
    assert len(picture.candidates(Look(), colorizer, 2)) == 2
    each = (picture.num_bytes - plain) / 2
    assert len(picture.candidates(Look(), colorizer, KEPT + 3)) == KEPT + 3
    assert picture.num_bytes == plain + KEPT * each
    last = picture.coloured(Look(candidate=KEPT + 2), colorizer)
    assert last != picture.coloured(Look(), colorizer)


def test_suggestions_use_the_faces_that_were_found_in_the_photograph(picture, monkeypatch):
    colorizer = tiny()
    monkeypatch.setattr(Colorizer, "find_faces", lambda *_: pytest.fail("searched again"))
    found = picture.suggest(20, 16, None, colorizer, 5)
    assert found == colorizer.suggest(picture.preview, 20, 16, 5, crops=picture.crops)
    picture.crops = []
    assert found != picture.suggest(20, 16, None, colorizer, 5)
