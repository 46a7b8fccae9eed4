"""The launch scripts, with a Python and an nvidia-smi that only log their calls."""

import os
import shutil
import subprocess
import tomllib

import pytest
from scripts import NVIDIA_SMI, PYTHON, ROOT, modules, write_executable

with open(ROOT / "pyproject.toml", "rb") as file:
    PROJECT = tomllib.load(file)["project"]
NO_GPU = "#!/bin/sh\nexit 9\n"
INSTALLS = ["venv", "pip", "colorjax.main"]


@pytest.mark.parametrize("script", sorted(ROOT.glob("launch/*.s*")), ids=lambda path: path.name)
def test_the_syntax_is_right(script):
    subprocess.run(["bash", "-n", script], check=True)


def test_the_first_call_installs_and_trains_the_gan(checkout):
    done, calls = checkout.train()
    assert done.returncode == 0, done.stderr
    assert modules(calls) == INSTALLS
    assert calls[1][-2:] == ["--editable", ".[cuda]"]
    assert calls[2] == ["-m", "colorjax.main", "--config=configs/gan.py"]
    assert done.stderr.splitlines() == [
        "colorjax: JAX for CUDA",
        "colorjax: installing into .venv; this takes some minutes, once",
    ]
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("accelerator", "project"),
    [("cuda", ".[cuda,test]"), ("tpu", ".[test,tpu]"), ("cpu", ".[test]")],
)
def test_jax_is_installed_for_the_accelerator_found(checkout, accelerator, project):
    script = f"source launch/environment.sh; find_accelerator() {{ echo {accelerator}; }}"
    done, calls = checkout.run("bash", "-euc", f"{script}; prepare_environment test")
    assert done.stderr.splitlines()[0] == f"colorjax: JAX for {accelerator.upper()}"
    assert calls[-1][-2:] == ["--editable", project]
    for extra in set(project[2:-1].split(",")):
        assert extra in PROJECT["optional-dependencies"]


@pytest.mark.parametrize("script", [["train.sh"], ["multiprocess.sh", "2"]])
def test_the_weights_that_a_config_starts_from_are_installed(checkout, script):
    write_executable(checkout.bin / "nvidia-smi", NO_GPU)
    flag = "--config=configs/efficientnet_lite.py:image_folder"
    done, calls = checkout.run(f"./launch/{script[0]}", *script[1:], flag)
    assert done.returncode == 0, done.stderr
    assert calls[1][-1] == ".[pretrained]"


@pytest.mark.parametrize(
    ("devices", "nvidia_smi", "environment", "expected"),
    [
        ([], NVIDIA_SMI, {}, "cuda"),
        ([], "#!/bin/sh\necho 'No devices were found'; exit 6\n", {}, "cpu"),
        ([], NO_GPU, {}, "cpu"),
        (["dev/accel0"], NO_GPU, {}, "tpu"),
        (["dev/vfio/0"], NO_GPU, {"TPU_WORKER_ID": "0"}, "tpu"),
        (["dev/vfio/0", "sys/bus/pci/devices/0/vendor"], NO_GPU, {}, "tpu"),
        (["dev/vfio/0"], NO_GPU, {}, "cpu"),
        (["dev/vfio/vfio"], NO_GPU, {"TPU_WORKER_ID": "0"}, "cpu"),
    ],
)
def test_which_accelerator_is_found(
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
    ("arguments", "default"),
    [
        (["--config=configs/cnn.py", "--config.num_steps=50"], []),
        (["--config", "configs/cnn.py:image_folder"], []),
        (["--workdir=a b", "-config=configs/cnn.py"], []),
        (["--config.num_steps=5"], ["--config=configs/gan.py"]),
        (["--workdir", "with  spaces and '\"*$HOME"], ["--config=configs/gan.py"]),
        (["--configs=x", ""], ["--config=configs/gan.py"]),
    ],
)
def test_the_gan_is_trained_unless_a_config_is_given(checkout, arguments, default):
    _, calls = checkout.train(*arguments)
    assert calls[-1] == ["-m", "colorjax.main", *default, *arguments]


