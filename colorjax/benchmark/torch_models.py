"""The models in PyTorch, to compare results and speed with.

Layers are named as in colorjax, those of ResNet-50 as in torchvision. Only this module and
torch_steps.py need PyTorch.
"""

from collections.abc import Mapping
from typing import Any

import flax
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from colorjax.models import discriminator, encoder_decoder, resnet
from colorjax.models.imagenet_weights import torchvision_name
from colorjax.models.layers import DECODER, scale_width


class TorchBottleneck(nn.Module):
    """torchvision's `Bottleneck`, v1.5: the stride is on the 3×3."""

    def __init__(self, channels: int, features: int, stride: int):
        super().__init__()
        out = 4 * features
        self.conv1 = nn.Conv2d(channels, features, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(features)
        self.conv2 = nn.Conv2d(features, features, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(features)
        self.conv3 = nn.Conv2d(features, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride != 1 or channels != out:
            self.downsample = nn.Sequential(
                nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class TorchResNet50(nn.Module):
    """torchvision's ResNet-50 without pooling and classifier. Returns its five feature maps."""

    def __init__(self, width: float = 1.0):
        super().__init__()
        channels = scale_width(64, width)
        self.conv1 = nn.Conv2d(3, channels, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.channels = [channels]
        for stage, blocks in enumerate(resnet.STAGES):
            features = scale_width(64 * 2**stage, width)
            layer = []
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                layer.append(TorchBottleneck(channels, features, stride))
                channels = 4 * features
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layer))
            self.channels.append(channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [self.bn1(self.conv1(x)).relu()]
        x = self.maxpool(maps[0])
        for stage in range(len(resnet.STAGES)):
            x = getattr(self, f"layer{stage + 1}")(x)
            maps.append(x)
        return maps


class TorchDecoder(nn.Module):
    """`layers.Decoder`; `skips` are the channels of the maps of its skip connections, if any."""

    def __init__(
        self, channels: int, features: list[int], skips: list[int] | None, output_stride: int
    ):
        super().__init__()
        self.output_stride = output_stride
        features = features[:-2] if output_stride == 4 else features
        for i, out in enumerate(features):
            self.add_module(f"deconv{i}", nn.ConvTranspose2d(channels, out, 4, 2, 1, bias=False))
            self.add_module(f"bn{i}", nn.BatchNorm2d(out))
            channels = out
            if skips is not None:
                if skips[i] > out:
                    self.add_module(f"skip{i}", nn.Conv2d(skips[i], out, 1, bias=False))
                channels += min(skips[i], out)
        self.count = len(features)
        self.ab = nn.Conv2d(channels, 2, 3, padding=1)

    def forward(self, x: Tensor, skips: list[Tensor] | None) -> Tensor:
        for i in range(self.count):
            x = getattr(self, f"bn{i}")(getattr(self, f"deconv{i}")(x)).relu()
            if skips is not None:
                skip = skips[i]
                if hasattr(self, f"skip{i}"):
                    skip = getattr(self, f"skip{i}")(skip)
                x = torch.cat([x, skip.to(x.dtype)], 1)
        ab = self.ab(x).float()
        if self.output_stride == 1:
            return ab
        return F.interpolate(ab, scale_factor=self.output_stride, mode="bilinear")


class TorchEncoderDecoder(nn.Module):
    """`EncoderDecoder`: [N, 1, H, W] to [N, 2, H, W]."""

    def __init__(self, width: float = 1.0, skip_connections: bool = True, output_stride: int = 1):
        super().__init__()
        channels = [scale_width(c, width) for c in (32, *encoder_decoder.ENCODER)]
        for i, (before, after) in enumerate(zip([1, *channels], channels, strict=False)):
            conv = nn.Conv2d(before, after, 3, 2 if i else 1, padding=1, bias=False)
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(after))
        self.count = len(channels)
        *skips, last = channels
        features = [scale_width(c, width) for c in DECODER]
        self.skip_connections = skip_connections
        self.decoder = TorchDecoder(
            last, features, skips[::-1] if skip_connections else None, output_stride
        )

    def forward(self, l: Tensor) -> Tensor:
        maps = [l]
        for i in range(self.count):
            maps.append(getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(maps[-1])).relu())
        _, *skips, x = maps
        return self.decoder(x, skips[::-1] if self.skip_connections else None)


class TorchResNetGenerator(nn.Module):
    """`ResNetGenerator`: [N, 1, H, W] to [N, 2, H, W]."""

    mean: Tensor
    stddev: Tensor

    def __init__(self, width: float = 1.0, skip_connections: bool = True, output_stride: int = 1):
        super().__init__()
        self.encoder = TorchResNet50(width)
        *skips, last = self.encoder.channels
        channels = scale_width(resnet.BOTTLENECK, width)
        self.bottleneck = nn.Conv2d(last, channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        features = [scale_width(c, width) for c in DECODER]
        self.skip_connections = skip_connections
        self.decoder = TorchDecoder(
            channels, features, [*skips[::-1], 1] if skip_connections else None, output_stride
        )
        for name in ("mean", "stddev"):
            value = torch.tensor(getattr(resnet, f"IMAGENET_{name.upper()}")).reshape(1, 3, 1, 1)
            self.register_buffer(name, value, persistent=False)

    def forward(self, l: Tensor) -> Tensor:
        *skips, x = self.encoder(((l + 1) / 2 - self.mean) / self.stddev)
        x = self.bn(self.bottleneck(x)).relu()
        return self.decoder(x, [*skips[::-1], l] if self.skip_connections else None)


class TorchSpectralConv(nn.Conv2d):
    """A convolution whose kernel is divided by its largest singular value, as Flax estimates it.

    PyTorch's own `spectral_norm` would update its power iteration in both passes of a GAN's step.
    """

    u: Tensor
    v: Tensor

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        rows, columns = self.weight.flatten(1).shape
        self.register_buffer("u", torch.randn(rows))
        self.register_buffer("v", torch.randn(columns), persistent=False)

    def forward(self, x: Tensor, update_stats: bool) -> Tensor:  # type: ignore[override]
        matrix = self.weight.flatten(1)
        with torch.autocast(x.device.type, enabled=False):
            if update_stats:
                with torch.no_grad():
                    self.v.copy_(F.normalize(self.u @ matrix, dim=0))
                    self.u.copy_(F.normalize(matrix @ self.v, dim=0))
            sigma = self.u @ matrix @ self.v
        return self._conv_forward(x, self.weight / sigma, self.bias)


class TorchDiscriminator(nn.Module):
    """`Discriminator`: ([N, 1, H, W], [N, 2, H, W]) to [N, 1, H / 16, W / 16] logits."""

    def __init__(self, width: float = 1.0, spectral_norm: bool = True):
        super().__init__()
        conv = TorchSpectralConv if spectral_norm else nn.Conv2d
        self.spectral_norm, channels = spectral_norm, 3
        for i, features in enumerate(discriminator.FEATURES):
            features = scale_width(features, width)
            self.add_module(f"conv{i}", conv(channels, features, 4, 2, padding=1))
            channels = features
        self.logits = conv(channels, 1, 3, padding=1)

    def forward(self, l: Tensor, ab: Tensor, update_stats: bool = True) -> Tensor:
        """Without `update_stats` the vectors of spectral normalization are not updated."""
        options = {"update_stats": update_stats} if self.spectral_norm else {}
        x = torch.cat([l, ab], 1)
        for i in range(len(discriminator.FEATURES)):
            x = F.leaky_relu(getattr(self, f"conv{i}")(x, **options), 0.2)
        return self.logits(x, **options).float()


GENERATORS = {"encoder_decoder": TorchEncoderDecoder, "resnet": TorchResNetGenerator}


def state_dict(variables: Mapping[str, Any]) -> dict[str, Tensor]:
    """Converts Flax variables, or their gradients, to tensors of the PyTorch module."""
    tensors = {}
    for path, leaf in flax.traverse_util.flatten_dict(dict(variables)).items():
        array, name = np.asarray(leaf), torchvision_name(path)
        if name.endswith("/sigma"):
            continue  # Flax only reports it
        if name.endswith("/u"):
            name, array = path[-1].replace("/kernel/", "."), array[0]
        elif "deconv" in name and array.ndim == 4:
            # `lax.conv_transpose` does not flip the kernel: HWIO to IOHW, flipped.
            array = array[::-1, ::-1].transpose(2, 3, 0, 1)
        elif array.ndim == 4:  # HWIO to OIHW
            array = array.transpose(3, 2, 0, 1)
        tensors[name] = torch.from_numpy(array.copy())
    return tensors
