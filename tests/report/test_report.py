"""The report of a tiny run: its contents, that its parts agree, and what it replaces."""

import html
import html.parser
import json
import re

import numpy as np
import pytest
import support
from PIL import Image

from colorjax.evaluation.scores import METRICS
from colorjax.report import findings, grids, report, tables
from colorjax.report.output import check_output
from colorjax.report.page import build_page
from colorjax.terminal.errors import InputError


@pytest.fixture(scope="module")
def directory():
    return support.trained("small_gan") / "report"


@pytest.fixture(scope="module")
def results(directory):
    return json.loads((directory / "results.json").read_text())


def test_all_files_of_a_report_exist_and_its_images_decode(directory):
    # test_heads.py has the others.
    files = set(report.FILES) - {"answers.png", "hints.png"}
    assert {file.name for file in directory.iterdir()} == files
    for png in directory.glob("*.png"):
        with Image.open(png) as image:
            image.load()
            assert np.asarray(image.convert("L")).std() > 1


def test_results_have_intervals_comparisons_groups_and_curves(results):
    names = list(results["results"])
    assert names[0] == "gan"
    assert names[2] == f"{names[1]}, scaled"
    for name in names:
        assert list(results["results"][name]) == list(results["intervals"][name]) == list(METRICS)
    pairs = {(row["a"], row["b"]) for row in results["comparisons"]}
    assert pairs == {("gan", names[1]), ("gan", names[2])}
    for key in ("skin_tone", "lightness"):
        assert sum(group["images"] for group in results[key]) == 4
        # Four images are too few to compare anything.
        assert not any(group["compared"] for group in results[key])
    assert list(results["saturation_curves"]) == [names[1]]


def test_the_text_has_the_table_and_the_sentences(directory, results):
    text = (directory / "results.md").read_text()
    assert text.startswith("- runs: gan (step 6), ")
    assert tables.results_table(results["results"]) in text
    assert all(sentence in text for sentence in tables.sentences(results, ["gan"]))


def test_the_table_has_a_row_for_every_entry_and_a_cell_for_every_metric(results):
    header, rule, *rows = tables.results_table(results["results"]).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == list(results["results"])
    assert cells[0][1] == f"{results['results']['gan']['mse']:.1f}"
    assert {line.count("|") for line in (header, rule, *rows)} == {len(tables.NARROW) + 2}


def test_numbers_that_round_to_zero_have_no_sign():
    assert tables.interval((-0.0001, 0.0001), "+.2f") == "0.00 … 0.00"
    assert tables.interval((-0.006, 0.2), "+.2f") == "-0.01 … +0.20"
    assert tables.number(-10.0, ".0f") == "-10"


PICTURES = re.compile(r'id="pictures">(.*?)</script>', re.DOTALL)


class Page(html.parser.HTMLParser):
    """Checks that elements are closed in order; collects tags and their attributes."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "link", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def text(directory):
    return (directory / "report.html").read_text()


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_is_well_formed(text, page):
    assert text.startswith("<!DOCTYPE html>\n")
    assert page.open == []
    tags = [tag for tag, _ in page.found]
    assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
    assert ("html", {"lang": "en"}) in page.found
    identities = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(identities) == len(set(identities))


def test_every_image_of_the_page_has_a_text_and_is_part_of_the_page(page):
    pictures = [attributes for tag, attributes in page.found if tag == "img"]
    assert len(pictures) == 8  # six plots, and two of the slider
    for attributes in pictures:
        assert attributes["src"].startswith("data:image/png;base64,")
        assert len(attributes["alt"]) > 20
    for _, attributes in page.found:
        for key in ("href", "src", "action"):
            assert attributes.get(key, "data:").startswith("data:")


def test_the_page_denies_itself_the_network(page):
    policies = [a["content"] for t, a in page.found if a.get("http-equiv")]
    assert policies[0].startswith("default-src 'none'; img-src data:;")


def test_the_page_has_the_metrics_the_config_and_the_images(text, results):
    for metrics in results["results"].values():
        assert f"{metrics['mse']:.1f}<small>" in text
    assert '"generator_pretrain_steps": 3' in html.unescape(text)
    shown = json.loads(PICTURES.search(text)[1])
    assert shown["order"] == ["grey", "gan", list(results["results"])[1], "truth"]
    assert len(shown["rows"]) == 4
    assert {len(images) for images in shown["columns"].values()} == {4}


def test_the_page_escapes_names(results):
    evil = '</script><b>&"'
    renamed = json.loads(json.dumps(results).replace('"gan"', json.dumps(evil)))
    pixels = np.zeros((1, 8, 8, 3), np.uint8)
    rows = grids.Rows(["best"], {"grey": pixels, evil: pixels, "truth": pixels}, {})
    text = build_page(renamed, [evil], rows, {}, {evil: {}}, [evil])
    assert evil not in text.replace("</script>\n", "")
    assert Page(text).open == []
    assert evil in json.loads(PICTURES.search(text)[1])["order"]


def test_numbers_that_json_cannot_represent_are_null():
    tree = {"a": [1.0, float("nan"), {"b": float("inf")}], "c": (np.float64("nan"), 2)}
    assert findings.finite(tree) == {"a": [1.0, None, {"b": None}], "c": [None, 2]}


FILES = {"grid.png": b"1", "report.html": b"2", "results.json": b"3"}


def test_an_existing_report_is_replaced_only_with_overwrite(tmp_path):
    output = tmp_path / "deep" / "output"
    check_output(output, overwrite=False)
    report.write_report(output, FILES | {"curves.png": b"4"})
    (output / "notes.txt").write_text("mine")
    with pytest.raises(
        InputError, match=r"output already holds a report \(results.json\).*--overwrite"
    ):
        check_output(output, overwrite=False)
    check_output(output, overwrite=True)
    report.write_report(output, FILES)
    # Files that only the old report had are removed; other files are not touched.
    assert support.files(output) == ["grid.png", "notes.txt", "report.html", "results.json"]


def test_a_report_that_is_only_in_part_replaced_does_not_count_as_complete(tmp_path):
    report.write_report(tmp_path, FILES)
    with pytest.raises(TypeError):
        report.write_report(tmp_path, FILES | {"report.html": None})
    assert not (tmp_path / "results.json").exists()


def test_an_output_that_is_not_a_writable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(InputError, match="file is a file; choose another --output"):
            check_output(output, overwrite=True)
    assert support.files(tmp_path) == ["file"]
