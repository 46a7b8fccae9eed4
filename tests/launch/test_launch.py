"""The launch scripts, with a Python and an nvidia-smi that only write down what they are asked."""

import os
import shutil
import subprocess
import tomllib

import pytest
from scripts import NVIDIA_SMI, PYTHON, ROOT, modules, write_executable

with open(ROOT / "pyproject.toml", "rb") as file:
    PROJECT = tomllib.load(file)["project"]


def refusal(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 2  # the accelerator and the reason
    return line


@pytest.mark.parametrize("script", sorted(ROOT.glob("launch/*.sh")), ids=lambda path: path.name)
def test_the_syntax_is_right(script):
    subprocess.run(["bash", "-n", script], check=True)


def test_the_first_call_installs_and_trains_the_gan(checkout):
    done, calls = checkout.train()
    assert done.returncode == 0, done.stderr
    assert modules(calls) == ["venv", "pip", "colorjax.main"]
    assert calls[1][-2:] == ["--editable", ".[cuda]"]
    assert calls[2] == ["-m", "colorjax.main", "--config=configs/gan.py"]
    assert done.stderr.splitlines() == [
        "colorjax: NVIDIA GPU found: JAX for CUDA",
        "colorjax: installing into .venv; this takes some minutes, once",
    ]
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("accelerator", "line", "project"),
    [
        ("cuda", "colorjax: NVIDIA GPU found: JAX for CUDA", ".[cuda,test]"),
        ("tpu", "colorjax: TPU found: JAX for TPU", ".[tpu,test]"),
        ("cpu", "colorjax: no GPU or TPU found: JAX for CPU", ".[test]"),
    ],
)
def test_jax_is_installed_for_the_accelerator_found(checkout, accelerator, line, project):
    script = f"source launch/environment.sh; find_accelerator() {{ echo {accelerator}; }}"
    done, calls = checkout.run("bash", "-euc", f"{script}; prepare_environment test")
    assert done.stderr.splitlines()[0] == line
    assert calls[-1][-2:] == ["--editable", project]
    for extra in set(project[2:-1].split(",")):
        assert extra in PROJECT["optional-dependencies"]


@pytest.mark.parametrize(
    ("devices", "nvidia_smi", "environment", "expected"),
    [
        ([], NVIDIA_SMI, {}, "cuda"),
        ([], "#!/bin/sh\necho 'No devices were found'; exit 6\n", {}, "cpu"),
        ([], "#!/bin/sh\nexit 9\n", {}, "cpu"),
        (["dev/accel0"], "#!/bin/sh\nexit 9\n", {}, "tpu"),
        (["dev/vfio/0"], "#!/bin/sh\nexit 9\n", {"TPU_WORKER_ID": "0"}, "tpu"),
        (["dev/vfio/0", "sys/bus/pci/devices/0/vendor"], "#!/bin/sh\nexit 9\n", {}, "tpu"),
        (["dev/vfio/0"], "#!/bin/sh\nexit 9\n", {}, "cpu"),
        (["dev/vfio/vfio"], "#!/bin/sh\nexit 9\n", {"TPU_WORKER_ID": "0"}, "cpu"),
    ],
)
def test_what_makes_an_accelerator(
    checkout, tmp_path, devices, nvidia_smi, environment, expected
):  # fmt: skip
    write_executable(checkout.bin / "nvidia-smi", nvidia_smi)
    for device in devices:
        path = tmp_path / "machine" / device
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("0x1ae0\n")
    script = f"source launch/environment.sh; find_accelerator {tmp_path}/machine"
    done, _ = checkout.run("bash", "-euo", "pipefail", "-c", script, **environment)
    assert (done.stdout, done.stderr) == (f"{expected}\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config=configs/cnn.py", "--config.num_steps=50"],
        ["--config", "configs/cnn.py:image_folder"],
        ["--workdir=a b", "-config=configs/cnn.py"],
        ["-config", "configs/cnn.py"],
    ],
)
def test_a_config_given_stays_alone(checkout, arguments):
    _, calls = checkout.train(*arguments)
    assert calls[-1] == ["-m", "colorjax.main", *arguments]


