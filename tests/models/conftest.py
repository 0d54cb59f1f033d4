"""What several test files of the models share."""

from pathlib import Path

import pytest
import torch

from pytorch_vision.models import Classifier, EpochRecord, History, ResNet


@pytest.fixture
def path(tmp_path) -> Path:
    """The file that a classifier is saved in."""
    return tmp_path / "weights.safetensors"


@pytest.fixture
def trained(few) -> Classifier:
    """A small network, with everything that its file stores."""
    torch.manual_seed(0)
    network = ResNet((1, 1, 1, 1), 10, "standard")
    history = History((EpochRecord(1, 2.5, 10.0, 2.25, 20.0, 0.05, 3.0, 1.0),))
    return Classifier(network, few, history=history, description="a network on a few")