def test_it_runs_in_the_repository_s_root_from_anywhere(checkout, tmp_path):
    write_executable(
        checkout.bin / "python3", PYTHON.replace("case", "[[ -f pyproject.toml ]]\ncase")
    )
    script = os.path.relpath(checkout.root / "launch/train.sh", tmp_path)
    done, calls = checkout.run(script, cwd=tmp_path, CDPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert modules(calls) == INSTALLS
    assert (checkout.root / ".venv/bin/python").exists()


@pytest.mark.parametrize("script", ["train", "test"])
def test_the_status_is_that_of_the_program(checkout, script):
    done, _ = checkout.run(f"./launch/{script}.sh", FAKE_STATUS="130")
    assert done.returncode == 130


def test_it_installs_again_only_when_pyproject_changes(checkout):
    checkout.train()
    done, calls = checkout.train()
    assert modules(calls) == ["colorjax.main"]
    assert done.stderr == "colorjax: JAX for CUDA\n"
    with open(checkout.root / "pyproject.toml", "a") as file:
        file.write("# changed\n")
    assert modules(checkout.train()[1]) == ["pip", "colorjax.main"]
    assert modules(checkout.train()[1]) == ["colorjax.main"]


def test_extras_that_were_installed_stay(checkout):
    _, calls = checkout.train()
    assert calls[1][-1] == ".[cuda]"
    _, calls = checkout.run("./launch/test.sh", "--slow")
    assert modules(calls) == ["pip", "ruff", "ruff", "mypy", "pytest"]
    assert calls[0][-1] == ".[all,cuda,parity,test]"
    for script in ("train", "test"):
        _, calls = checkout.run(f"./launch/{script}.sh")
        assert "pip" not in modules(calls)


@pytest.mark.parametrize("how", [{"FAKE_PIP_STATUS": "7"}, {"FAKE_PIP_KILLS": "1"}])
def test_a_failed_installation_is_repeated(checkout, how):
    """Also when an earlier one succeeded."""
    checkout.train()
    project = checkout.root / "pyproject.toml"
    before = project.read_text()
    project.write_text(before + "# changed\n")
    done, calls = checkout.train(**how)
    assert done.returncode == 7 if "FAKE_PIP_STATUS" in how else done.returncode != 0
    assert modules(calls) == ["pip"]
    assert not list(checkout.root.glob(".venv/installed*"))
    project.write_text(before)
    assert modules(checkout.train()[1]) == ["pip", "colorjax.main"]


def test_an_environment_that_moved_or_lost_its_python_is_made_again(checkout):
    checkout.train()
    (checkout.root / ".venv/bin/python").unlink()
    (checkout.root / ".venv/bin/python").symlink_to("/no/such/python")
    assert modules(checkout.train()[1]) == INSTALLS
    moved = checkout._replace(root=checkout.root.rename(checkout.root.with_name("moved")))
    assert modules(moved.train()[1]) == INSTALLS


def test_a_python_that_is_missing_too_old_or_lacks_venv_is_refused(checkout):
    oldest = PROJECT["requires-python"].removeprefix(">=3.")
    assert f"sys.version_info < (3, {oldest})" in (ROOT / "launch/environment.sh").read_text()
    for environment in ({"PYTHON": "no-such-python"}, {"FAKE_ENSUREPIP_STATUS": "1"}):
        done, calls = checkout.train(**environment)
        assert (done.returncode, calls) == (2, [])
        name = environment.get("PYTHON", "python3")
        _, line = done.stderr.splitlines()
        assert line.startswith(f"colorjax: '{name}' is not Python 3.{oldest} or newer with venv")
        assert not (checkout.root / ".venv").exists()


CHECKS = [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]]
PARALLEL = ["--numprocesses=2", "--dist=loadfile", "--max-worker-restart=0"]


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ([], PARALLEL),
        (["--slow"], PARALLEL),
        (["-k", "lab", "-x"], []),
        (["-n", "4"], []),
    ],
)
def test_the_checks_run_in_order_and_arguments_go_to_pytest(checkout, arguments, options):
    done, calls = checkout.run("./launch/test.sh", *arguments)
    assert done.returncode == 0, done.stderr
    slow = arguments == ["--slow"]
    parity = ",parity" if slow else ""
    assert calls[1][-1] == f".[all,cuda{parity},test]"
    assert [call[1:] for call in calls[2:]] == [*CHECKS, ["pytest", *options, *arguments]]
    assert ("without --slow" in done.stderr) == (not slow)


