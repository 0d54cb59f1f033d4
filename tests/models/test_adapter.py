"""Finding how to call a network, in a test and in a training step."""

import numpy as np
import pytest
import torch
from networks import (
    Answering,
    Body,
    PartlyUsed,
    ViewedInTraining,
    made,
)
from small import left_alone, tiny_network
from torch import Tensor, nn

from pytorch_vision.models import Classifier
from pytorch_vision.models.adapter import (
    Adapter,
    Call,
    LogitsError,
    find_call,
    find_training_call,
)
from pytorch_vision.runtime import Machine

EXACT = Machine(accelerator="cpu", precision="32-true")
SIZE = (32, 32)
CONTIGUOUS = torch.contiguous_format


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("frozen", Call()),
        ("view", Call(memory_format=CONTIGUOUS)),
        ("one channel", Call(channels=1)),
        ("squeeze", Call(alone=False)),
        ("dictionary", Call()),
    ],
)
def test_the_fastest_call_that_works_is_found(kind, expected):
    network = made(kind)
    assert find_call(network, SIZE, 10) == expected
    assert network.training


def test_without_16_bits_there_is_no_autocast():
    def precision() -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16)

    assert find_call(made("numpy"), SIZE, 10, precision) == Call(autocast=False)


@pytest.mark.parametrize(("groups", "autocast"), [(1, True), (4, True), (8, False)])
def test_depthwise_convolutions_run_in_float32_on_a_cpu(groups, autocast):
    network = tiny_network()
    network.insert(1, nn.Conv2d(8, 8, 3, groups=groups))
    assert find_call(network, SIZE, 10) == Call(autocast=autocast)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (tiny_network(classes=7), r"returns \(1, 7\) for one image, expected \(1, 10\)"),
        (Answering(lambda logits, x: (x, logits)), r"returns \(1, 8, 8, 8\) for one image"),
        (Answering(lambda logits, x: {}), "returns dict, expected logits: a tensor, a tuple that"),
        (Answering(lambda logits, x: None), "returns NoneType, expected logits"),
    ],
)
def test_other_outputs_are_refused(network, message):
    with pytest.raises(LogitsError, match=message):
        find_call(network, SIZE, 10)


class AuxiliaryHead(Body):
    """Like inception's: it runs only in training, and needs large images."""

    def forward(self, x: Tensor) -> Tensor:
        maps = self.features(x)
        if self.training:
            nn.functional.max_pool2d(maps, 12)
        return self.linear(maps.mean((2, 3)))


def test_a_training_step_is_tried_with_a_copy():
    network = ViewedInTraining()
    with left_alone(network):
        call = find_call(network, SIZE, 10)
        assert call == Call()
        adapter = Adapter(network, call, 10)
        assert find_training_call(adapter, SIZE) == (Call(memory_format=CONTIGUOUS), [])
    with pytest.raises(
        ValueError,
        match=r"AuxiliaryHead cannot be trained on images of 32x32 pixels \(RuntimeError",
    ):
        find_training_call(Adapter(AuxiliaryHead(), Call(), 10), SIZE)


def test_parameters_that_no_loss_reaches_are_named():
    _, unused = find_training_call(Adapter(PartlyUsed(), Call(), 10), SIZE)
    assert unused == ["unused.weight", "unused.bias", "auxiliary.weight", "auxiliary.bias"]


def test_one_channel_is_luma(few):
    network = Body(1)
    red = np.zeros((2, 32, 32, 3), np.uint8)
    red[1, ..., 0] = 255
    classifier = Classifier(network, few)
    mean, std = classifier.normalization.mean, classifier.normalization.std
    pixels = (torch.from_numpy(red) / 255 - torch.tensor(mean)) / torch.tensor(std)
    luma = (pixels @ torch.tensor([0.299, 0.587, 0.114]))[:, None]
    with torch.no_grad():
        expected = network.eval()(luma).softmax(1)
    np.testing.assert_allclose(classifier.predict(red, EXACT), expected, atol=1e-5)
