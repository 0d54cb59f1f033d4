"""Images and a network small enough for a test, for the tests and for the jobs that they start."""

import torch
from torch import nn

from pytorch_vision.data import ImageData, load_sample, subset


def few_images() -> ImageData:
    """100 training and 50 test images: seven batches of 16, the last of which has 4."""
    sample = load_sample()
    small = subset(sample, 100)
    return ImageData(
        small.train_images,
        small.train_labels,
        sample.test_images[:50],
        sample.test_labels[:50],
        sample.class_names,
        "a few images",
    )


def tiny_network(normalization: bool = True) -> nn.Module:
    """A network with all that training treats differently."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8) if normalization else nn.Identity(),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )
