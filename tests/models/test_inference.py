from dataclasses import replace

import numpy as np
import torch
from hooks import batches_shown
from small import EXACT, tiny_network

from pytorch_vision.explain import grad_cam
from pytorch_vision.models import Classifier
from pytorch_vision.models.inference import scaled_down
from pytorch_vision.training import TrainConfig, fit


def test_scaling_down_does_not_shift_images():
    """At three quarters of the size, the edge between two halves stays between them."""
    images = torch.zeros(2, 3, 32, 48)
    images[:, :, :, 24:] = 1.0
    small = scaled_down(images, 0.75)
    assert small.shape == (2, 3, 24, 36)
    assert torch.allclose(small[..., :17], torch.zeros(()), atol=1e-6)
    assert torch.allclose(small[..., 19:], torch.ones(()))
    assert torch.equal(scaled_down(images, 1.0), images)


def test_no_side_becomes_too_small_for_networks():
    assert scaled_down(torch.ones(1, 3, 20, 224), 0.5).shape == (1, 3, 16, 112)
    assert scaled_down(torch.ones(1, 3, 8, 16), 0.5).shape == (1, 3, 8, 16)


def test_test_batches_are_smaller_for_small_training_batches_and_large_images(few):
    network, config = tiny_network(), TrainConfig(epochs=1, batch_size=4)
    shown = batches_shown(network, training=False)
    images, large = np.zeros((200, 32, 32, 3), np.uint8), np.zeros((9, 512, 512, 3), np.uint8)
    many = replace(few, test_images=images, test_labels=np.arange(200) % 10)
    for most, work in (
        (16, lambda: fit(Classifier(network, many), many, config, EXACT)),
        (64, lambda: Classifier(network, many).predict(images, EXACT)),
        (4, lambda: Classifier(network, many, size=(512, 512)).predict(large, EXACT)),
    ):
        work()
        assert max(map(len, shown)) <= most
        shown.clear()
    grad_cam(Classifier(network, many), images, many.test_labels)
    batches = [len(batch) for batch in shown if len(batch) > 1]  # single ones trace the geometry
    assert batches == [64, 64, 64, 8]
