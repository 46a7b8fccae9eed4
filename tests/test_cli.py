"""The command: what people type, and what is imported for it."""

import subprocess
import sys

import pytest
import support
from PIL import Image

from colorjax import cli

HEAVY = {"tensorflow_datasets", "grain", "orbax", "matplotlib", "tensorflow"}


def imported(code):
    """The top-level modules that a fresh Python has after running code."""
    code = f"import sys\n{code}\nprint('\\n' + ' '.join({{m.split('.')[0] for m in sys.modules}}))"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=support.environment()
    )
    assert found.returncode == 0, found.stderr
    return set(found.stdout.splitlines()[-1].split())


def test_help_and_wrong_input_import_no_jax(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text("{}")
    file = tmp_path / "results.json"  # of a report
    file.touch()
    wrong = [
        ["colorize", "nowhere.jpg"],
        ["colorize", str(tmp_path), "--model", "nosuch"],
        ["colorize", str(tmp_path), "--model", str(run)],
        ["colorize", "a", "--output", ""],
        ["colorize", str(tmp_path), "--candidates", "3"],
        ["colorize", str(tmp_path), "--hints", "nosuch.png"],
        ["colour", "a", "--suffix", "/x"],
        ["evaluate", "faces", "--output", str(tmp_path / "out")],
        ["evaluate", "nosuch", "--output", str(tmp_path / "out")],
        ["export", "nosuch", "--output", "a.safetensors"],
        ["evaluate", "faces", "--dataset", "nosuch", "--output", str(tmp_path / "out")],
        ["evaluate", "faces", "--dataset", str(tmp_path), "--output", str(file)],
        ["evaluate", "faces", "--dataset", str(tmp_path), "--output", str(file / "out")],
        ["evaluate", "faces", "--dataset", str(tmp_path), "--output", str(tmp_path)],
        ["export", "faces", "--output", str(file / "x.safetensors")],
        ["export", "faces", "--output", str(tmp_path / "x.safetensors"), "--card", "nosuch"],
        ["export", "faces", "--output", str(tmp_path / "x")],
        ["export", "faces", "--output", str(tmp_path / "x.onnx"), "--format", "stablehlo"],
        ["prepare", "nosuch"],
        ["serve", "--model", "nosuch"],
        ["serve", "--port", "-1"],
        ["train"],
    ]
    commands = ["colorize", "evaluate", "export", "models", "prepare", "serve"]
    code = (
        "from colorjax import cli\n"
        f"assert all(cli.main(arguments) == 2 for arguments in {wrong})\n"
        "assert cli.main(['models']) == cli.main([]) == 0\n"
        f"for name in {commands}:\n"
        "    try: cli.main([name, '--help'])\n"
        "    except SystemExit as ended: assert ended.code == 0\n"
    )
    assert not imported(code) & {"jax", "flax", *HEAVY}


def test_colouring_imports_nothing_of_training(tmp_path):
    Image.new("L", (16, 16), 99).save(tmp_path / "a.png")
    code = f"from colorjax import cli\nassert cli.main(['colorize', {str(tmp_path)!r}]) == 0"
    found = imported(code)
    assert "jax" in found
    assert not found & HEAVY
    assert (tmp_path / "a_coloured.png").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], "to train: python -m colorjax.main --config=configs/gan.py"),
        (["train", "--config=configs/cnn.py"], "colorjax.main --config=configs/cnn.py"),
        (["colorise_", "a.jpg"], "no command 'colorise_'; did you mean colorize?"),
        (["modles"], "did you mean models?"),
        (["{file}"], "to colour files: colorjax colorize "),
        (["prepare", "digiface1m", "--max_subjects", "x"], "'x' is not an integer"),
        (["prepare", "image_folder", "--min-chroma", "nan"], "'nan' is not in [0, inf]"),
        (["export", "faces", "--output", "a.pth"], "must end in .safetensors"),
        (["evaluate", "faces", "--output", "x"], "faces comes without its data; give --dataset"),
        (["models", "nosuch"], "'nosuch' is neither a run nor a weights file"),
    ],
)
def test_what_is_not_understood_is_answered_with_what_to_type(tmp_path, capsys, arguments, words):
    (tmp_path / "a.jpg").touch()
    assert cli.main([text.format(file=tmp_path / "a.jpg") for text in arguments]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert words in error


@pytest.mark.parametrize("command", ["colorize", "colourize", "colour", "color"])
def test_spellings_of_the_command_and_of_flags(tmp_path, capsys, command):
    flags = ["--batch_size", "0"], ["--batch-size=0"]
    for flag in flags:
        assert cli.main([command, str(tmp_path), *flag]) == 2
        assert "argument --batch-size: 0 is less than 1" in capsys.readouterr().err


def test_alone_it_shows_help(capsys):
    assert cli.main([]) == 0
    assert "colour photographs" in capsys.readouterr().out


def test_help_shows_no_names_of_variables(capsys):
    for add in cli.COMMANDS:
        with pytest.raises(SystemExit):
            cli.main([add.__name__.removeprefix("add_"), "--help"])
        out = capsys.readouterr().out
        assert "example" in out
        words = (word.strip("[],") for word in out.split())
        flags = [word for word in words if word.startswith("--") and "--config." not in word]
        assert not [flag for flag in flags if "_" in flag]


def test_a_packaged_model_is_exported_with_its_card(tmp_path, capsys):
    output = tmp_path / "copy.safetensors"
    assert cli.main(["export", "faces", "--output", str(output)]) == 0
    capsys.readouterr()
    cards = []
    for model in ("faces", str(output)):
        assert cli.main(["models", model]) == 0
        cards.append(capsys.readouterr().out)
    assert cards[0] == cards[1]


@pytest.mark.parametrize(
    ("closed", "arguments", "status", "error"),
    [
        (">&-", "models", 0, b""),
        (">&-", "colorize {file} -o -", 2, b"standard output is closed; give an --output"),
        ("<&-", "colorize -", 2, b"standard input is closed; give a file"),
        ("2>&-", "colorize nosuch.jpg", 2, b""),
    ],
)
def test_closed_streams(tmp_path, closed, arguments, status, error):
    arguments = arguments.format(file=tmp_path / "a.jpg")
    Image.new("L", (16, 16), 99).save(tmp_path / "a.jpg")
    found = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m colorjax.cli {arguments} {closed}"],
        input=b"",
        capture_output=True,
        env=support.environment(),
    )
    assert found.returncode == status
    assert found.stdout == b""
    assert found.stderr.removeprefix(b"colorjax: ").startswith(error)
    assert found.stderr.count(b"\n") == bool(error)


def test_characters_that_a_stream_cannot_encode_are_escaped():
    found = subprocess.run(
        [sys.executable, "-m", "colorjax.cli", "models", "faces"],
        capture_output=True,
        env=support.environment() | {"PYTHONIOENCODING": "ascii"},
    )
    assert (found.returncode, found.stderr) == (0, b"")
    assert b"128\\xd7128 pixels" in found.stdout


def test_a_closed_pipe_gives_one_line():
    code = "from colorjax import cli; import sys; sys.exit(cli.main(['models', 'faces']))"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=support.environment(),
    ) as process:
        process.stdout.close()
        error = process.stderr.read().decode()
        assert process.wait() == 1
    assert error == "colorjax: the reader of the output has closed it\n"
