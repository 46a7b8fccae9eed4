import math
import re

import pytest

from colorjax.serve.limits import Refusal
from colorjax.serve.looks import Look, read_look
from colorjax.terminal.arguments import TEMPERATURE_RULE
from colorjax.terminal.errors import InputError


def test_what_is_missing_has_defaults():
    assert read_look({}) == Look(1.0, None, None, 0)
    assert read_look({"hints": [], "temperature": None}) == Look()
    look = read_look(
        {"saturation": 2, "temperature": 0, "hints": [[1, 2.5, "#FF0080"]], "candidate": 3}
    )
    assert look[:2] == (2.0, 0.0)
    assert look.hints.pixels.tolist() == [[1, 2]]
    assert look.hints.rgb.tolist() == [[255, 0, 128]]
    assert look.candidate == 3


@pytest.mark.parametrize(
    "values",
    [
        None, 3, [], {"saturation": "1"}, {"saturation": -0.1}, {"saturation": math.nan},
        {"saturation": True}, {"temperature": 0.01}, {"temperature": 11}, {"candidate": -1},
        {"candidate": 1.5}, {"candidate": 16}, {"hints": "x"}, {"hints": [[1, 2, "red"]]},
        {"hints": [[1, math.inf, "#ffffff"]]}, {"more": 1},
    ],
)  # fmt: skip
def test_wrong_values_are_named_in_one_line(values):
    with pytest.raises(InputError) as refused:
        read_look(values)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("value", [11, -1, 0.01, math.nan, "0.5", True, []])
def test_the_rule_of_temperatures_is_told(value):
    with pytest.raises(InputError, match=re.escape(TEMPERATURE_RULE)):
        read_look({"temperature": value})


def test_what_a_model_must_be_able_to():
    hinted = read_look({"hints": [[1, 2, "#ffffff"]]})
    hinted.check({"hints": True, "distribution": False})
    for look, able in (
        (hinted, {"hints": False, "distribution": True}),
        (Look(candidate=1), {"hints": True, "distribution": False}),
        (Look(temperature=0.5), {"hints": True, "distribution": False}),
    ):
        with pytest.raises(Refusal) as refused:
            look.check(able)
        assert refused.value.status == 409
    Look(temperature=0.0).check({"hints": False, "distribution": False})
    hinted.fits((2, 3))
    with pytest.raises(InputError, match="outside"):
        hinted.fits((3, 2))