@pytest.mark.parametrize(
    "arguments",
    [["--config.num_steps=5"], ["--workdir", "with  spaces and '\"*$HOME"], ["--configs=x", ""]],
)
def test_without_a_config_the_gan_s_is_put_before_the_arguments(checkout, arguments):
    _, calls = checkout.train(*arguments)
    assert calls[-1] == ["-m", "colorjax.main", "--config=configs/gan.py", *arguments]


def test_it_runs_in_the_repository_s_root_from_anywhere(checkout, tmp_path):
    write_executable(
        checkout.bin / "python3", PYTHON.replace("case", "[[ -f pyproject.toml ]]\ncase")
    )
    script = os.path.relpath(checkout.root / "launch/train.sh", tmp_path)
    done, calls = checkout.run(script, cwd=tmp_path, CDPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert modules(calls) == ["venv", "pip", "colorjax.main"]
    assert (checkout.root / ".venv/bin/python").exists()


@pytest.mark.parametrize("status", [1, 2, 130])
@pytest.mark.parametrize("script", ["train", "test"])
def test_the_status_goes_through(checkout, script, status):
    done, _ = checkout.run(f"./launch/{script}.sh", FAKE_STATUS=str(status))
    assert done.returncode == status


def test_the_second_call_installs_nothing(checkout):
    checkout.train()
    done, calls = checkout.train()
    assert modules(calls) == ["colorjax.main"]
    assert done.stderr == "colorjax: NVIDIA GPU found: JAX for CUDA\n"


def test_a_changed_pyproject_installs_again_into_the_same_environment(checkout):
    checkout.train()
    with open(checkout.root / "pyproject.toml", "a") as file:
        file.write("# changed\n")
    assert modules(checkout.train()[1]) == ["pip", "colorjax.main"]
    assert modules(checkout.train()[1]) == ["colorjax.main"]


def test_extras_only_grow(checkout):
    _, calls = checkout.train()
    assert calls[1][-1] == ".[cuda]"
    _, calls = checkout.run("./launch/test.sh", "--slow")
    assert modules(calls) == ["pip", "ruff", "ruff", "mypy", "pytest"]
    assert calls[0][-1] == ".[cuda,test,parity]"
    for script in ("train", "test"):
        _, calls = checkout.run(f"./launch/{script}.sh")
        assert "pip" not in modules(calls)


@pytest.mark.parametrize("how", [{"FAKE_PIP_STATUS": "7"}, {"FAKE_PIP_KILLS": "1"}])
def test_an_installation_that_failed_is_done_again(checkout, how):
    done, calls = checkout.train(**how)
    assert done.returncode == 7 if "FAKE_PIP_STATUS" in how else done.returncode != 0
    assert modules(calls) == ["venv", "pip"]
    assert not list(checkout.root.glob(".venv/installed*"))
    assert modules(checkout.train()[1]) == ["pip", "colorjax.main"]


def test_a_failed_installation_is_not_hidden_by_an_earlier_one(checkout):
    checkout.train()
    project = checkout.root / "pyproject.toml"
    before = project.read_text()
    project.write_text(before + "# changed\n")
    checkout.train(FAKE_PIP_STATUS="1")
    project.write_text(before)
    assert modules(checkout.train()[1]) == ["pip", "colorjax.main"]


def test_an_environment_whose_python_is_gone_is_made_again(checkout):
    checkout.train()
    (checkout.root / ".venv/bin/python").unlink()
    (checkout.root / ".venv/bin/python").symlink_to("/no/such/python")
    assert modules(checkout.train()[1]) == ["venv", "pip", "colorjax.main"]


def test_a_checkout_that_moved_makes_its_environment_again(checkout):
    checkout.train()
    moved = checkout._replace(root=checkout.root.rename(checkout.root.with_name("moved")))
    assert modules(moved.train()[1]) == ["venv", "pip", "colorjax.main"]


def test_another_python_makes_the_environment_again(checkout):
    checkout.train()
    write_executable(
        checkout.bin / "python3.99", PYTHON.replace("$FAKE_VERSION", "3.99")
    )  # fmt: skip
    other = {"PYTHON": "python3.99", "FAKE_VERSION": "3.99"}
    assert modules(checkout.train(**other)[1]) == ["venv", "pip", "colorjax.main"]
    assert modules(checkout.train(**other)[1]) == ["colorjax.main"]
    assert modules(checkout.train()[1]) == ["colorjax.main"]


def test_the_oldest_python_is_that_of_pyproject(checkout):
    oldest = int(PROJECT["requires-python"].removeprefix(">=3."))
    assert checkout.train(FAKE_VERSION=f"3.{oldest}")[0].returncode == 0
    shutil.rmtree(checkout.root / ".venv")
    for version in (f"3.{oldest - 1}", "3.9", "2.7"):
        done, calls = checkout.train(FAKE_VERSION=version)
        assert f"Python {version}, 3.{oldest} or newer is needed" in refusal(done)
        assert not calls
        assert not (checkout.root / ".venv").exists()


def test_a_python_that_is_not_there_or_lacks_venv_is_refused(checkout):
    done, _ = checkout.train(PYTHON="no-such-python")
    assert "cannot run 'no-such-python'" in refusal(done)
    done, _ = checkout.train(FAKE_ENSUREPIP_STATUS="1")
    assert "no venv module: install it (Debian, Ubuntu: python3.11-venv)" in refusal(done)


def test_the_checks_run_in_order_and_arguments_go_to_pytest(checkout):
    done, calls = checkout.run("./launch/test.sh", "-k", "lab or models", "-x")
    assert done.returncode == 0, done.stderr
    assert calls[1][-1] == ".[cuda,test]"
    assert [call[1:] for call in calls[2:]] == [
        ["ruff", "check"],
        ["ruff", "format", "--check"],
        ["mypy"],
        ["pytest", "-k", "lab or models", "-x"],
    ]
    assert "without --slow" in done.stderr.splitlines()[-1]


def test_slow_brings_pytorch_and_everything_runs(checkout):
    done, calls = checkout.run("./launch/test.sh", "--slow")
    assert calls[1][-1] == ".[cuda,test,parity]"
    assert calls[-1][1:] == ["pytest", "--slow"]
    assert "without --slow" not in done.stderr


BROWSER = "source launch/environment.sh; mkdir -p .venv; "


def test_a_browser_that_is_there_is_left_alone(checkout):
    done, calls = checkout.run("bash", "-euc", BROWSER + "prepare_browser")
    assert (done.returncode, done.stderr, calls) == (0, "", [])


@pytest.mark.parametrize("status", ["0", "100"])
def test_root_gets_a_browser_from_debian_and_the_tests_go_on_without_one(checkout, status):
    script = BROWSER + "has() { [[ $1 == apt-get ]]; }; is_root() { true; }; prepare_browser"
    done, calls = checkout.run("bash", "-euc", script, FAKE_APT_STATUS=status)
    assert done.returncode == 0
    first, *rest = done.stderr.splitlines()
    assert first == "colorjax: installing chromium and chromium-driver, for tests in a browser"
    assert (checkout.root / ".venv/browser.log").read_text().startswith("what apt-get says")
    if status == "0":
        assert [call[:2] for call in calls] == [["apt-get", "update"], ["apt-get", "install"]]
        assert calls[1][-2:] == ["chromium", "chromium-driver"]
        assert rest == []
    else:
        assert calls == [["apt-get", "update"]]
        (line,) = rest
        assert "they cannot be installed (.venv/browser.log)" in line


@pytest.mark.parametrize(
    "machine",
    [
        "has() { false; }; is_root() { true; }",
        "has() { [[ $1 == apt-get ]]; }; is_root() { false; }",
    ],
)
def test_who_cannot_install_a_browser_is_told_how(checkout, machine):
    done, calls = checkout.run("bash", "-euc", f"{BROWSER}{machine}; prepare_browser")
    assert (done.returncode, calls) == (0, [])
    (line,) = done.stderr.splitlines()
    assert (
        "tests in a browser are skipped (Debian: apt-get install chromium chromium-driver" in line
    )


def test_only_slow_tests_ask_for_a_browser(checkout):
    with (checkout.root / "launch/environment.sh").open("a") as file:
        file.write("prepare_browser() { say asked for a browser; }\n")
    for arguments, asked in (([], False), (["--slow"], True)):
        done, _ = checkout.run("./launch/test.sh", *arguments)
        assert ("asked for a browser" in done.stderr) == asked


@pytest.mark.parametrize("tool", ["ruff", "mypy"])
def test_a_check_that_fails_ends_the_tests(checkout, tool):
    broken = PYTHON.replace("case", f'[[ "$1 $2" != "-m {tool}" ]] || exit 1\ncase', 1)
    write_executable(checkout.bin / "python3", broken)
    done, calls = checkout.run("./launch/test.sh")
    assert done.returncode == 1
    assert calls[-1][1] == tool


def test_ci_runs_everything(checkout):
    shutil.copytree(ROOT / ".ci", checkout.root / ".ci")
    done, calls = checkout.run("bash", ".ci/run", FAKE_STATUS="3")
    assert calls[-1][1:] == ["pytest", "--slow"]
    assert done.returncode == 3


def test_two_calls_at_once_install_once(checkout):
    if not shutil.which("flock"):
        pytest.skip("no flock")
    both = "./launch/train.sh & ./launch/train.sh; wait"
    _, calls = checkout.run("bash", "-c", both)
    assert sorted(modules(calls)) == ["colorjax.main", "colorjax.main", "pip", "venv"]


def test_processes_on_one_machine_get_the_same_arguments_and_a_number_each(checkout):
    write_executable(checkout.bin / "nvidia-smi", "#!/bin/sh\nexit 9\n")
    arguments = ["--config=configs/cnn.py", "--workdir=a b"]
    done, calls = checkout.run("./launch/multiprocess.sh", "3", *arguments, PORT="1234")
    assert done.returncode == 0, done.stderr
    trained = sorted(call for call in calls if call[1] == "colorjax.main")
    assert trained == [
        [
            "-m",
            "colorjax.main",
            *arguments,
            "--coordinator=127.0.0.1:1234",
            "--num_processes=3",
            f"--process_id={index}",
        ]
        for index in range(3)
    ]
    _, calls = checkout.run("./launch/multiprocess.sh", "1", PORT="1234")
    assert calls[-1][2] == "--config=configs/gan.py"
    done, _ = checkout.run("./launch/multiprocess.sh", "2", PORT="1234", FAKE_STATUS="75")
    assert done.returncode == 75


@pytest.mark.parametrize("count", [[], ["0"], ["two"], ["--config=configs/cnn.py"]])
def test_the_number_of_processes_has_to_be_given(checkout, count):
    done, calls = checkout.run("./launch/multiprocess.sh", *count)
    assert (done.returncode, calls) == (2, [])
    assert done.stderr == "colorjax: how many processes? As ./launch/multiprocess.sh 2\n"


def test_gpus_that_cannot_be_shared_equally_are_refused(checkout):
    done, calls = checkout.run("./launch/multiprocess.sh", "2", PORT="1234")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "colorjax: 1 GPUs cannot be shared by 2 processes"
    assert "colorjax.main" not in modules(calls)


def test_a_requeued_job_is_one_that_was_stopped(checkout):
    """Slurm's: only the status that training ends with after SIGTERM queues it again."""
    for status, requeued in ((0, ""), (75, "requeue 7\n"), (1, "")):
        write_executable(checkout.bin / "srun", f"#!/bin/sh\nexit {status}\n")
        write_executable(checkout.bin / "scontrol", '#!/bin/sh\necho "$@"\n')
        done, _ = checkout.run(
            "./launch/slurm.sbatch", SLURM_JOB_ID="7", SLURM_CPUS_PER_TASK="1"
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (status, requeued)


def test_the_job_set_is_one_program_told_where_the_first_is():
    yaml = pytest.importorskip("yaml")
    (job_set,) = yaml.safe_load_all((ROOT / "launch/gke_jobset.yaml").read_text())
    (job,) = job_set["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    nodes = spec["parallelism"]
    assert f"--num_processes={nodes}" in container["args"]
    assert spec["completions"] == nodes
    host = f"{job_set['metadata']['name']}-{job['name']}-0-0.{job_set['metadata']['name']}"
    port = container["ports"][0]["containerPort"]
    assert f"--coordinator={host}:{port}" in container["args"]
    # A run that was stopped is no run that has ended: the job fails, and all are made again.
    assert "--stopped_status=75" in container["args"]
    assert spec["backoffLimit"] == 0
    assert job_set["spec"]["failurePolicy"]["maxRestarts"] > 0
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
