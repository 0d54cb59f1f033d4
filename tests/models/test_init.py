import torch
import torch.nn.functional as F
from torch import nn

from pytorch_vision.models import ResNet18
from pytorch_vision.models.init import begin_as_identity, edges_and_colours


def test_convolutions_begin_as_the_identity():
    network = ResNet18()
    shortcut = network.layer2[0].shortcut[0].weight.clone()
    begin_as_identity(network)
    maps = torch.randn(1, 64, 8, 8)
    for layer in (network.layer1[0].conv1, network.layer2[0].conv1):
        passed_on = F.conv2d(maps, layer.weight, padding=1)[:, :64]
        assert torch.allclose(passed_on, maps, atol=1e-6)
        assert layer.weight.requires_grad
    assert torch.equal(network.layer2[0].shortcut[0].weight, shortcut)
    first = network.conv1.weight.detach()
    assert torch.equal(first[:27], edges_and_colours())
    assert torch.equal(first[27:54], -first[:27])
    assert torch.allclose(first.flatten(1).norm(dim=1), torch.ones(64))


def test_other_layers_are_left_alone():
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3),  # too few for the cosines
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Conv2d(8, 16, 5),
        nn.Conv2d(16, 1, 1),
    )
    before = [layer.weight.clone() for layer in layers]
    begin_as_identity(layers)
    assert all(map(torch.equal, before, [layer.weight for layer in layers]))
