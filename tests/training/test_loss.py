"""The recipe's loss for unequal classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small import EXACT, tiny_classifier

from pytorch_vision.training import TrainConfig, fit
from pytorch_vision.training.loss import class_weights


def test_class_weights_are_a_power_of_the_inverse_frequency(few):
    unequal = replace(few, train_labels=np.repeat([0, 1, 3], [80, 15, 5]))
    assert class_weights(unequal, 0) is None
    counts = torch.tensor([80.0, 15, 0, 5] + [0] * 6)
    for power in (0.5, 1.0):
        weights = class_weights(unequal, power)
        assert (weights * counts).sum() == pytest.approx(100)
        assert weights[3] / weights[0] == pytest.approx(float(counts[0] / counts[3]) ** power)
        assert weights[2] == 1  # has no image


def test_class_weights_help_the_rare_class(few):
    """One image in ten is of the rare class, which counts as much as the other."""
    rare = np.arange(100) % 10 == 0
    images = few.train_images.copy()
    images[rare] = images[rare] // 4 * 3  # somewhat darker
    data = replace(
        few,
        train_images=images,
        train_labels=rare.astype(np.int64),
        test_images=images,
        test_labels=rare.astype(np.int64),
        class_names=("common", "rare"),
    )
    found = []
    for power in (0.0, 1.0):
        classifier = tiny_classifier(data)
        config = TrainConfig(epochs=4, batch_size=16, optimizer="sgd", class_weights=power)
        fit(classifier, data, config, EXACT)
        found.append(classifier.predict(images, EXACT)[rare, 1].mean())
    assert found[1] > found[0] + 0.2
