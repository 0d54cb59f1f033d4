import pytest
import torch
from torch import Tensor, nn

from pytorch_vision.models import ResNet18, create
from pytorch_vision.runtime.cuda_graphs import CudaGraphs, is_capturable


def doubler(calls: list[tuple[int, ...]]):
    """Return a function that doubles a tensor and records the shapes of its inputs."""

    def double(x: Tensor) -> Tensor:
        calls.append(tuple(x.shape))
        return 2 * x

    return double


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_from_the_third_call_on_a_function_is_replayed_on_new_inputs():
    """Its Python code does not run again; each function and each shape has a graph of its own."""
    calls: list[tuple[int, ...]] = []
    double, graphs = doubler(calls), CudaGraphs(enabled=True)

    def negated(x: Tensor) -> Tensor:
        return -x

    for value in (1.0, 2.0, 3.0, 4.0):
        for count in (3, 2):
            inputs = torch.full((count,), value, device="cuda")
            assert graphs(double, inputs).tolist() == count * [2 * value]
            assert graphs(negated, inputs).tolist() == count * [-value]
    assert calls == [(3,), (2,), (3,), (2,)]


def test_disabled_graphs_call_the_function_each_time():
    calls: list[tuple[int, ...]] = []
    double, graphs = doubler(calls), CudaGraphs(enabled=False)
    for value in (1.0, 2.0, 3.0):
        assert graphs(double, torch.full((2,), value)).tolist() == 2 * [2 * value]
    assert len(calls) == 3


class Undecided(nn.Module):
    """A custom layer, which may do something else in every step."""

    def forward(self, x):
        return x


def hooked():
    network = ResNet18()
    network.layer4.register_forward_hook(lambda *_: None)
    return network


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (ResNet18(), True),
        (create("CustomResNet"), True),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout(0.5)), True),
        (nn.Sequential(nn.Conv2d(3, 4, 3), Undecided()), False),
        (hooked(), False),
    ],
)
def test_is_capturable(network, expected):
    assert is_capturable(network) is expected