@pytest.mark.parametrize(
    ("user", "found", "status", "last", "installed"),
    [
        (0, "chromium", 0, "JAX for", []),
        (0, "apt-get", 0, "installing chromium and chromium-driver", ["update", "install"]),
        (0, "apt-get", 100, "they cannot be installed (.venv/browser.log)", ["update"]),
        (0, "nothing", 0, "(Debian: apt-get install chromium chromium-driver)", []),
        (1000, "apt-get", 0, "(Debian: apt-get install chromium chromium-driver)", []),
    ],
)
def test_slow_tests_install_a_browser_if_they_may(
    checkout, tmp_path, user, found, status, last, installed
):
    checkout.run("./launch/test.sh", "--slow")
    machine = tmp_path / "machine.sh"
    machine.write_text(f"type() {{ [[ $1 == {found} ]]; }}\nid() {{ echo {user}; }}\n")
    options = {"BASH_ENV": str(machine), "FAKE_APT_STATUS": str(status)}
    done, calls = checkout.run("./launch/test.sh", "--slow", **options)
    assert done.returncode == 0
    assert last in done.stderr.splitlines()[-1]
    assert [call[1] for call in calls if call[0] == "apt-get"] == installed
    assert calls[-1][1] == "pytest"
    if installed:
        assert (checkout.root / ".venv/browser.log").read_text().startswith("what apt-get says")
    assert "apt-get" not in str(checkout.run("./launch/test.sh", **options))


def test_ci_runs_all_tests(checkout):
    shutil.copytree(ROOT / ".ci", checkout.root / ".ci")
    done, calls = checkout.run("bash", ".ci/run", FAKE_STATUS="3")
    assert calls[-1][1:] == ["pytest", *PARALLEL, "--slow"]
    assert done.returncode == 3


@pytest.mark.skipif(not shutil.which("flock"), reason="no flock")
def test_two_calls_at_once_install_once(checkout):
    both = "./launch/train.sh & ./launch/train.sh; wait"
    _, calls = checkout.run("bash", "-c", both)
    assert sorted(modules(calls)) == ["colorjax.main", "colorjax.main", "pip", "venv"]


def test_processes_on_one_machine_get_the_same_arguments_and_a_number_each(checkout):
    write_executable(checkout.bin / "nvidia-smi", NO_GPU)
    arguments = ["--config=configs/cnn.py", "--workdir=a b"]
    done, calls = checkout.run("./launch/multiprocess.sh", "3", *arguments, PORT="1234")
    assert done.returncode == 0, done.stderr
    trained = sorted(call[2:] for call in calls if call[1] == "colorjax.main")
    shared = [*arguments, "--coordinator=127.0.0.1:1234", "--num_processes=3"]
    assert trained == [[*shared, f"--process_id={index}"] for index in range(3)]
    _, calls = checkout.run("./launch/multiprocess.sh", "1", PORT="1234")
    assert calls[-1][2] == "--config=configs/gan.py"
    done, _ = checkout.run("./launch/multiprocess.sh", "2", PORT="1234", FAKE_STATUS="75")
    assert done.returncode == 75


@pytest.mark.parametrize("count", [[], ["0"], ["two"], ["--config=configs/cnn.py"]])
def test_the_number_of_processes_has_to_be_given(checkout, count):
    done, calls = checkout.run("./launch/multiprocess.sh", *count)
    assert (done.returncode, calls) == (2, [])
    assert done.stderr == "colorjax: usage: ./launch/multiprocess.sh PROCESSES [FLAG…]\n"


def test_gpus_that_cannot_be_shared_equally_are_refused(checkout):
    done, calls = checkout.run("./launch/multiprocess.sh", "2", PORT="1234")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "colorjax: 1 GPUs cannot be shared by 2 processes"
    assert "colorjax.main" not in modules(calls)


@pytest.mark.parametrize(("status", "requeued"), [(0, ""), (75, "requeue 7\n"), (1, "")])
def test_slurm_requeues_only_a_job_that_was_stopped(checkout, status, requeued):
    write_executable(checkout.bin / "srun", f"#!/bin/sh\nexit {status}\n")
    write_executable(checkout.bin / "scontrol", '#!/bin/sh\necho "$@"\n')
    done, _ = checkout.run("./launch/slurm.sbatch", SLURM_JOB_ID="7", SLURM_CPUS_PER_TASK="1")
    assert (done.returncode, done.stdout) == (status, requeued)


def test_the_job_set_is_one_program_that_knows_its_coordinator():
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
    # A run that was stopped has not finished: the job fails, and all pods are made again.
    assert "--stopped_status=75" in container["args"]
    assert spec["backoffLimit"] == 0
    assert job_set["spec"]["failurePolicy"]["maxRestarts"] > 0
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
