from typing import Any

import pytest
import torch
from networks import Body, lazy, made
from small import equal, tiny_network
from torch import nn

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


@pytest.mark.parametrize("kind", ["hook", "lock"])
def test_a_copy_shares_no_layer(kind):
    network, image = made(kind), torch.ones(1, 3, 32, 32)
    twin = copied(network)
    assert not set(network.modules()) & set(twin.modules())
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        assert twin(image).abs().sum() > 0
        assert network(image).abs().sum() == 0


def test_lazy_layers_are_initialised_for_the_images():
    assert ready(lazy(), (32, 32))[-1].weight.shape == (10, 8 * 15 * 15)
    with pytest.raises(ValueError, match="cannot be initialised with images of 1x1 pixels"):
        ready(nn.Sequential(nn.LazyConv2d(8, 3)), (1, 1))


def test_a_network_of_mixed_precisions_becomes_float32():
    network = nn.Sequential(tiny_network().bfloat16(), nn.Linear(10, 2))
    assert {one.dtype for one in ready(network, (32, 32)).parameters()} == {torch.float32}


class Kept:
    """Keeps the features of a layer, as fastai's hooks do."""

    def __init__(self, layer: nn.Module) -> None:
        layer.register_forward_hook(self.keep)

    def keep(self, _layer: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
        self.features = output


def test_a_network_whose_features_are_kept_with_their_graph_is_copied():
    network = tiny_network()
    kept = Kept(network[0])
    logits = network(torch.rand(2, 3, 8, 8))
    twin = copied(network)
    assert equal(twin, network)
    twin(torch.rand(3, 3, 8, 8))
    assert kept.features.shape == (2, 8, 8, 8)  # the copy's hook keeps its own
    logits.sum().backward()
