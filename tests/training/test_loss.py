"""The recipe's loss for unequal classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pytorch_vision.training import TrainConfig
from pytorch_vision.training.loss import class_weights, cross_entropy


def test_class_weights_are_a_power_of_the_inverse_frequency(few):
    unequal = replace(few, train_labels=np.repeat([0, 1, 3], [80, 15, 5]))
    assert class_weights(unequal, 0) is None
    counts = torch.tensor([80.0, 15, 0, 5] + [0] * 6)
    for power in (0.5, 1.0):
        weights = class_weights(unequal, power)
        assert (weights * counts).sum() == pytest.approx(100)
        assert weights[3] / weights[0] == pytest.approx(float(counts[0] / counts[3]) ** power)
        assert weights[2] == 1  # has no image
        config = TrainConfig(class_weights=power, label_smoothing=0)
        criterion = cross_entropy(unequal, config, torch.device("cpu"))
        losses = criterion(torch.zeros(2, 10), torch.tensor([0, 3]))
        assert losses == pytest.approx(float(weights[0] + weights[3]) * np.log(10))
