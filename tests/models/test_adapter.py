"""Finding how to call a network, in a test and in a training step."""

import numpy as np
import pytest
import torch
from networks import (
    Answering,
    Body,
)
from small import EXACT, tiny_network

from pytorch_vision.models import Classifier
from pytorch_vision.models.adapter import (
    LogitsError,
    find_call,
)

SIZE = (32, 32)
CONTIGUOUS = torch.contiguous_format


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
    mean, std = classifier.normalization.mean, classifier.normalization.std
    pixels = (torch.from_numpy(red) / 255 - torch.tensor(mean)) / torch.tensor(std)
    luma = (pixels @ torch.tensor([0.299, 0.587, 0.114]))[:, None]
    with torch.no_grad():
        expected = network.eval()(luma).softmax(1)
    np.testing.assert_allclose(classifier.predict(red, EXACT), expected, atol=1e-5)
