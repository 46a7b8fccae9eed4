"""The dtype that `auto` means, on the machine and in a run."""

import json
import types

import jax
import pytest
from support import small_gan, tiny_config

from colorjax.parallel import devices
from colorjax.training.check_config import fastest_dtype, with_dtype


def machine(monkeypatch, backend, cpuinfo, **attributes):
    """Pretends another one. `cpuinfo` is the path of its /proc/cpuinfo."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    device = types.SimpleNamespace(platform=backend, **attributes)
    monkeypatch.setattr(jax, "local_devices", lambda backend=None: [device])
    monkeypatch.setattr(devices, "Path", lambda _: cpuinfo)


@pytest.mark.parametrize(
    ("backend", "flags", "expected"),
    [
        ("cpu", "fpu avx2 avx512f", "float32"),
        ("cpu", "fpu avx512_bf16", "float32"),
        ("cpu", "fpu amx_bf16 amx_tile", "bfloat16"),
        ("gpu", "fpu", "bfloat16"),
        ("tpu", "fpu", "bfloat16"),
    ],
)
def test_bfloat16_where_there_are_matrix_units(monkeypatch, tmp_path, backend, flags, expected):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags\t\t: {flags}\nbugs : amx_bf16\n")
    machine(monkeypatch, backend, cpuinfo)
    assert fastest_dtype("resnet") == expected
    if backend == "cpu":
        assert fastest_dtype("encoder_decoder") == "float32"


@pytest.mark.parametrize(
    ("capability", "expected"),
    [("7.5", "float32"), ("8.0", "bfloat16"), ("12.0", "bfloat16"), ("gfx90a", "bfloat16")],
)
def test_gpus_without_units_compute_in_float32(monkeypatch, tmp_path, capability, expected):
    machine(monkeypatch, "gpu", tmp_path, compute_capability=capability)
    assert fastest_dtype("resnet") == expected


def test_a_system_without_cpuinfo_computes_in_float32(monkeypatch, tmp_path):
    machine(monkeypatch, "cpu", tmp_path / "missing")
    assert fastest_dtype("resnet") == "float32"


def test_auto_is_resolved_and_a_resumed_run_keeps_its_dtype(monkeypatch, tmp_path):
    config = tiny_config("cnn", model__dtype="auto")
    monkeypatch.setattr("colorjax.training.check_config.fastest_dtype", lambda name: "bfloat16")
    assert with_dtype(config, tmp_path).model.dtype == "bfloat16"
    assert config.model.dtype == "auto"
    (tmp_path / "config.json").write_text(json.dumps({"model": {"dtype": "float32"}}))
    assert with_dtype(config, tmp_path).model.dtype == "float32"
    assert with_dtype(small_gan(model__dtype="bfloat16"), tmp_path).model.dtype == "bfloat16"
