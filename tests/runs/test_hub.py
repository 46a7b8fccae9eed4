"""Weights by name, against a server on loopback that speaks the Hugging Face Hub's protocol."""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import chex
import hub_server
import huggingface_hub
import numpy as np
import pytest
import support
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save

from colorjax import Colorizer, cli
from colorjax.runs import hub
from colorjax.runs.model_paths import DEFAULT_MODEL, find_model, model_name, packaged, read_metadata
from colorjax.runs.trained_model import run_names
from colorjax.runs.weights import open_model
from colorjax.terminal.errors import InputError

# httpx's, of how huggingface_hub sends a file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

RNG = np.random.default_rng(0)
# 16 KiB and a header, so that there is something to cut.
WEIGHTS, OTHERS = (save({"x": RNG.normal(size=(64, 32))}) for _ in range(2))
REPOSITORIES = {
    "timm/resnet": {"README.md": b"# ", "model.safetensors": WEIGHTS, "b.safetensors": OTHERS},
    "timm/one": {"vit.safetensors": WEIGHTS, "pytorch_model.bin": b"pickled"},
    "timm/several": {"b.safetensors": OTHERS, "sub/a.safetensors": WEIGHTS},
    "timm/pickled": {"pytorch_model.bin": b"pickled", "README.md": b"# "},
    "me/text": {"model.safetensors": b"no tensors"},
}


@pytest.fixture
def server(tmp_path):
    with hub_server.joined(REPOSITORIES, tmp_path / "cache") as server:
        yield server


def refusal(call, *arguments):
    with pytest.raises(InputError) as error:
        call(*arguments)
    (line,) = str(error.value).splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("hf:timm/resnet", WEIGHTS),
        ("hf:timm/resnet/b.safetensors", OTHERS),
        ("hf:timm/resnet@main", WEIGHTS),
        ("hf:timm/one", WEIGHTS),
        ("hf:timm/several/sub/a.safetensors", WEIGHTS),
    ],
)
def test_a_name_is_downloaded_once_into_the_cache(server, tmp_path, name, contents):
    path = hub.fetch(name)
    assert path.read_bytes() == contents
    assert path.is_relative_to(tmp_path / "cache")
    assert hub.fetch(name) == path
    assert server.ranges == [None]


def test_a_commit_is_a_revision(server):
    first = server.commit("timm/resnet")
    hub.fetch("hf:timm/resnet")
    server.repositories["timm/resnet"]["model.safetensors"] = OTHERS
    assert hub.fetch("hf:timm/resnet").read_bytes() == OTHERS
    assert refusal(hub.fetch, f"hf:timm/resnet@{'0' * 40}").startswith(
        "hf:timm/resnet has no revision 0000"
    )
    # The server has forgotten it, the cache has not.
    assert hub.fetch(f"hf:timm/resnet@{first}").read_bytes() == WEIGHTS


@pytest.mark.parametrize(
    "name",
    [
        "hf:",
        "hf:resnet",
        "hf:timm/",
        "hf:timm//resnet",
        "hf:../resnet",
        "hf:timm/..",
        "hf:timm/../../etc/x.safetensors",
        "hf:timm/resnet/../x.safetensors",
        "hf:timm/resnet/sub/../../x.safetensors",
        "hf:timm/resnet//x.safetensors",
        "hf:timm/resnet/.x.safetensors",
        "hf:timm/resnet/C:\\x.safetensors",
        "hf:timm/res--net",
        "hf:timm/res..net",
        "hf:timm/resnet.git",
        "hf:timm/resnet@",
        "hf:timm/resnet@../x",
        "hf:timm/résnet",
        "hf:timm/resnet\n",
        "hf:timm/resnet?x=1",
    ],
)
def test_what_is_no_name_is_refused_before_anything_is_asked(server, name):
    assert "is not a name of weights; give hf:OWNER/NAME" in refusal(hub.fetch, name)
    assert not server.requests


@pytest.mark.parametrize("file", ["pytorch_model.bin", "resnet.pth", "sub/x.pkl", "config.json"])
def test_only_safetensors_are_asked_for(server, file):
    assert "may run code" in refusal(hub.fetch, f"hf:timm/resnet/{file}")
    assert not server.requests


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf:timm/nothing", "hf:timm/nothing does not exist or is private; check the name, or log"),
        ("hf:timm/resnet@v2", "hf:timm/resnet has no revision v2"),
        ("hf:timm/resnet/c.safetensors", "holds no c.safetensors; it holds b.safetensors, model.s"),
        (
            "hf:timm/several",
            "may be several files: b.safetensors, sub/a.safetensors; give hf:",
        ),
        ("hf:timm/pickled", "hf:timm/pickled holds no .safetensors file"),
    ],
)
def test_what_is_not_there_is_said_and_nothing_is_downloaded(server, name, words):
    assert words in refusal(hub.fetch, name)
    assert not server.ranges


