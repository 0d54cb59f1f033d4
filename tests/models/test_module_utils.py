import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import Body, Full, made
from small import tiny_network
from torch import nn

from pytorch_vision.models import Classifier, create, print_summary
from pytorch_vision.models.adapter import ready
from pytorch_vision.models.classifier_file import metadata_in
from pytorch_vision.models.module_utils import copied, unwrapped
from pytorch_vision.models.state_dicts import read_state_dict


def no_memory(*_: Any, **__: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory.")


def make_what_a_file_names(_few: Any, file: Path) -> None:
    with metadata_in(file, {}):
        no_memory()


@pytest.mark.parametrize(
    "work",
    [
        make_what_a_file_names,
        lambda few, file: create(f"{__name__}:no_memory"),
        lambda few, file: ready(nn.Sequential(nn.LazyConv2d(3, 3), Full(1)), (32, 32)),
        lambda few, file: print_summary(Classifier(Full(2), few)),
        lambda few, file: read_state_dict(file),
    ],
)
def test_lack_of_memory_is_no_mistake_in_a_network_or_a_file(few, tmp_path, monkeypatch, work):
    torch.save({}, tmp_path / "weights.pth")
    monkeypatch.setattr(torch, "load", no_memory)
    with pytest.raises(torch.OutOfMemoryError):
        work(few, tmp_path / "weights.pth")


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


@pytest.mark.parametrize("kind", ["hook", "lock", "remembering"])
def test_a_copy_shares_no_layer_and_no_graph(kind):
    network, image = made(kind), torch.ones(1, 3, 32, 32)
    logits = network(image)
    twin = copied(network)
    assert not set(network.modules()) & set(twin.modules())
    logits.sum().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        assert twin(image).abs().sum() > 0
        assert network(image).abs().sum() == 0


def test_a_copy_has_a_container_of_its_own_beside_what_it_shares():
    network = tiny_network()
    lock = threading.Lock()
    network.meter, network.lock = {"lock": lock, "steps": [0], "first": network[0]}, lock
    twin = copied(network)
    assert twin.lock is lock
    assert twin.meter["steps"] is not network.meter["steps"]
    assert twin.meter["first"] is twin[0]


def test_lazy_layers_that_fail_are_named():
    with pytest.raises(ValueError, match="cannot be initialised with images of 1x1 pixels"):
        ready(nn.Sequential(nn.LazyConv2d(8, 3)), (1, 1))


def test_a_network_of_mixed_precisions_becomes_float32():
    network = nn.Sequential(tiny_network().bfloat16(), nn.Linear(10, 2))
    assert {one.dtype for one in ready(network, (32, 32)).parameters()} == {torch.float32}
