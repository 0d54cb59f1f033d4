"""Layers that are equivariant to mirroring: filters in pairs, each the other's mirror image.

Of a feature map's channels, the first ``pairs`` and the last ``pairs`` belong together: mirroring
the image mirrors the maps of a pair and swaps them. The channels between, if any, are mirrored
only. Such layers have half as many weights, and learn each from an image and its mirror image: Taco
Cohen and Max Welling, "Group Equivariant Convolutional Networks", arXiv 1602.07576.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MirrorConv2d(nn.Conv2d):
    """A 3x3 convolution whose second half of filters are the mirror images of the first.

    Args:
        in_channels: the input channels, of which ``2 * pairs`` are in pairs.
        out_channels: an even number, all in pairs.
        pairs: of input channels; None if all are in pairs.

    Attributes:
        weight: float32 (out_channels / 2, in_channels, 3, 3), the first half.
    """

    def __init__(self, in_channels: int, out_channels: int, pairs: int | None = None) -> None:
        super().__init__(in_channels, out_channels // 2, 3, padding=1, bias=False)
        self.pairs = in_channels // 2 if pairs is None else pairs

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (N, out_channels, H, W) for maps (N, in_channels, H, W)."""
        end = self.in_channels - self.pairs
        first, between, second = self.weight.tensor_split((self.pairs, end), 1)
        twins = torch.cat([second, between, first], 1).flip(3)
        return F.conv2d(x, torch.cat([self.weight, twins]), padding=1)


class MirrorBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm in which the two channels of a pair share weights and running statistics.

    Args:
        channels: the channels, of which ``2 * pairs`` are in pairs.
        pairs: of channels; None if all are in pairs.
    """

    def __init__(self, channels: int, pairs: int | None = None) -> None:
        self.pairs = channels // 2 if pairs is None else pairs
        super().__init__(channels - self.pairs)

    def forward(self, x: Tensor) -> Tensor:
        """Return normalised maps (N, channels, H, W)."""
        own: Any = (self.running_mean, self.running_var, self.weight, self.bias)
        mean, var, weight, bias = (torch.cat([values, values[: self.pairs]]) for values in own)
        settings: Any = (self.training, self.momentum, self.eps)
        result = F.batch_norm(x, mean, var, weight, bias, *settings)
        if self.training:  # batch_norm has updated copies of the statistics
            self._share(own[0], mean)
            self._share(own[1], var)
        return result

    def _share(self, own: Tensor, values: Tensor) -> None:
        """Store the statistics of all channels, the mean for each pair."""
        own.copy_(values[: len(own)])
        own[: self.pairs].add_(values[len(own) :]).div_(2)
