"""Finding how to call a network, in a test and in a training step."""

from functools import partial

import numpy as np
import pytest
import torch
from networks import Answering, Body, made
from small import EXACT, tiny_network
from torch import nn

from pytorch_vision.data import eval_batches
from pytorch_vision.models import Classifier
from pytorch_vision.models.adapter import Call, LogitsError, find_call

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
    precision = partial(torch.autocast, "cpu", torch.bfloat16)
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


def test_one_channel_is_luma(few):
    network = Body(1)
    red = np.zeros((2, 32, 32, 3), np.uint8)
    red[1, ..., 0] = 255
    classifier = Classifier(network, few)
    (pixels,) = eval_batches(red, classifier.normalization)
    weights = torch.tensor([0.299, 0.587, 0.114])
    luma = (pixels * weights[:, None, None]).sum(1, keepdim=True)
    with torch.no_grad():
        expected = network.eval()(luma).softmax(1)
    np.testing.assert_allclose(classifier.predict(red, EXACT), expected, atol=1e-5)