def test_a_gated_repository_asks_for_a_log_in(server):
    server.gated.add("timm/resnet")
    line = refusal(hub.fetch, "hf:timm/resnet")
    assert line.startswith("hf:timm/resnet is gated; accept its terms on its page, and log in with")


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "access is refused (status 403); log in"), (500, "status 500; try again later")],
)
def test_a_server_that_refuses_or_fails(server, status, words):
    server.status = status
    assert words in refusal(hub.fetch, "hf:timm/resnet")


@pytest.mark.parametrize("revision", ["", "@main", "@COMMIT"])
@pytest.mark.parametrize("status", [401, 403, 404, 503])
def test_what_the_server_refuses_the_cache_does_not_serve(server, revision, status):
    """Except for a commit, whose files cannot change."""
    name = f"hf:timm/resnet{revision.replace('COMMIT', server.commit('timm/resnet'))}"
    path = hub.fetch(name)
    server.status = status
    if status >= 500 or revision == "@COMMIT":
        assert hub.fetch(name) == path
    else:
        assert f"status {status}" in refusal(hub.fetch, name)


def test_access_that_was_revoked_is_said(server):
    hub.fetch("hf:timm/resnet")
    server.gated.add("timm/resnet")
    assert refusal(hub.fetch, "hf:timm/resnet").startswith("hf:timm/resnet is gated")
    files = server.repositories.pop("timm/resnet")
    assert "does not exist or is private" in refusal(hub.fetch, "hf:timm/resnet")
    server.repositories["timm/resnet"] = files
    server.gated.clear()
    assert hub.fetch("hf:timm/resnet").read_bytes() == WEIGHTS


@pytest.mark.parametrize("cuts", [[3000], [3000, 0, 2500, 4000]])
def test_an_interrupted_download_resumes_where_it_stopped(server, cuts):
    server.cuts = list(cuts)
    assert hub.fetch("hf:timm/resnet").read_bytes() == WEIGHTS
    # What has arrived counts in chunks.
    starts = [0] + [int(asked[6:-1]) for asked in server.ranges[1:]]
    assert len(starts) == len(cuts) + 1
    assert starts == sorted(starts)
    assert starts[1] == 2048


def test_a_download_that_never_ends_is_given_up_and_leaves_nothing(server, tmp_path):
    server.cuts = [3000, *[0] * 20]
    line = refusal(hub.fetch, "hf:timm/resnet")
    assert "hf:timm/resnet cannot be downloaded (" in line
    assert line.endswith("check the network, and run the command again")
    assert not [
        *(tmp_path / "cache").rglob("*.safetensors"),
        *(tmp_path / "cache").rglob("*incom*"),
    ]
    server.cuts = []
    assert hub.fetch("hf:timm/resnet").read_bytes() == WEIGHTS


def test_what_differs_from_its_checksum_is_refused_and_removed(server, tmp_path):
    server.sums["model.safetensors"] = "a" * 64
    line = refusal(hub.fetch, "hf:timm/resnet")
    assert line.startswith("hf:timm/resnet arrived corrupt (its SHA-256 is ")
    assert "not aaaaaaaa…" in line
    blobs = tmp_path / "cache" / "models--timm--resnet" / "blobs"
    assert not list(blobs.iterdir())
    server.sums.clear()
    assert hub.fetch("hf:timm/resnet").read_bytes() == WEIGHTS


def test_a_file_that_is_corrupt_in_the_cache_is_noticed(server):
    path = hub.fetch("hf:timm/resnet")
    path.resolve().write_bytes(WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1]))
    assert "arrived corrupt" in refusal(hub.fetch, "hf:timm/resnet")
    assert hub.fetch("hf:timm/resnet").read_bytes() == WEIGHTS


