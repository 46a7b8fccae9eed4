"""The training steps of training/steps.py in PyTorch, eager or compiled, to compare with."""

import time
from typing import Any

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import Tensor, nn

from colorjax import lab
from colorjax.benchmark.measuring import peak_mib, random_images
from colorjax.benchmark.torch_models import GENERATORS, TorchDiscriminator
from colorjax.training.optimizers import learning_rate_schedule


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """`lab.rgb_to_lab` of [N, 3, H, W]."""
    above = rgb > 0.04045
    linear = torch.where(above, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    matrix = torch.as_tensor(lab.RELATIVE_FROM_LINEAR, dtype=rgb.dtype, device=rgb.device)
    relative = torch.einsum("nchw,cd->ndhw", linear, matrix)
    f = torch.where(relative > 0.008856, relative ** (1 / 3), 7.787 * relative + 16 / 116)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def inputs(images: Tensor) -> tuple[Tensor, Tensor]:
    """L / 50 - 1 and a*b* / 110 of [N, H, W, 3] uint8."""
    with torch.no_grad():
        l, ab = rgb_to_lab(images.permute(0, 3, 1, 2).float() / 255).split([1, 2], 1)
        return l / lab.L_SCALE - 1, ab / lab.AB_SCALE


def translate_and_cut(images: Tensor, max_shift: float, cut: float) -> Tensor:
    """`augment.translate_and_cut` of square images [N, C, S, S]."""
    count, _, side, _ = images.shape
    device, square = images.device, round(side * cut)
    limit = round(side * max_shift)
    position = torch.arange(side, device=device)
    source, kept, left = [], [], []
    for _ in range(2):
        shift = torch.randint(-limit, limit + 1, (count, 1), device=device)
        corner = torch.randint(-(square // 2), side - square // 2, (count, 1), device=device)
        source.append((position - shift) % side)
        kept.append((position >= shift) & (position < side + shift))
        left.append((position < corner) | (position >= corner + square))
    mask = (kept[0][:, :, None] & kept[1][:, None]) & (left[0][:, :, None] | left[1][:, None])
    batch = torch.arange(count, device=device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[batch, source[0][:, :, None], source[1][:, None]]
    return moved.permute(0, 3, 1, 2) * mask[:, None]


class TorchTrainer:
    """The networks, optimizers and averages of a config, and its step (a GAN's adversarial one).

    Memory is channels-last, and `config.model.dtype` bfloat16 means autocast. The
    learning rate stays at its first value. Only L1 and the non-saturating loss are supported.

    Args:
      config: see configs/common.py.
      compiled: whether networks, Lab and augmentation are compiled by `torch.compile`.
    """

    def __init__(self, config: ConfigDict, compiled: bool = False):
        self.config = config
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.generator = self._placed(
            GENERATORS[config.model.name](
                config.model.width, config.model.skip_connections, config.model.output_stride
            )
        )
        self.optimizer = self._adamw(self.generator, config.optimizer)
        tensors = self.generator.state_dict().values()
        self.averaged = [tensor for tensor in tensors if tensor.is_floating_point()]
        self.ema = [tensor.clone() for tensor in self.averaged]
        self.discriminator: nn.Module | None = None
        if "gan" in config:
            self.discriminator = self._placed(
                TorchDiscriminator(config.gan.width, config.gan.spectral_norm)
            )
            self.d_optimizer = self._adamw(self.discriminator, config.gan.optimizer)
        wrap: Any = torch.compile if compiled else lambda function: function
        self._generate, self._inputs, self._augment = map(
            wrap, (self.generator, inputs, translate_and_cut)
        )
        self._judge = wrap(self.discriminator) if self.discriminator else None
        if compiled:
            # Backward runs twice through the logits of predictions.
            torch._functorch.config.donated_buffer = False  # type: ignore[attr-defined]

    def step(self, images: Tensor) -> dict[str, Tensor]:
        """One update of [N, H, W, 3] uint8 images on the device. Returns the losses."""
        l, ab = self._inputs(images)
        fake = self._autocast(self._generate, l)
        if self.discriminator is None:
            loss = (fake - ab).abs().mean()
            grads = torch.autograd.grad(loss, list(self.generator.parameters()))
            losses = {"loss": loss.detach()}
        else:
            grads, losses = self._adversarial(l, ab, fake)
        self._update(self.generator, self.optimizer, self.config.optimizer, grads)
        torch._foreach_lerp_(self.ema, self.averaged, 1 - self.config.ema_decay)
        return losses

    def _adversarial(self, l: Tensor, ab: Tensor, fake: Tensor) -> tuple[Any, dict[str, Tensor]]:
        """Updates the discriminator. Returns the generator's gradients and the losses."""
        assert self.discriminator is not None
        seen = fake.detach().requires_grad_()
        real_logits = self._autocast(self._judge, *self._augmented(l, ab), True)
        fake_logits = self._autocast(self._judge, *self._augmented(l, seen), False)
        d_loss = F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
        parameters = list(self.discriminator.parameters())
        d_grads = torch.autograd.grad(d_loss, parameters, retain_graph=True)
        adversarial = F.softplus(-fake_logits).mean()
        (cotangent,) = torch.autograd.grad(adversarial, seen)
        loss = self.config.gan.regression_weight * (fake - ab).abs().mean()
        grads = torch.autograd.grad(
            [fake, loss], list(self.generator.parameters()), [cotangent, torch.ones_like(loss)]
        )
        self._update(self.discriminator, self.d_optimizer, self.config.gan.optimizer, d_grads)
        losses = {"loss": loss, "adversarial_loss": adversarial, "discriminator_loss": d_loss}
        return grads, {name: value.detach() for name, value in losses.items()}

    def _augmented(self, l: Tensor, ab: Tensor) -> Any:
        options = self.config.gan
        seen = self._augment(torch.cat([l, ab], 1), options.augment_shift, options.augment_cut)
        return seen.split([1, 2], 1)

    def _autocast(self, function: Any, *arguments: Any) -> Tensor:
        wanted = self.config.model.dtype == "bfloat16"
        with torch.autocast(self.device, torch.bfloat16, enabled=wanted):
            return function(*arguments)

    def _placed(self, module: nn.Module) -> nn.Module:
        return module.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _adamw(self, module: nn.Module, options: ConfigDict) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            module.parameters(),
            lr=float(learning_rate_schedule(options, self.config.num_steps)(0)),
            betas=(options.b1, options.b2),
            weight_decay=options.weight_decay,
            fused=True,
        )

    @staticmethod
    def _update(
        module: nn.Module, optimizer: torch.optim.Optimizer, options: ConfigDict, grads: Any
    ) -> None:
        for parameter, grad in zip(module.parameters(), grads, strict=True):
            parameter.grad = grad
        nn.utils.clip_grad_norm_(module.parameters(), options.clip_norm)
        optimizer.step()


class TorchTimed(TorchTrainer):
    """What `workers.Trainer` measures, for PyTorch. The first step is done."""

    def __init__(self, config: ConfigDict, compiled: bool):
        super().__init__(config, compiled)
        shape = config.batch_size, config.image_size, config.image_size, 3
        self._images = torch.from_numpy(random_images(*shape)).to(self.device)
        self.train(1)

    def train(self, steps: int) -> tuple[float, float]:
        """Seconds and CPU seconds per step, all on one batch."""
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.step(self._images)
        if self.device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / steps, (time.process_time() - cpu) / steps

    def parameters(self) -> int:
        nets = filter(None, (self.generator, self.discriminator))
        return sum(p.numel() for net in nets for p in net.parameters())

    def peak_mib(self) -> float:
        """Peak memory of the GPU; on a CPU that of the process."""
        cuda = self.device == "cuda"
        return torch.cuda.max_memory_allocated() / 2**20 if cuda else peak_mib()
