"""What several test files share."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pytorch_vision.data import DataError, ImageData, load_cifar10, load_sample, subset

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def cifar10() -> ImageData:
    """All of CIFAR-10, downloaded once into data/; required in CI, skipped where it can't be."""
    try:
        return load_cifar10(ROOT / "data")
    except DataError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def sample() -> ImageData:
    return load_sample()


@pytest.fixture(scope="session")
def few(sample: ImageData) -> ImageData:
    """100 training and 50 test images: seven batches of 16, the last of which has 4."""
    small = subset(sample, 100)
    return ImageData(
        small.train_images,
        small.train_labels,
        sample.test_images[:50],
        sample.test_labels[:50],
        sample.class_names,
        "a few images",
    )


@pytest.fixture
def tiny() -> nn.Module:
    """A network with all that training treats differently, small enough for a test."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


@pytest.fixture
def position() -> np.ndarray:
    """One image whose pixel at (row, column) is (8 * row, 8 * column, 255): position as colour."""
    rows, columns = np.meshgrid(np.arange(32), np.arange(32), indexing="ij")
    return np.stack([8 * rows, 8 * columns, np.full((32, 32), 255)], axis=-1).astype(np.uint8)
