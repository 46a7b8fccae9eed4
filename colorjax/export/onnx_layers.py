"""Trained layers as ONNX nodes: a graph that grows by one operation at a time."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from colorjax.export.precision import cast
from colorjax.models.efficientnet import EPSILON
from colorjax.models.layers import BATCH_NORM_EPSILON


class Linear(NamedTuple):
    """A convolution or deconvolution with a bias.

    Attributes:
      name: in the graph.
      kernel: [height, width, inputs, features] float64.
      bias: [features] float64.
    """

    name: str
    kernel: np.ndarray
    bias: np.ndarray

    def scaled(self, factor: float | np.ndarray) -> "Linear":
        """With its outputs times a factor, or [features] factors."""
        return self._replace(kernel=self.kernel * factor, bias=self.bias * factor)


class Layers(NamedTuple):
    """The variables of a module, by the names of its layers.

    Attributes:
      path: of the module in the network.
      params: its parameters.
      stats: its running statistics.
    """

    path: str
    params: Mapping[str, Any]
    stats: Mapping[str, Any]

    def __contains__(self, name: object) -> bool:
        return name in self.params

    def layer(self, name: str) -> "Layers":
        path = f"{self.path}/{name}".lstrip("/")
        return Layers(path, self.params[name], self.stats.get(name, {}))

    def linear(self, name: str, norm: str | None = None) -> Linear:
        """A layer with a kernel and perhaps a bias, and the BatchNorm after it, folded."""
        layer = self.layer(name)
        kernel = np.asarray(layer.params["kernel"], np.float64)
        if norm is not None:
            factor, offset = self.layer(norm).norm()
            return Linear(layer.path, kernel * factor, offset)
        bias = layer.params.get("bias", np.zeros(kernel.shape[-1]))
        return Linear(layer.path, kernel, np.asarray(bias, np.float64))

    def frozen(self, name: str) -> Linear:
        """An `efficientnet.FrozenConv`, folded."""
        layer = self.layer(name)
        factor, offset = layer.norm(EPSILON)
        return Linear(layer.path, np.asarray(layer.params["kernel"], np.float64) * factor, offset)

    def norm(self, epsilon: float = BATCH_NORM_EPSILON) -> tuple[np.ndarray, np.ndarray]:
        """BatchNorm as factor · x + offset; both are [features] float64."""
        scale, bias, mean, var = (
            np.asarray(values[name], np.float64)
            for values, name in (
                (self.params, "scale"),
                (self.params, "bias"),
                (self.stats, "mean"),
                (self.stats, "var"),
            )
        )
        factor = scale / np.sqrt(var + epsilon)
        return factor, bias - mean * factor


class Graph:
    """Nodes and initializers of maps [n, channels, h, w]. Methods return the name of their output.

    Args:
      dtype: of the large kernels, float32 or float16. All else is float32, and so is what is
        computed: runtimes cast the halves once, when they load the model.
      least_size: of a large kernel, see `precision`.
    """

    def __init__(self, dtype: str, least_size: float) -> None:
        self.nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}
        self._dtype, self._least_size = np.dtype(dtype), least_size

    @property
    def initializers(self) -> list[TensorProto]:
        return list(self._constants.values())

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        """An initializer. Raises InputError if the dtype cannot hold a value."""
        self._constants[name] = numpy_helper.from_array(cast(name, values, dtype), name)
        return name

    def conv(
        self,
        x: str,
        linear: Linear,
        strides: int = 1,
        pads: tuple[int, int] | None = None,
        depthwise: bool = False,
    ) -> str:
        """A convolution.

        Args:
          x: the input.
          linear: the layer.
          strides: of both axes.
          pads: zeros before and behind, on both axes; by default half of the kernel.
          depthwise: whether each channel has its own kernel.
        """
        size = len(linear.kernel)
        before, behind = pads or (2 * ((size - 1) // 2,))
        return self.add(
            "Conv",
            x,
            self._kernel(linear, linear.kernel.transpose(3, 2, 0, 1)),
            self.constant(f"{linear.name}/bias", linear.bias),
            kernel_shape=[size, size],
            strides=[strides, strides],
            pads=[before, before, behind, behind],
            group=linear.kernel.shape[-1] if depthwise else 1,
        )

    def deconv(self, x: str, linear: Linear) -> str:
        """A 4×4 deconvolution with stride 2, see `layers.deconvolve`."""
        # ONNX spreads each input by the kernel; `lax.conv_transpose` correlates with it.
        kernel = linear.kernel[::-1, ::-1].transpose(2, 3, 0, 1)
        return self.add(
            "ConvTranspose",
            x,
            self._kernel(linear, kernel),
            self.constant(f"{linear.name}/bias", linear.bias),
            kernel_shape=[4, 4],
            strides=[2, 2],
            pads=[1, 1, 1, 1],
        )

    def _kernel(self, linear: Linear, kernel: np.ndarray) -> str:
        name = f"{linear.name}/kernel"
        if self._dtype == np.float32 or kernel.size < self._least_size:
            return self.constant(name, kernel)
        return self.add("Cast", self.constant(name, kernel, self._dtype), to=TensorProto.FLOAT)

    def affine(self, x: str, name: str, factor: Any, offset: Any) -> str:
        """Multiplies by a factor and adds an offset, each [channels]."""
        for kind, part, values in (("Mul", "factor", factor), ("Add", "offset", offset)):
            shaped = self.constant(f"{name}/{part}", np.reshape(values, (1, -1, 1, 1)))
            x = self.add(kind, x, shaped)
        return x

    def relu(self, x: str) -> str:
        return self.add("Relu", x)

    def relu6(self, x: str) -> str:
        return self.add("Clip", x, self.constant("zero", 0.0), self.constant("six", 6.0))

    def enlarge(self, x: str, factor: int) -> str:
        """See `layers.enlarge`."""
        if factor == 1:
            return x
        scales = self.constant("scales", [1.0, 1.0, factor, factor])
        return self.add(
            "Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel"
        )
