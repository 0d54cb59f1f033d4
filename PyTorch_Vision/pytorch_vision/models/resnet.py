"""Residual networks for small images.

Kaiming He et al., "Deep Residual Learning for Image Recognition", arXiv 1512.03385.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ConvPadding = Literal["original", "standard"]
SMALLEST = 16  # pixels per side, for which the last feature maps still have 2x2 cells or more


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut around them.

    Args:
        in_channels, out_channels: channels of the input and of the output.
        stride: the stride of the first convolution and of the shortcut.
        extra_padding: pixels added to the padding of the strided convolution and its shortcut.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, extra_padding: int
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(
            in_channels, out_channels, 3, stride, padding=1 + extra_padding, bias=False
        )
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, padding=extra_padding, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network of four stages for images of 16x16 pixels or larger.

    Args:
        blocks: how many blocks each of the four stages has.
        num_classes: the number of logits.
        conv_padding: "original", as in the original notebook, pads the first convolution by 3 and
            every strided one by 2 (its shortcut by 1), so that 32x32 pixels become maps of 36,
            19, 11 and 7 cells a side; "standard" pads by 1 throughout (shortcuts by 0), for maps
            of 32, 16, 8 and 4 cells with about half the work.

    Raises:
        ValueError: there is less than one class, or no such padding.
    """

    def __init__(
        self, blocks: Sequence[int], num_classes: int = 10, conv_padding: ConvPadding = "original"
    ) -> None:
        super().__init__()
        check_num_classes(num_classes)
        if conv_padding not in ("original", "standard"):
            raise ValueError(f"conv_padding is {conv_padding!r}, expected 'original' or 'standard'")
        self.made_by = {"name": "ResNet", "blocks": list(blocks), "conv_padding": conv_padding}
        stem_padding, extra_padding = (3, 1) if conv_padding == "original" else (1, 0)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=stem_padding, bias=False)
        self.bn1 = nn.BatchNorm2d(64)

        def stage(in_channels: int, out_channels: int, stride: int, count: int) -> nn.Sequential:
            first = BasicBlock(in_channels, out_channels, stride, extra_padding * (stride > 1))
            others = (BasicBlock(out_channels, out_channels, 1, 0) for _ in range(count - 1))
            return nn.Sequential(first, *others)

        self.layer1 = stage(64, 64, 1, blocks[0])
        self.layer2 = stage(64, 128, 2, blocks[1])
        self.layer3 = stage(128, 256, 2, blocks[2])
        self.layer4 = stage(256, 512, 2, blocks[3])
        self.linear = nn.Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) for normalised images (N, 3, H, W), H and W >= 16."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        return self.linear(torch.flatten(F.adaptive_avg_pool2d(out, 1), 1))


def ResNet18(  # noqa: N802
    num_classes: int = 10, conv_padding: ConvPadding = "original"
) -> ResNet:
    """Return an 18-layer network; with ten classes it has 11,173,962 parameters."""
    return ResNet((2, 2, 2, 2), num_classes, conv_padding)


def ResNet34(  # noqa: N802
    num_classes: int = 10, conv_padding: ConvPadding = "original"
) -> ResNet:
    """Return a 34-layer network; with ten classes it has 21,282,122 parameters."""
    return ResNet((3, 4, 6, 3), num_classes, conv_padding)


def check_num_classes(num_classes: int) -> None:
    """Raise ValueError unless there is at least one class."""
    if num_classes < 1:
        raise ValueError(f"num_classes is {num_classes}, expected 1 or more")
