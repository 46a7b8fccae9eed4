"""launch/recipe.sh, with a Python that only logs its calls."""

import pytest
from scripts import PYTHON, modules, write_executable

OUTPUT = "runs/the faces"
RECIPE = ["./launch/recipe.sh", "a.zip,b c/", "v.zip", OUTPUT, "55"]
# The name of each run, its config, its updates and the steps between two evaluations.
RUNS = [
    ("cnn", "cnn", 55, 6),
    ("resnet-80", "resnet", 44, 5),
    ("resnet", "resnet", 11, 2),
    ("gan", "gan", 11, 2),
    ("cnn-undamaged", "cnn", 55, 6),
]


def recipe(checkout, *arguments, python=PYTHON, **environment):
    """Runs it with a Python that is used as it is."""
    write_executable(checkout.bin / "python3", python)
    return checkout.run(*RECIPE, *arguments, VENV="no", **environment)


def test_the_recipe_trains_the_three_alike_then_exports_and_evaluates_them(checkout):
    flags = ["--config.batch_size=5", "--config.gan.width=0.5"]
    done, calls = recipe(checkout, *flags)
    assert done.returncode == 0, done.stderr
    assert modules(calls) == ["colorjax.main"] * 5 + ["colorjax.cli"] * 6
    resume = [f"--config.init_from={OUTPUT}/resnet-80", "--config.optimizer.learning_rate=2e-4"]
    own = {
        "resnet": resume,
        "gan": [*resume, flags[1]],
        "cnn-undamaged": ["--config.damage.probability=0"],
    }
    for (run, config, steps, every), call in zip(RUNS, calls[:5], strict=True):
        assert call[2:] == [
            f"--config=configs/{config}.py:image_folder",
            f"--workdir={OUTPUT}/{run}",
            "--stopped_status=75",
            "--config.dataset.path=a.zip,b c/",
            "--config.dataset.validation_path=v.zip",
            f"--config.checkpoint_every={every}",
            f"--config.eval_every={every}",
            flags[0],
            # After the flags that are given: the last one counts.
            f"--config.num_steps={steps}",
            *own.get(run, []),
        ]
    *exports, between, plain, damaged = (call[2:] for call in calls[5:])
    models = [f"{OUTPUT}/{run}/checkpoints/best" for run in ("cnn", "resnet", "gan")]
    assert exports == [
        ["export", model, "--output", f"{OUTPUT}/{run}.safetensors"]
        for run, model in zip(("cnn", "resnet", "gan"), models, strict=True)
    ]
    file = f"{OUTPUT}/between.safetensors"
    assert between == ["export", models[2], "--output", file, "--interpolate", models[1]]
    assert plain == [
        *("evaluate", *models, file),
        *("--output", f"{OUTPUT}/comparison", "--overwrite"),
    ]
    assert damaged == [
        *("evaluate", *models, file, f"{OUTPUT}/cnn-undamaged/checkpoints/best", "--damage"),
        *("--output", f"{OUTPUT}/comparison-damaged", "--overwrite"),
    ]
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"colorjax: done: {OUTPUT} ")
    # Repeated, it has nothing to do; with other flags it runs again, if the runs allow that.
    assert recipe(checkout, *flags)[1] == []
    assert len(recipe(checkout)[1]) == 11


def test_the_recipe_installs_unless_it_is_told_not_to(checkout):
    done, calls = checkout.run(*RECIPE)
    assert done.returncode == 0, done.stderr
    assert modules(calls)[:3] == ["venv", "pip", "colorjax.main"]


def test_the_recipe_resumes_where_a_stage_ended(checkout):
    """The training of the ResNet is stopped, which saves its state; then others."""
    seen = []
    for status, ending in (
        ("75", "resnet.py"),
        ("130", "gan.safetensors"),
        ("143", "--damage"),
        ("0", "nothing"),
    ):
        stops = PYTHON.replace("case", f'[[ "$*" != *{ending}* ]] || exit {status}\ncase', 1)
        done, calls = recipe(checkout, python=stops)
        assert done.returncode == 0, done.stderr
        (line,) = done.stderr.splitlines()
        assert line.startswith("colorjax: done") == (status == "0")
        seen.append(len(calls))
    # CNN, ResNet; two of ResNet, GAN, CNN, three exports; two, both evaluations; the second.
    assert seen == [2, 7, 4, 1]


def test_a_stage_ends_by_sigterm_when_its_time_is_over(checkout):
    trains = PYTHON.replace(
        "case",
        "trap 'kill ${!:-} 2>/dev/null; exit 75' TERM\n"
        "[[ $* != *gan.py* ]] || { sleep 60 & wait; }\ncase",
        1,
    )
    done, calls = recipe(checkout, python=trains, STAGE_SECONDS="15")
    assert done.returncode == 0, done.stderr
    assert len(calls) == 4
    (line,) = done.stderr.splitlines()
    expected = "colorjax: this stage is over and more is left to do: the same command resumes"
    assert line == expected
    rest = recipe(checkout, STAGE_SECONDS="60")[1]
    assert modules(rest) == ["colorjax.main"] * 2 + ["colorjax.cli"] * 6


@pytest.mark.parametrize("status", [2, 137])
def test_a_part_that_fails_ends_the_recipe_with_its_status(checkout, status):
    done, calls = recipe(checkout, FAKE_STATUS=str(status))
    assert (done.returncode, len(calls)) == (status, 1)


@pytest.mark.parametrize(
    ("arguments", "stage"),
    [(RECIPE[:4], ""), ([*RECIPE[:4], "9"], ""), ([*RECIPE[:4], "many"], ""), (RECIPE, "8m")],
)
def test_the_recipe_refuses_other_arguments_in_one_line(checkout, arguments, stage):
    done, calls = checkout.run(*arguments, STAGE_SECONDS=stage)
    assert (done.returncode, calls) == (2, [])
    (line,) = done.stderr.splitlines()
    assert "./launch/recipe.sh TRAIN VALIDATION OUTPUT STEPS" in line
