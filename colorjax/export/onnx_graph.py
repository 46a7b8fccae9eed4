"""Generators as ONNX models, built from their trained arrays."""

from collections.abc import Callable

import jax
import numpy as np
import onnx
from onnx import TensorProto, helper

from colorjax import __version__
from colorjax.export.onnx_layers import Graph, Layers
from colorjax.export.precision import least_size
from colorjax.lab import AB_SCALE, L_SCALE
from colorjax.models import color_bins, efficientnet, encoder_decoder, resnet
from colorjax.models.layers import LOGITS
from colorjax.runs.trained_model import TrainedModel

# Of the operators, and of the file format that came with it: of 2022, read by all that runs today.
OPSET, IR_VERSION = 17, 8
# The last maps of an encoder, and those that the decoder's layers see besides, in its order.
Maps = tuple[str, list[str]]


def build_model(run: TrainedModel, metadata: dict[str, str], dtype: str) -> onnx.ModelProto:
    """A model without hints: `l` [n, 1, h, w] in [0, 100] -> `ab` [n, 2, h, w] in Lab units.

    Both are float32. n, h and w are dynamic; h and w must be multiples of 32. BatchNorm is folded
    into the convolutions.

    Args:
      run: the model, with any of `models.GENERATORS`.
      metadata: of the file.
      dtype: of the kernels, see `Graph`.

    Raises:
      InputError: a kernel has values that the dtype cannot hold.
    """
    graph = Graph(dtype, least_size(run.variables["params"]))
    _predict(graph, run)
    graph.nodes[-1].output[0] = "ab"
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            run.config["model"]["name"],
            [helper.make_tensor_value_info("l", TensorProto.FLOAT, ["n", 1, "h", "w"])],
            [helper.make_tensor_value_info("ab", TensorProto.FLOAT, ["n", 2, "h", "w"])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="colorjax",
        producer_version=__version__,
    )
    helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def _predict(graph: Graph, run: TrainedModel) -> None:
    """Adds what `models.answers.answer` computes; its nodes end in the output."""
    generator, variables = run.generator, jax.device_get(run.variables)
    layers = Layers("", variables["params"], variables["batch_stats"])
    scaled = graph.add("Div", "l", graph.constant("l_scale", L_SCALE))
    l = graph.add("Sub", scaled, graph.constant("one", 1.0))
    x, skips = _ENCODERS[type(generator)](graph, layers, l)
    if not generator.skip_connections:
        skips = []
    decoder = layers.layer("decoder")
    depth = sum(name.startswith("deconv") for name in decoder.params)
    if not run.temperature:
        x = _decode(graph, decoder, x, skips, depth)
        x = graph.conv(x, decoder.linear("ab").scaled(AB_SCALE))
        graph.enlarge(x, generator.output_stride)
        return
    # The distribution is that of a quarter of the size; layers beyond are not needed.
    x = _decode(graph, decoder, x, skips, depth if generator.output_stride == 4 else depth - 2)
    logits = graph.conv(x, decoder.linear(LOGITS).scaled(1 / run.temperature))
    # The matrix product with the colours, in the layout of maps.
    centers = color_bins.centers()
    colours = graph.constant("centers", centers.T.reshape(2, -1, 1, 1))
    graph.enlarge(graph.add("Conv", graph.add("Softmax", logits, axis=1), colours), 4)


def _encode_cnn(graph: Graph, layers: Layers, l: str) -> Maps:
    """See `encoder_decoder.EncoderDecoder`."""
    maps = [graph.relu(graph.conv(l, layers.linear("conv0", "bn0")))]
    for i in range(1, len(encoder_decoder.ENCODER) + 1):
        maps.append(graph.relu(graph.conv(maps[-1], layers.linear(f"conv{i}", f"bn{i}"), 2)))
    *skips, x = maps
    return x, skips[::-1]


