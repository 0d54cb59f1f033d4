from typing import Any

import pytest
import torch
from networks import Body, lazy, made
from small import tiny_network
from torch import nn

from pytorch_vision.models import Classifier
from pytorch_vision.models.module_utils import copied, ready, unwrapped


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile])
def test_wrappers_are_removed(wrap):
    network = Body()
    assert unwrapped(wrap(network)) is network


def test_layers_of_a_compiled_networks_wrapper_stay():
    class Wrapper(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.extra = torch.compile(Body()), nn.Linear(10, 10)

        def __getattr__(self, name: str) -> Any:
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self.model, name)

    assert isinstance(unwrapped(Wrapper()), Wrapper)


def test_lazy_layers_are_initialised_for_the_images():
    assert ready(lazy(), (32, 32))[-1].weight.shape == (10, 8 * 15 * 15)
    with pytest.raises(ValueError, match="cannot be initialised with images of 1x1 pixels"):
        ready(nn.Sequential(nn.LazyConv2d(8, 3)), (1, 1))


@pytest.mark.parametrize("kind", ["remembering", "weight_norm", "traced"])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_networks_that_deepcopy_refuses_are_copied(kind):
    network = made(kind)
    network(torch.randn(2, 3, 32, 32)).sum().backward()
    duplicate = copied(network)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(duplicate.eval()(images), network.eval()(images))
    for own, theirs in zip(duplicate.parameters(), network.parameters(), strict=True):
        assert own.is_leaf
        assert own.data_ptr() != theirs.data_ptr()


def test_layers_keep_their_own_mode(few):
    network = tiny_network().train()
    network[1].eval()
    classifier = Classifier(network, few)
    classifier.predict(few.test_images)
    assert network.training
    assert network[0].training
    assert not network[1].training
