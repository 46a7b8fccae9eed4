"""Cards of what is exported keep the terms of what it was made from."""

import pytest
from random_models import random_run

from colorjax.runs.cards import export_card, model_card, read_addition, terms
from colorjax.runs.weights import export_weights
from colorjax.terminal.errors import InputError

MINE = "# mine\n\n**Use**: for `research`\nonly.\n\n- MSE 80\n"
OTHER = "# other\n\n**Use**: never.\n\n**Limits**: many\n"


@pytest.fixture
def weights(tmp_path):
    def write(name, card):
        export_weights(random_run(), tmp_path / name, card)
        return tmp_path / name

    return [write("mine.safetensors", MINE), write("other.safetensors", OTHER)]


def test_weights_keep_their_card(weights):
    assert export_card(random_run(), weights[:1]) == MINE
    assert export_card(random_run(), weights[:1], "\nMore.\n") == f"{MINE}\nMore.\n"


def test_interpolated_weights_keep_the_terms_of_both(weights):
    card = export_card(random_run(), weights, "More.")
    assert terms(card) == ["**Use**: for `research`\nonly.", "**Use**: never."]
    assert card.startswith(model_card(random_run(), "More."))
    for metric in ("MSE 80", "Limits"):  # of one of them alone
        assert metric not in card
    assert len(terms(export_card(random_run(), [weights[0], weights[0]]))) == 1


def test_a_run_has_the_terms_that_are_added_only(weights, tmp_path):
    assert export_card(random_run(), [tmp_path]) == model_card(random_run())
    assert terms(export_card(random_run(), [tmp_path], "**Use**: freely.")) == ["**Use**: freely."]
    assert terms(export_card(random_run(), [tmp_path, weights[1]])) == ["**Use**: never."]


def test_an_addition_is_text_in_utf_8(tmp_path):
    (tmp_path / "card.md").write_bytes("café".encode())
    assert read_addition(tmp_path / "card.md") == "café"
    (tmp_path / "card.md").write_bytes("café".encode("latin-1"))
    with pytest.raises(InputError, match=r"card\.md cannot be read .*give text in UTF-8"):
        read_addition(tmp_path / "card.md")
    with pytest.raises(InputError, match="is not a file"):
        read_addition(tmp_path)
