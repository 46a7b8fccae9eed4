"""StableHLO files: JAX alone runs them, and they equal the networks they were made from."""

import re
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest
import support
from random_models import lightness, random_run

from colorjax.export.stablehlo import export_stablehlo

# Runs a file on the L of another, and on one that is no multiple of 32.
JAX_ALONE = """
import sys
import jax, jax.export, numpy as np
exported = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
l = np.load(sys.argv[2])
np.save(sys.argv[3], jax.jit(exported.call)(l))
try:
    exported.call(l[:, :, :40])
except ValueError as error:
    print(error)
assert not {"colorjax", "flax"} & set(sys.modules)
print(*exported.platforms)
"""


def test_jax_alone_runs_a_file_and_refuses_other_sizes(tmp_path):
    run = random_run(output_stride=4, distribution=1.0, hints=0.5, temperature=0.4)
    (tmp_path / "model.stablehlo").write_bytes(export_stablehlo(run, "float32").serialize())
    l = lightness(2, 1, 64, 96)
    np.save(tmp_path / "l.npy", l)
    done = subprocess.run(
        [sys.executable, "-c", JAX_ALONE, "model.stablehlo", "l.npy", "ab.npy"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=support.environment(),
    )
    assert done.returncode == 0, done.stderr
    assert "32*h" in done.stdout
    assert done.stdout.splitlines()[-1] == "cpu cuda tpu"
    expected = np.asarray(jax.jit(run.predict)(run.variables, l.transpose(0, 2, 3, 1)))
    assert 1 < np.abs(expected).max() < 110
    found = np.load(tmp_path / "ab.npy").transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["encoder_decoder", "efficientnet_lite"])
def test_half_precision_halves_the_file_but_is_computed_in_float32(name):
    run = random_run(name=name, width=0.25)
    whole, half = (export_stablehlo(run, dtype) for dtype in ("float32", "float16"))
    ratio = len(half.mlir_module_serialized) / len(whole.mlir_module_serialized)
    assert 0.5 < ratio < 0.65
    assert "f16>" in half.mlir_module()
    products = [line for line in half.mlir_module().splitlines() if "convolution" in line]
    assert products
    assert not [line for line in products if "f16" in line]


def test_products_are_not_rounded_on_gpus_and_tpus():
    run = random_run(output_stride=4, distribution=1.0, hints=0.5, temperature=0.4)
    module = export_stablehlo(run, "float32").mlir_module()
    products = re.findall(r"stablehlo\.(?:convolution|dot_general)\b.*", module)
    assert len(products) > 10
    assert not [
        line
        for line in products
        if "[HIGHEST, HIGHEST]" not in line.replace("#stablehlo<precision HIGHEST>", "HIGHEST")
    ]
