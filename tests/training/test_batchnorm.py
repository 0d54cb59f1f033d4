import pytest
from small import tiny_network
from torch import nn

from pytorch_vision.training.batchnorm import are_young


@pytest.mark.parametrize(
    ("momentum", "steps", "young"),
    [(0.1, 26, True), (0.1, 50, False), (0.01, 400, True), (0.01, 500, False)],
)
def test_statistics_are_young_until_they_have_forgotten_what_they_began_as(momentum, steps, young):
    network = tiny_network()
    network[1].momentum = momentum
    assert are_young(network, steps) == young


def test_without_running_statistics_nothing_is_young():
    assert not are_young(tiny_network(normalization=False), 1)
    assert not are_young(nn.BatchNorm2d(3, track_running_stats=False), 1)
    assert not are_young(nn.BatchNorm2d(3, momentum=None), 1)  # a mean over all steps
