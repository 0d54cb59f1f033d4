"""CustomResNet: a small network that learns CIFAR-10 in few epochs.

The original repository's ``custom_resnet``, after David Page's network for DAWNBench, "How to
Train Your ResNet", 2018.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytorch_vision.models.resnet import check_images, check_num_classes


def convolution(in_channels: int, out_channels: int, pool: bool = False) -> nn.Sequential:
    """Return a 3x3 convolution, a 2x2 maximum where it is wanted, BatchNorm and ReLU.

    The first ``in_channels`` filters begin as the identity, so that what the layers before have
    found passes through (Keller Jordan, "94 % on CIFAR-10 in 3.29 Seconds on a Single GPU",
    arXiv 2404.00498).
    """
    filters = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    nn.init.dirac_(filters.weight[:in_channels])
    return nn.Sequential(
        filters,
        *([nn.MaxPool2d(2)] if pool else []),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def edges_and_colours() -> Tensor:
    """Return 27 filters that see brightness and two colour differences, each at nine frequencies.

    They are the three cosines of the DCT-II, over colour, height and width: nearly the principal
    components of any photograph's 3x3 patches. So, scaled by the BatchNorm after them, they
    whiten the image. arXiv 2404.00498 computes such filters from the training images.

    Returns:
        float32 (27, 3, 3, 3), orthonormal.
    """
    cosines = F.normalize(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]]))
    return torch.einsum("kc,iy,jx->kijcyx", cosines, cosines, cosines).reshape(27, 3, 3, 3)


class ResidualPair(nn.Module):
    """Two convolutions, whose result is added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.pair = nn.Sequential(convolution(channels, channels), convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pair(x)


class CustomResNet(nn.Module):
    """A stem and three stages of 128, 256 and 512 channels, residual pairs in the first and last.

    For images of 16x16 pixels or larger, of which 32x32 become maps of 4x4 cells; each channel's
    largest value over the last map goes to the classifier. With ten classes it has 6,573,120
    parameters and makes 0.38 G multiply-adds an image, about a third of ResNet18's. The stem's
    filters are fixed: ``edges_and_colours``, their negatives, and ten random ones.

    Args:
        num_classes: the number of logits.
        logit_scale: what the classifier's output is multiplied by. After a maximum over the map,
            its features are large, and logits that begin small are learned from sooner.

    Raises:
        ValueError: fewer than one class, or a scale that is not positive.
    """

    def __init__(self, num_classes: int = 10, logit_scale: float = 0.125) -> None:
        super().__init__()
        check_num_classes(num_classes)
        if not logit_scale > 0:
            raise ValueError(f"logit_scale is {logit_scale}, expected more than 0")
        self.made_by = {"name": "CustomResNet", "logit_scale": logit_scale}
        self.logit_scale = logit_scale
        self.stem = convolution(3, 64)
        filters, fixed = next(self.stem.parameters()), edges_and_colours()
        filters.requires_grad_(False)[: 2 * len(fixed)] = torch.cat([fixed, -fixed])
        self.layer1 = nn.Sequential(convolution(64, 128, pool=True), ResidualPair(128))
        self.layer2 = convolution(128, 256, pool=True)
        self.layer3 = nn.Sequential(convolution(256, 512, pool=True), ResidualPair(512))
        self.linear = nn.Linear(512, num_classes, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) for normalised images (N, 3, H, W), H and W >= 16."""
        check_images(x)
        out = self.layer3(self.layer2(self.layer1(self.stem(x))))
        return self.logit_scale * self.linear(torch.flatten(F.adaptive_max_pool2d(out, 1), 1))
