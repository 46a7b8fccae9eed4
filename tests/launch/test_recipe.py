"""launch/recipe.sh, with a Python that only writes down what it is asked."""

import pytest
from scripts import PYTHON, modules, write_executable

RECIPE = ["./launch/recipe.sh", "a.zip,b c/", "v.zip", "runs/the faces", "55"]
MODELS = ["cnn", "resnet", "gan"]
RUNS = [*MODELS, "cnn-undamaged"]


def recipe(checkout, *arguments, python=PYTHON, **environment):
    """Runs it with a Python that is used as it is."""
    write_executable(checkout.bin / "python3", python)
    return checkout.run(*RECIPE, *arguments, VENV="no", **environment)


def test_the_recipe_trains_the_three_alike_then_evaluates_and_exports_them(checkout):
    flags = ["--config.batch_size=5", "--config.gan.width=0.5"]
    done, calls = recipe(checkout, *flags, HALF_SIZE="88")
    assert done.returncode == 0, done.stderr
    assert modules(calls) == ["colorjax.main"] * 4 + ["colorjax.cli"] * 6
    for run, call in zip(RUNS, calls[:4], strict=True):
        # The GAN goes on where the ResNet was after 44 of its 55 updates.
        every, steps, half = ("1", "11", "4") if run == "gan" else ("5", "55", "48")
        assert call[2:12] == [
            f"--config=configs/{run.removesuffix('-undamaged')}.py:image_folder",
            f"--workdir=runs/the faces/{run}",
            "--stopped_status=75",
            "--config.dataset.path=a.zip,b c/",
            "--config.dataset.validation_path=v.zip",
            f"--config.checkpoint_every={every}",
            f"--config.eval_every={every}",
            flags[0],
            # Behind what is given: the last counts.
            f"--config.num_steps={steps}",
            f"--config.half_size_steps={half}",
        ]
        starts = [argument for argument in call if "init_from" in argument]
        checkpoint = "runs/the faces/resnet/checkpoints/44"
        assert starts == ([f"--config.init_from={checkpoint}"] if run == "gan" else [])
        assert (flags[1] in call) == (run == "gan")
        assert ("--config.damage.probability=0" in call) == (run == "cnn-undamaged")
        assert ("--config.keep_checkpoint=44" in call) == (run == "resnet")
    *exports, between, plain, damaged = (call[2:] for call in calls[4:])
    *runs, undamaged = (f"runs/the faces/{run}/checkpoints/best" for run in RUNS)
    file = "runs/the faces/between.safetensors"
    assert between == ["export", runs[2], "--output", file, "--interpolate", runs[1]]
    models = [*runs, file]
    assert plain == ["evaluate", *models, "--output", "runs/the faces/comparison", "--overwrite"]
    assert damaged[:7] == ["evaluate", *models, undamaged, "--damage"]
    assert exports == [
        ["export", run, "--output", f"runs/the faces/{model}.safetensors"]
        for run, model in zip(runs, MODELS, strict=True)
    ]
    (line,) = done.stderr.splitlines()
    assert line.startswith("colorjax: all is done: runs/the faces ")
    # The same again has nothing to do; other arguments need another folder.
    assert recipe(checkout, *flags, HALF_SIZE="88")[1] == []
    done, calls = recipe(checkout, *flags)
    assert (done.returncode, calls) == (2, [])
    (line,) = done.stderr.splitlines()
    assert "runs/the faces holds runs of other arguments" in line


def test_the_recipe_s_own_environment_is_installed_unless_it_is_told_not_to(checkout):
    done, calls = checkout.run(*RECIPE)
    assert done.returncode == 0, done.stderr
    assert modules(calls)[:3] == ["venv", "pip", "colorjax.main"]


def test_the_recipe_goes_on_where_a_stage_ended(checkout):
    """Stopped are the training of the ResNet, which saves, and the evaluation, which cannot."""
    seen = []
    for status, ending in (("75", "resnet.py"), ("143", "--damage"), ("0", "nothing")):
        stops = PYTHON.replace("case", f'[[ "$*" != *{ending}* ]] || exit {status}\ncase', 1)
        done, calls = recipe(checkout, python=stops)
        assert done.returncode == 0, done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("colorjax: all is done") == (status == "0")
        seen.append(len(calls))
    # CNN, ResNet; ResNet, GAN, CNN, four exports, both evaluations; the second of them.
    assert seen == [2, 9, 1]


def test_a_stage_ends_by_sigterm_when_its_time_is_over(checkout):
    trains = PYTHON.replace(
        "case",
        "trap 'kill $!; exit 75' TERM\n[[ $* != *gan.py* ]] || { sleep 60 & wait; }\ncase",
        1,
    )
    done, calls = recipe(checkout, python=trains, STAGE_SECONDS="3")
    assert done.returncode == 0, done.stderr
    assert len(calls) == 3
    (line,) = done.stderr.splitlines()
    assert line == "colorjax: this stage is over, and not all is done: the same command goes on"
    rest = recipe(checkout, STAGE_SECONDS="60")[1]
    assert modules(rest) == ["colorjax.main"] * 2 + ["colorjax.cli"] * 6


@pytest.mark.parametrize("status", [1, 2, 137])
def test_a_part_of_the_recipe_that_fails_ends_it_with_its_status(checkout, status):
    done, calls = recipe(checkout, FAKE_STATUS=str(status))
    assert (done.returncode, len(calls)) == (status, 1)


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (RECIPE[:4], {}, "./launch/recipe.sh TRAIN VALIDATION OUTPUT STEPS"),
        ([*RECIPE[:4], "9"], {}, "STEPS is '9'"),
        ([*RECIPE[:4], "many"], {}, "STEPS is 'many'"),
        ([*RECIPE, "--config.num_steps=5"], {}, "the fourth argument"),
        ([*RECIPE, "--config.half_size_steps=5"], {}, "HALF_SIZE"),
        ([*RECIPE, "--config.init_from=a"], {}, "config.init_from is the recipe's own"),
        (RECIPE, {"HALF_SIZE": "80"}, "at 80%"),
        (RECIPE, {"HALF_SIZE": "101"}, "HALF_SIZE='101'"),
        (RECIPE, {"HALF_SIZE": "088"}, "HALF_SIZE='088'"),
        (RECIPE, {"STAGE_SECONDS": "8m"}, "STAGE_SECONDS='8m'"),
        (RECIPE, {"PYTHON": "no-such-python", "VENV": "no"}, "no 'no-such-python'"),
    ],
)
def test_the_recipe_refuses_in_one_line_what_cannot_work(checkout, arguments, environment, said):
    done, calls = checkout.run(*arguments, **environment)
    assert (done.returncode, calls) == (2, [])
    (line,) = done.stderr.splitlines()
    assert said in line
