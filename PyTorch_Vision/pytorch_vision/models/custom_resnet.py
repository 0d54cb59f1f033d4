"""CustomResNet: a small network that learns CIFAR-10 in a few epochs.

The original repository's ``custom_resnet``, after David Page's network for DAWNBench, "How to
Train Your ResNet", 2018.

It can be equivariant to mirroring, with filters in pairs of mirror images: channel i of the first
``pairs`` belongs to channel i of the last ``pairs``, and mirroring the image mirrors both maps and
swaps them. Any channels in between are only mirrored. Such layers have half as many weights, and
each weight learns from an image and its mirror image: Taco Cohen and Max Welling, "Group
Equivariant Convolutional Networks", arXiv 1602.07576.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytorch_vision.models.init import edges_and_colours
from pytorch_vision.models.resnet import check_num_classes

STEM_PAIRS = 14  # pairs of channels in a mirrored stem


class MirrorConv2d(nn.Conv2d):
    """A 3x3 convolution whose second half of filters are mirror images of the first half.

    Args:
        in_channels: the input channels, of which ``2 * pairs`` are in pairs.
        out_channels: an even number, all in pairs.
        pairs: the number of pairs of input channels; None if all are in pairs.

    Attributes:
        weight: float32 (out_channels / 2, in_channels, 3, 3), the first half.
    """

    def __init__(self, in_channels: int, out_channels: int, pairs: int | None = None) -> None:
        super().__init__(in_channels, out_channels // 2, 3, padding=1, bias=False)
        self.pairs = in_channels // 2 if pairs is None else pairs

    def forward(self, x: Tensor) -> Tensor:
        """Return feature maps (N, out_channels, H, W) for (N, in_channels, H, W)."""
        end = self.in_channels - self.pairs
        first, between, second = self.weight.tensor_split((self.pairs, end), 1)
        twins = torch.cat([second, between, first], 1).flip(3)
        return F.conv2d(x, torch.cat([self.weight, twins]), padding=1)


class MirrorBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm in which the two channels of a pair share weights and running statistics.

    Args:
        channels: the channels, of which ``2 * pairs`` are in pairs.
        pairs: the number of pairs; None if all channels are in pairs.
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
        """Store statistics of all channels, averaged over the two channels of each pair."""
        own.copy_(values[: len(own)])
        own[: self.pairs].add_(values[len(own) :]).div_(2)


def convolution(
    in_channels: int,
    out_channels: int,
    pool: bool = False,
    mirrored: bool = False,
    pairs: int | None = None,
) -> nn.Sequential:
    """Return a 3x3 convolution, optional 2x2 max pooling, BatchNorm and ReLU.

    The first ``in_channels`` filters begin as the identity, which passes on the previous layer's
    features (Keller Jordan, "94 % on CIFAR-10 in 3.29 Seconds on a Single GPU", arXiv 2404.00498).
    ``mirrored`` makes the filters in pairs, as in ``MirrorConv2d``.
    """
    filters: nn.Conv2d
    if mirrored:
        filters = MirrorConv2d(in_channels, out_channels, pairs)
        passed_on = in_channels - filters.pairs  # the twins of these filters pass on the rest
    else:
        filters = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        passed_on = in_channels
    nn.init.dirac_(filters.weight[:passed_on])
    return nn.Sequential(
        filters,
        *([nn.MaxPool2d(2)] if pool else []),
        MirrorBatchNorm2d(out_channels) if mirrored else nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def stem(mirrored: bool) -> nn.Sequential:
    """Return a fixed convolution to 64 channels, BatchNorm and ReLU.

    Its filters are ``edges_and_colours``, their negatives, and ten random ones. If ``mirrored``, a
    filter whose mirror image is its negative forms a pair with that negative; the random filters
    are five pairs; and all others are their own mirror images.
    """
    filters, cosines = nn.Conv2d(3, 64, 3, padding=1, bias=False), edges_and_colours()
    random = filters.weight.detach()[-10:]
    if mirrored:
        turned, alike = cosines[1::3], torch.cat([cosines[::3], cosines[2::3]])
        first = torch.cat([turned, random[:5]])
        filters.weight.data = torch.cat([first, alike, -alike, first.flip(3)])
        norm: nn.Module = MirrorBatchNorm2d(64, pairs=STEM_PAIRS)
    else:
        filters.weight.data = torch.cat([cosines, -cosines, random])
        norm = nn.BatchNorm2d(64)
    filters.weight.data += 0.0  # turns -0.0 into 0.0
    return nn.Sequential(filters.requires_grad_(False), norm, nn.ReLU(inplace=True))


class ResidualPair(nn.Module):
    """Two convolutions with a skip connection around both."""

    def __init__(self, channels: int, mirrored: bool = False) -> None:
        super().__init__()
        self.pair = nn.Sequential(
            convolution(channels, channels, mirrored=mirrored),
            convolution(channels, channels, mirrored=mirrored),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pair(x)


class CustomResNet(nn.Module):
    """A stem and three stages of 128, 256 and 512 channels, residual pairs in the first and last.

    For images of 16x16 pixels or larger; 32x32 pixels become maps of 4x4 cells, whose global
    maximum goes to the classifier. With ten classes it has 6,573,120 parameters, or 3,287,460 if it
    is mirrored, and takes 0.38 G multiply-adds an image, about a third of ResNet18's.

    Args:
        num_classes: the number of logits.
        logit_scale: multiplies the logits. Features after max pooling are large, and training
            starts faster from small logits.
        mirrored: makes the filters in pairs (see above); the classifier adds up the two
            features of a pair. An image and its mirror image then have the same logits, so do not
            use it for letters or arrows.

    Raises:
        ValueError: there is less than one class, or the scale is not positive.
    """

    def __init__(
        self, num_classes: int = 10, logit_scale: float = 0.125, mirrored: bool = False
    ) -> None:
        super().__init__()
        check_num_classes(num_classes)
        if not logit_scale > 0:
            raise ValueError(f"logit_scale is {logit_scale}, expected more than 0")
        self.made_by = {"name": "CustomResNet", "logit_scale": logit_scale, "mirrored": mirrored}
        self.logit_scale, self.mirrored = logit_scale, mirrored
        self.stem = stem(mirrored)
        self.layer1 = nn.Sequential(
            convolution(64, 128, pool=True, mirrored=mirrored, pairs=STEM_PAIRS),
            ResidualPair(128, mirrored),
        )
        self.layer2 = convolution(128, 256, pool=True, mirrored=mirrored)
        self.layer3 = nn.Sequential(
            convolution(256, 512, pool=True, mirrored=mirrored), ResidualPair(512, mirrored)
        )
        self.linear = nn.Linear(256 if mirrored else 512, num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) for normalised images (N, 3, H, W), H and W >= 16."""
        out = self.layer3(self.layer2(self.layer1(self.stem(x))))
        largest = torch.flatten(F.adaptive_max_pool2d(out, 1), 1)
        if self.mirrored:
            largest = torch.add(*largest.chunk(2, 1))
        return self.logit_scale * self.linear(largest)