def _encode_resnet(graph: Graph, layers: Layers, l: str) -> Maps:
    """See `resnet.ResNetGenerator`."""
    # (l + 1) / 2 less the mean, by the deviation.
    deviation, mean = np.asarray(resnet.IMAGENET_STDDEV), np.asarray(resnet.IMAGENET_MEAN)
    x = graph.affine(l, "rgb", 0.5 / deviation, (0.5 - mean) / deviation)
    encoder = layers.layer("encoder")
    maps = [graph.relu(graph.conv(x, encoder.linear("conv1", "bn1"), 2))]
    x = graph.add("MaxPool", maps[0], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, blocks in enumerate(resnet.STAGES):
        for block in range(blocks):
            strides = 2 if stage > 0 and block == 0 else 1
            x = _bottleneck(graph, encoder.layer(f"layer{stage + 1}_{block}"), x, strides)
        maps.append(x)
    *skips, x = maps
    x = graph.relu(graph.conv(x, layers.linear("bottleneck", "bn")))
    return x, [*skips[::-1], l]


def _bottleneck(graph: Graph, layers: Layers, x: str, strides: int) -> str:
    y = graph.relu(graph.conv(x, layers.linear("conv1", "bn1")))
    y = graph.relu(graph.conv(y, layers.linear("conv2", "bn2"), strides))
    y = graph.conv(y, layers.linear("conv3", "bn3"))
    if "downsample_conv" in layers:
        x = graph.conv(x, layers.linear("downsample_conv", "downsample_bn"), strides)
    return graph.relu(graph.add("Add", x, y))


def _encode_efficientnet(graph: Graph, layers: Layers, l: str) -> Maps:
    """See `efficientnet.EfficientNetGenerator`."""
    encoder = layers.layer("encoder")
    grey = graph.affine(l, "grey", 127.5 / 128, 0.5 / 128)
    stem = encoder.frozen("conv_stem")
    # Its three inputs are the same.
    stem = stem._replace(kernel=stem.kernel.sum(2, keepdims=True))
    x = graph.relu6(graph.conv(grey, stem, 2, _same(stem.kernel, 2)))
    maps, index = [], 0
    for _, _, strides, _, blocks in efficientnet.STAGES:
        if strides == 2:
            maps.append(x)
        for block in range(blocks):
            x = _inverted(graph, encoder.layer(f"block{index}"), x, 1 if block else strides)
            index += 1
    return x, [*maps[::-1], l]


def _inverted(graph: Graph, layers: Layers, x: str, strides: int) -> str:
    """See `efficientnet.InvertedBottleneck`."""
    y, expands = x, "expand_conv" in layers
    if expands:
        y = graph.relu6(graph.conv(y, layers.frozen("expand_conv")))
    depthwise, project = layers.frozen("depthwise_conv"), layers.frozen("project_conv")
    pads = _same(depthwise.kernel, strides)
    y = graph.relu6(graph.conv(y, depthwise, strides, pads, depthwise=True))
    y = graph.conv(y, project)
    first = layers.frozen("expand_conv").kernel if expands else project.kernel
    keeps_shape = strides == 1 and first.shape[2] == project.kernel.shape[3]
    return graph.add("Add", x, y) if keeps_shape else y


def _same(kernel: np.ndarray, strides: int) -> tuple[int, int]:
    """TensorFlow's padding "same" for even sizes."""
    total = len(kernel) - strides
    return total // 2, total - total // 2


def _decode(graph: Graph, layers: Layers, x: str, skips: list[str], depth: int) -> str:
    """The first layers of `layers.Decoder`."""
    for i in range(depth):
        x = graph.relu(graph.deconv(x, layers.linear(f"deconv{i}", f"bn{i}")))
        if not skips:
            continue
        skip, norm = skips[i], f"skip_bn{i}"
        if f"skip{i}" in layers:
            skip = graph.conv(skip, layers.linear(f"skip{i}", norm if norm in layers else None))
        elif norm in layers:
            skip = graph.affine(skip, f"decoder/{norm}", *layers.layer(norm).norm())
        x = graph.add("Concat", x, skip, axis=1)
    return x


_ENCODERS: dict[type, Callable[[Graph, Layers, str], Maps]] = {
    encoder_decoder.EncoderDecoder: _encode_cnn,
    resnet.ResNetGenerator: _encode_resnet,
    efficientnet.EfficientNetGenerator: _encode_efficientnet,
}
