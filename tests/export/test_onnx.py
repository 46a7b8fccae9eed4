"""ONNX models, run by onnxruntime, equal the networks in JAX that they were built from."""

import jax
import numpy as np
import pytest
from random_models import lightness, random_run

from colorjax.models import GENERATORS
from colorjax.models.variables import jit_once, model_predictor
from colorjax.terminal.errors import InputError

onnx = pytest.importorskip("onnx", reason="the extra `onnx` is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra `onnx` is not installed")

from colorjax.export.onnx_graph import build_model  # noqa: E402

# The model, skip connections, output stride, temperature.
VARIANTS = [
    *((name, *variant) for name in GENERATORS for variant in ((True, 1, 0.0), (False, 4, 0.4))),
    ("encoder_decoder", False, 4, 0.0),
    ("encoder_decoder", True, 1, 1.0),
]


def predicted(model, l):
    (ab,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"l": l})
    return ab


def in_jax(run, l):
    predict = jit_once(model_predictor(run.generator.clone(kernels="plain"), run.temperature))
    ab = predict(run.variables, l.transpose(0, 2, 3, 1))
    return np.asarray(ab).transpose(0, 3, 1, 2)


def check_equal(found, expected):
    assert found.shape == expected.shape
    assert 1 < np.abs(expected).max() < 110  # else the tolerance means nothing
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("name", "skip_connections", "output_stride", "temperature"), VARIANTS)
def test_every_generator_equals_jax(name, skip_connections, output_stride, temperature):
    run = random_run(
        name=name,
        skip_connections=skip_connections,
        output_stride=output_stride,
        distribution=1.0 if temperature else 0.0,
        temperature=temperature,
    )
    l = lightness(2, 1, 64, 96)
    check_equal(predicted(build_model(run, {}, "float32"), l), in_jax(run, l))


def test_the_number_and_the_size_of_images_are_dynamic():
    run = random_run()
    model = build_model(run, {}, "float32")
    for shape in ((1, 1, 32, 32), (5, 1, 224, 96)):
        check_equal(predicted(model, lightness(*shape)), in_jax(run, lightness(*shape)))


def test_the_interface_is_as_documented():
    model = build_model(random_run(), {"card": "# Title\n"}, "float32")
    (l,), (ab,) = model.graph.input, model.graph.output

    def described(value):
        kind = value.type.tensor_type
        sizes = [d.dim_param or d.dim_value for d in kind.shape.dim]
        return value.name, kind.elem_type, sizes

    assert described(l) == ("l", onnx.TensorProto.FLOAT, ["n", 1, "h", "w"])
    assert described(ab) == ("ab", onnx.TensorProto.FLOAT, ["n", 2, "h", "w"])
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 17)]
    assert [(prop.key, prop.value) for prop in model.metadata_props] == [("card", "# Title\n")]


def test_a_distribution_and_hints_change_nothing_without_a_temperature():
    l = lightness(1, 1, 64, 64)
    run = random_run(distribution=1.0, hints=0.5, output_stride=4)
    check_equal(predicted(build_model(run, {}, "float32"), l), in_jax(run, l))
    names = [value.name for value in build_model(run, {}, "float32").graph.initializer]
    assert not [name for name in names if "hints" in name or "logits" in name]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_cnn_has_at_most_60_nodes_and_no_batch_norm(dtype):
    graph = build_model(random_run(width=1.0), {}, dtype).graph
    assert len(graph.node) <= 60
    assert "BatchNormalization" not in {node.op_type for node in graph.node}
    halves = {onnx.TensorProto.FLOAT16} if dtype == "float16" else set()
    assert {x.data_type for x in graph.initializer} == {onnx.TensorProto.FLOAT, *halves}


@pytest.mark.parametrize("name", GENERATORS)
def test_half_precision_halves_the_file_but_is_computed_in_float32(name):
    run = random_run(name=name, width=0.25)
    whole, half = (build_model(run, {}, dtype) for dtype in ("float32", "float16"))
    assert 0.5 < half.ByteSize() / whole.ByteSize() < 0.65
    l = lightness(1, 1, 64, 64)
    difference = np.abs(predicted(half, l) - predicted(whole, l)).max()
    assert 0 < difference < 0.01 * np.abs(predicted(whole, l)).max()
    halves = {x.name for x in half.graph.initializer if x.data_type == onnx.TensorProto.FLOAT16}
    casts = [node.input[0] for node in half.graph.node if node.op_type == "Cast"]
    assert sorted(casts) == sorted(halves)


def test_a_kernel_that_half_precision_cannot_hold_is_named():
    run = random_run()
    large = jax.tree.map(lambda x: 1e7 * x, run.variables)
    with pytest.raises(InputError, match=r"kernel has values that float16 .*--dtype float32"):
        build_model(run._replace(variables=large), {}, "float16")
