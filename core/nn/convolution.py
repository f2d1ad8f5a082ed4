"""Layers for images of shape (n, channels, height, width): kernels, and pooling in space or across kernels."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from core.nn.module import Input, Module, Parameter, at_least
from core.nn.windows import max_of_windows, pad, patches
from core.randomness import Rng, generator
from core.tensor import Tensor, apply, as_tensor

Size = int | tuple[int, int]


class Conv2d(Module):
    """Slide kernels over images: (n, in_channels, h, w) -> (n, out_channels, rows, columns).

    With stride 1 there are h + 2 * padding - kernel height + 1 rows, and columns likewise. All windows of all
    images are multiplied with all kernels in one matrix product.

    Args:
        kernel_size: side of the square kernels, or (height, width).
        stride: how far apart windows are, or (down, right).
        padding: zeros added on each side of the image.

    Attributes:
        weight: the kernels, shape (out_channels, in_channels, *kernel_size), as in PyTorch;
            starts as N(0, 2 / entries of one kernel).
        bias: shape (out_channels,), starts at 0; or None.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        *,
        stride: Size = 1,
        padding: int = 0,
        bias: bool = True,
        rng: Rng,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        channels = (at_least("out_channels", out_channels, 1), at_least("in_channels", in_channels, 1))
        shape = (*channels, *_pair("kernel_size", kernel_size))
        spread = np.sqrt(2 / np.prod(shape[1:]))
        self.stride = _pair("stride", stride)
        self.padding = at_least("padding", padding, 0)
        self.weight = Parameter((generator(rng).standard_normal(shape) * spread).astype(dtype))
        self.bias = Parameter(np.zeros(out_channels, dtype)) if bias else None

    def settings(self) -> str:
        """Return what its repr shows."""
        out_channels, in_channels, *size = self.weight.shape
        return (
            f"{in_channels}, {out_channels}, kernel_size={tuple(size)}, stride={self.stride}, padding={self.padding}, "
            f"bias={self.bias is not None}"
        )

    def forward(self, images: Input) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out_channels, rows, columns). Raises ValueError for other shapes."""
        images = as_tensor(images)
        out_channels, in_channels, *size = self.weight.shape
        if images.ndim != 4 or images.shape[1] != in_channels:
            raise ValueError(
                f"images of shape {images.shape} do not fit kernels of shape {self.weight.shape}: "
                f"(n, {in_channels}, height, width) is needed"
            )
        if self.padding:
            images = apply(pad, images, padding=self.padding)
        windows = apply(patches, images, size=tuple(size), stride=self.stride)
        n, *_, rows, columns = windows.shape
        entries = in_channels * size[0] * size[1]
        maps = self.weight.reshape(out_channels, entries) @ windows.reshape(n, entries, rows * columns)
        if self.bias is not None:
            maps = maps + self.bias.reshape(out_channels, 1)
        return maps.reshape(n, out_channels, rows, columns)


class _SpatialPool(Module):
    """Cut each channel into windows of `kernel_size`, `stride` apart (side by side if left out)."""

    def __init__(self, kernel_size: Size, stride: Size | None = None) -> None:
        self.kernel_size = _pair("kernel_size", kernel_size)
        self.stride = self.kernel_size if stride is None else _pair("stride", stride)

    def settings(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}"

    def windows(self, images: Input) -> Tensor:
        """Return (n, channels, *kernel_size, rows, columns)."""
        return apply(patches, as_tensor(images), size=self.kernel_size, stride=self.stride)


class MaxPool2d(_SpatialPool):
    """Largest entry of each window, the first of equal ones: (n, channels, h, w) -> (n, channels, rows, columns)."""

    def forward(self, images: Input) -> Tensor:
        """Map (n, channels, h, w) to (n, channels, rows, columns)."""
        return apply(max_of_windows, self.windows(images))


class AvgPool2d(_SpatialPool):
    """Mean of each window: (n, channels, h, w) -> (n, channels, rows, columns)."""

    def forward(self, images: Input) -> Tensor:
        """Map (n, channels, h, w) to (n, channels, rows, columns)."""
        return self.windows(images).mean(axis=(2, 3))


class SumPool2d(_SpatialPool):
    """Sum of each window: (n, channels, h, w) -> (n, channels, rows, columns)."""

    def forward(self, images: Input) -> Tensor:
        """Map (n, channels, h, w) to (n, channels, rows, columns)."""
        return self.windows(images).sum(axis=(2, 3))


class KernelPool(Module):
    """Join the kernels' answers at each position: (n, kernels, h, w) -> (n, h, w), by "sum", "mean" or "max"."""

    def __init__(self, mode: Literal["sum", "mean", "max"]) -> None:
        if mode not in ("sum", "mean", "max"):
            raise ValueError(f'mode is "sum", "mean" or "max", not {mode!r}')
        self.mode = mode

    def settings(self) -> str:
        """Return what its repr shows."""
        return repr(self.mode)

    def forward(self, maps: Input) -> Tensor:
        """Map (n, kernels, h, w) to (n, h, w). Raises ValueError for other shapes."""
        maps = as_tensor(maps)
        if maps.ndim != 4:
            raise ValueError(f"maps of shape {maps.shape} are no answers of kernels: (n, kernels, h, w) is needed")
        joined = {"sum": maps.sum, "mean": maps.mean, "max": maps.max}[self.mode]
        return joined(axis=1)


def _pair(name: str, size: Size) -> tuple[int, int]:
    sides = (size, size) if isinstance(size, int) else size
    if not isinstance(sides, tuple | list) or len(sides) != 2:
        raise ValueError(f"{name} is a whole number or a pair (height, width), not {size!r}")
    return at_least(name, sides[0], 1), at_least(name, sides[1], 1)
