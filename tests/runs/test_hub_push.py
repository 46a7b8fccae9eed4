"""Models on their way to the Hugging Face Hub: names, cards, and what is refused."""

import chex
import hub_server
import pytest
import support
from random_models import random_run
from safetensors.numpy import load_file

from colorjax import cli
from colorjax.runs import hub
from colorjax.runs.cards import terms
from colorjax.runs.model_paths import DEFAULT_MODEL, packaged, read_metadata
from colorjax.runs.weights import export_weights

# httpx's, of how huggingface_hub sends a file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def server(tmp_path):
    with hub_server.joined({}, tmp_path / "cache") as server:
        yield server


@pytest.mark.parametrize("keeps", [False, True])
def test_what_is_pushed_can_be_loaded_by_its_name(server, monkeypatch, capsys, tmp_path, keeps):
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    output = tmp_path / "kept.safetensors"
    flags = ["--output", str(output)] if keeps else []
    assert cli.main(["export", DEFAULT_MODEL, "--push", "hf:me/faces", *flags]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.splitlines()[-1] == f"Uploaded to {server.url}/me/faces."
    files = server.repositories["me/faces"]
    card = read_metadata(packaged()[DEFAULT_MODEL])["card"]
    assert files["README.md"].decode() == f"{hub.METADATA}{card}"
    assert files.keys() == {"model.safetensors", "README.md"}
    assert output.exists() == keeps
    path = hub.fetch("hf:me/faces")
    chex.assert_trees_all_equal(load_file(path), load_file(packaged()[DEFAULT_MODEL]))
    if not keeps:
        return
    assert files["model.safetensors"] == output.read_bytes()
    # A repository that exists is written again, and the terms stay.
    (tmp_path / "card.md").write_text("More to say.")
    added = ["--card", str(tmp_path / "card.md")]
    assert cli.main(["export", DEFAULT_MODEL, "--push", "hf:me/faces", *added]) == 0
    assert files["README.md"].decode() == f"{hub.METADATA}{card}\nMore to say.\n"
    assert terms(card)


@pytest.mark.parametrize(
    ("kind", "output"),
    [("safetensors", "random.v2"), ("onnx", "random"), ("onnx", None), ("stablehlo", "random")],
)
def test_a_file_is_named_by_its_kind(server, monkeypatch, tmp_path, kind, output):
    if kind == "onnx":
        pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
        pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    export_weights(random_run(), tmp_path / "random.safetensors", "# A card\n", "float32")
    flags = ["--output", str(tmp_path / "out" / output)] if output else []
    command = ["export", str(tmp_path / "random.safetensors"), "--format", kind, *flags]
    with support.quick_compilation():
        assert cli.main([*command, "--push", "hf:me/random"]) == 0
    files = server.repositories["me/random"]
    beside = {"model.stablehlo.json"} if kind == "stablehlo" else set()
    assert files.keys() == {f"model.{kind}", "README.md", *beside}
    assert files["README.md"].decode() == f"{hub.METADATA}# A card\n"
    for file in (tmp_path / "out").glob("*"):
        assert file.read_bytes() == files[file.name.replace(output, f"model.{kind}")]


@pytest.mark.parametrize(
    ("token", "name", "words"),
    [
        (
            None,
            "hf:me/faces",
            "uploading hf:me/faces needs a token; run `hf auth login` or set ",
        ),
        (hub_server.TOKEN, "hf:me/faces@main", "names more than a repository; give hf:OWNER/NAME"),
        (hub_server.TOKEN, "hf:me/a/b.safetensors", "names more than a repository"),
        (hub_server.TOKEN, "me/faces", "is not a name of weights"),
        (hub_server.TOKEN, "hf:timm/faces", "access is refused (You don't have the rights to crea"),
        ("wrong", "hf:me/faces", "hf:me/faces cannot be uploaded: access is refused"),
    ],
)
def test_what_cannot_be_pushed_is_said(server, monkeypatch, capsys, token, name, words):
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    before = dict(server.repositories)
    assert cli.main(["export", DEFAULT_MODEL, "--push", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert server.repositories == before


def test_an_upload_that_breaks_commits_nothing(server, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    monkeypatch.setattr(server, "stored", {}.copy)  # no item can be set
    assert cli.main(["export", DEFAULT_MODEL, "--push", "hf:me/faces"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "hf:me/faces cannot be uploaded" in line
    assert server.repositories["me/faces"] == {}


def test_a_site_cannot_be_pushed(server, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", hub_server.TOKEN)
    assert cli.main(["export", DEFAULT_MODEL, "--push", "hf:me/faces", "--format", "site"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--push uploads one file and its card, not a site" in line
    assert not server.requests


def test_neither_an_output_nor_a_push(capsys):
    assert cli.main(["export", DEFAULT_MODEL]) == 2
    assert "give --output FILE, --push hf:OWNER/NAME, or both" in capsys.readouterr().err