def offline(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def test_the_cache_serves_without_a_network(server, monkeypatch):
    names = ("hf:timm/resnet", "hf:timm/one/vit.safetensors")
    paths = [hub.fetch(name) for name in names]
    server.close()
    assert [hub.fetch(name) for name in names] == paths
    assert "cannot be downloaded (" in refusal(hub.fetch, "hf:timm/several/b.safetensors")
    offline(monkeypatch)
    assert [hub.fetch(name) for name in names] == paths
    assert "not in the cache, and HF_HUB_OFFLINE is set; unset it" in refusal(
        hub.fetch, "hf:timm/several/b.safetensors"
    )


def test_the_cache_serves_while_the_server_is_silent(server, monkeypatch):
    path = hub.fetch("hf:timm/one/vit.safetensors")
    monkeypatch.setattr(hub, "SILENT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and says nothing
        silent_url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", silent_url)
        assert hub.fetch("hf:timm/one/vit.safetensors") == path
        assert "cannot be downloaded (" in refusal(hub.fetch, "hf:timm/resnet")


def test_without_a_network_another_file_never_stands_for_the_default(server, monkeypatch):
    """Which files the repository holds is not known then."""
    hub.fetch("hf:timm/resnet/b.safetensors")
    offline(monkeypatch)
    assert refusal(hub.fetch, "hf:timm/resnet") == (
        "model.safetensors of hf:timm/resnet is not in the cache, and HF_HUB_OFFLINE is set; unset "
        "it, or give the file that is: hf:timm/resnet/FILE.safetensors"
    )


def test_a_missing_extra_says_what_to_install(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert "needs huggingface_hub: pip install 'colorjax[hub]'" in refusal(
        hub.fetch, "hf:timm/resnet"
    )


def test_a_cache_that_cannot_be_written_or_is_full(server, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    assert "for another cache set HF_HOME" in refusal(hub.fetch, "hf:timm/resnet")
    (tmp_path / "cache").unlink()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "model.safetensors")

    monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", full)
    with pytest.raises(OSError, match="No space left"):
        hub.fetch("hf:timm/resnet")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("hf:me/text", "is not a safetensors file"),
        ("hf:timm/resnet", "is not from colorjax"),
        ("hf:timm/nothing", "does not exist"),
    ],
)
def test_a_model_by_name_must_be_from_colorjax(server, capsys, name, words):
    assert words in refusal(find_model, name)
    for arguments in (["colorize", str(support.faces()), "--model", name], ["models", name]):
        assert cli.main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line


def test_it_is_called_by_its_name_in_tables_and_marks(server):
    name = "hf:timm/several/sub/a.safetensors"
    paths = [hub.fetch("hf:timm/resnet@main"), hub.fetch(name), packaged()[DEFAULT_MODEL]]
    assert [model_name(path) for path in paths] == ["hf:timm/resnet", name, DEFAULT_MODEL]
    assert run_names(paths[:2], []) == ["hf:timm/resnet", name]
    with pytest.raises(InputError, match="given twice"):
        run_names([*paths, hub.fetch("hf:timm/resnet")], [])


def test_a_colorizer_is_loaded_by_name(server):
    server.repositories["me/faces"] = {"faces.safetensors": packaged()[DEFAULT_MODEL].read_bytes()}
    model = open_model("hf:me/faces")
    found, expected = flatten_dict(model.variables, sep="/"), load_file(packaged()[DEFAULT_MODEL])
    chex.assert_trees_all_equal(found, {name: np.float32(x) for name, x in expected.items()})
    assert model.name == "hf:me/faces/faces.safetensors"
    assert isinstance(Colorizer.load("hf:me/faces"), Colorizer)


def test_evaluate_needs_data_before_it_downloads(server, capsys, tmp_path):
    assert cli.main(["evaluate", "hf:timm/resnet", "--output", str(tmp_path / "out")]) == 2
    assert "hf:timm/resnet comes without its data; give --dataset" in capsys.readouterr().err
    assert not server.requests


def test_a_process_reads_the_environment(tmp_path):
    """Nothing is patched here, and nothing is written to the streams but what is meant."""
    faces = {"me/faces": {"model.safetensors": packaged()[DEFAULT_MODEL].read_bytes()}}

    def run(*arguments, **more):
        settings = {**hub_server.environment(server, tmp_path / "home"), **more}
        environment = {**support.environment(), **settings}
        command = [sys.executable, "-m", "colorjax.cli", *arguments]
        found = subprocess.run(command, capture_output=True, text=True, env=environment)
        return found.returncode, found.stdout, found.stderr

    with hub_server.serving(faces) as server:
        expected = (0, read_metadata(packaged()[DEFAULT_MODEL])["card"] + "\n", "")
        assert run("models", "hf:me/faces") == expected
    assert run("models", "hf:me/faces", HF_HUB_OFFLINE="1") == expected
    status, out, error = run("models", "hf:me/other", HF_HUB_OFFLINE="1")
    assert (status, out, len(error.splitlines())) == (2, "", 1)
    assert "HF_HUB_OFFLINE is set" in error


def test_no_name_imports_no_huggingface_hub(tmp_path):
    code = (
        "import sys\nfrom colorjax import cli\n"
        "assert cli.main(['models', 'faces']) == 0\n"
        "assert cli.main(['models', 'hf:../x']) == 2\n"
        "assert 'huggingface_hub' not in sys.modules and 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=support.environment())


def test_other_paths_have_no_name():
    for path in ("faces.safetensors", "runs/gan", "a/models--timm--resnet/model.safetensors"):
        assert hub.cached_name(Path(path)) is None
    assert hub.local_path("~/x") == Path(os.path.expanduser("~/x"))
    assert not hub.is_name("./hf:timm/resnet")
