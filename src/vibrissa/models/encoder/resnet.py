"""ResNet-18 on every step by itself.

Reference: He et al. 2015, arXiv 1512.03385, table 1; with 30 input channels and 512 features per
step in Chung et al. 2025, arXiv 2505.18361.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vibrissa.models.parts import (
    Encoder,
    EncoderConfig,
    InputShape,
    Steps,
    Tap,
    encoders,
    pick,
    positive,
)

STAGES: Final = 4
BLOCKS: Final = 2


@encoders.register("resnet")
@dataclass(frozen=True, kw_only=True)
class ResNet18(EncoderConfig):
    """ResNet-18, step by step: no memory.

    Batch norm takes its statistics over samples and steps together.

    Attributes:
        channels: of the first stage; each later one has twice as many.
        width: of the features.
    """

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"channels": 4, "width": 16},
        "small": {"channels": 16, "width": 128},
    }

    channels: int = 64
    width: int = 512

    def __post_init__(self) -> None:
        positive(channels=self.channels, width=self.width)

    def build(self, input_shape: InputShape) -> ResNetEncoder:
        return ResNetEncoder(self, input_shape)


class Convolution(nn.Conv2d):
    """A convolution without bias that leaves out the rows and columns of its kernel which, on maps
    of this size, never meet anything but padding: on the whisker grid nearly all of them.

    Args:
        channels: in and out.
        size: rows and columns of the map.
        kernel: rows and columns of the kernel.
        stride: of the convolution; padding is half the kernel.
    """

    def __init__(
        self, channels: tuple[int, int], size: tuple[int, int], kernel: int, stride: int = 1
    ) -> None:
        super().__init__(*channels, kernel, stride, kernel // 2, bias=False)
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        ends = [_used(n, kernel, stride) for n in size]
        self.out_size = (ends[0][4], ends[1][4])
        (top, bottom, above, below, _), (left, right, before, after, _) = ends
        self._rows, self._columns = slice(top, bottom), slice(left, right)
        self._margins = (before, after, above, below)

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight[:, :, self._rows, self._columns]
        before, after, above, below = self._margins
        if before == after and above == below:
            return F.conv2d(input, weight, stride=self.stride, padding=(above, before))
        return F.conv2d(F.pad(input, self._margins), weight, stride=self.stride)

    @property
    def multiply_adds(self) -> int:
        """Multiply-add pairs for one map, with the whole kernel."""
        return self.weight.numel() * self.out_size[0] * self.out_size[1]


def _used(n: int, kernel: int, stride: int) -> tuple[int, int, int, int, int]:
    """Along one axis: first and last + 1 tap that meets the map, padding before and after that is
    still needed, positions of the result."""
    pad = kernel // 2
    out = (n + 2 * pad - kernel) // stride + 1
    taps = [
        k for k in range(kernel) if any(0 <= o * stride - pad + k < n for o in range(out))
    ]  # fmt: skip
    first, last = taps[0], taps[-1] + 1
    before = pad - first
    after = (out - 1) * stride + (last - first) - n - before
    if after < 0:  # the stride ends before the map does
        after = 0
    return first, last, before, after, out


class ResidualBlock(nn.Module):
    """relu(norm(conv(relu(norm(conv(x))))) + x), with a 1x1 convolution of x where shapes differ.

    Args:
        channels: in and out.
        size: rows and columns of the map.
        stride: of the first convolution.
    """

    def __init__(self, channels: tuple[int, int], size: tuple[int, int], stride: int) -> None:
        super().__init__()
        entered, out = channels
        self.conv1 = Convolution((entered, out), size, 3, stride)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = Convolution((out, out), self.conv1.out_size, 3)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride > 1 or entered != out:
            self.downsample = nn.Sequential(
                Convolution((entered, out), size, 1, stride), nn.BatchNorm2d(out)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(n, channel, row, column) to the same with other channels, rows and columns."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNetEncoder(Encoder):
    """See :class:`ResNet18`; usual parameter names (``conv1``, ``layer1.0.bn1``, ``fc``)."""

    def __init__(self, config: ResNet18, input_shape: InputShape) -> None:
        super().__init__(input_shape, config.width, causal=True)
        size = (input_shape[2], input_shape[3])
        self.conv1 = Convolution((input_shape[1], config.channels), size, 7, 2)
        self.bn1 = nn.BatchNorm2d(config.channels)
        rows, columns = self.conv1.out_size
        size = ((rows + 1) // 2, (columns + 1) // 2)
        entered = config.channels
        for stage in range(STAGES):
            out = config.channels * 2**stage
            blocks = []
            for k in range(BLOCKS):
                block = ResidualBlock((entered, out), size, 2 if stage and not k else 1)
                entered, size = out, block.conv1.out_size
                blocks.append(block)
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(entered, config.width)

    def layers(self) -> tuple[str, ...]:
        blocks = (f"layer{s + 1}.{k}" for s in range(STAGES) for k in range(BLOCKS))
        return ("relu", "maxpool", *blocks, "avgpool", "fc")

    def forward(self, x: Tensor, *, steps: Steps | None = None, tap: Tap | None = None) -> Tensor:
        # In training batch norm takes every step into its statistics, so none is left out.
        apart = tap is None and not self.training
        given = pick(x, steps) if apart else x
        shape = given.shape[:2]

        def note(name: str, values: Tensor) -> None:
            if tap is not None:
                tap(name, values.unflatten(0, shape))

        y = F.relu(self.bn1(self.conv1(given.flatten(0, 1))))
        note("relu", y)
        y = F.max_pool2d(y, 3, 2, 1)
        note("maxpool", y)
        for stage in range(STAGES):
            for k, block in enumerate(self.get_submodule(f"layer{stage + 1}").children()):
                again = self.checkpoint and self.training and tap is None
                y = checkpoint(block, y, use_reentrant=False) if again else block(y)  # type: ignore[assignment]
                note(f"layer{stage + 1}.{k}", y)
        y = y.mean((2, 3))
        note("avgpool", y)
        y = self.fc(y)
        note("fc", y)
        y = y.unflatten(0, shape)
        return y if apart else pick(y, steps)

    @property
    def multiply_adds(self) -> int:
        maps = sum(m.multiply_adds for m in self.modules() if isinstance(m, Convolution))
        return self.n_steps * (maps + self.fc.in_features * self.fc.out_features)
