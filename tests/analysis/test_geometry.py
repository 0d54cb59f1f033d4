import pytest
import torch
import torchvision
from torch import nn

from pytorch_vision.analysis import map_geometry
from pytorch_vision.models import ResNet18, ResNet34


@pytest.mark.parametrize(
    ("build", "layer", "size", "stride", "offset"),
    [
        (ResNet18, "layer4", 32, 8, -9),
        (ResNet18, "layer3", 32, 4, -5),
        (ResNet18, "conv1", 32, 1, -2),
        (lambda: ResNet18(geometry="standard"), "layer4", 32, 8, 0),
        (ResNet34, "layer4", 32, 8, -9),
        (torchvision.models.resnet18, "layer4", 224, 32, 0),
        (torchvision.models.vgg11, "features", 224, 32, 15.5),
    ],
)
def test_geometry(build, layer, size, stride, offset):
    geometry = map_geometry(build(), layer, (size, size))
    assert geometry.stride == (stride, stride)
    assert geometry.offset == (offset, offset)


def measured_centre(model: nn.Module, layer: str, size: int, cell: int, seeds: int) -> float:
    """Return the centre of mass, down, of a cell's squared input gradient."""
    weights = torch.zeros(size)
    for seed in range(seeds):
        torch.manual_seed(seed)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)
        images = torch.randn(2, 3, size, size, requires_grad=True)
        kept = []
        handle = model.get_submodule(layer).register_forward_hook(
            lambda _m, _i, output, kept=kept: kept.append(output)
        )
        model(images)
        handle.remove()
        output = kept[0]
        (output[:, :, cell, cell] * torch.randn(output.shape[1])).sum().backward()
        weights += images.grad.square().sum(dim=(0, 1, 3))
    return float((weights * torch.arange(size)).sum() / weights.sum())


@pytest.mark.parametrize(
    ("build", "layer", "size", "cell", "tolerance"),
    [
        (ResNet18, "layer4", 160, 10, 0.5),
        (lambda: ResNet18(geometry="standard"), "layer4", 160, 10, 0.5),
        (ResNet34, "layer4", 160, 10, 0.5),
        (torchvision.models.resnet18, "layer4", 448, 7, 0.05 * 32),
        (torchvision.models.vgg11, "features", 224, 3, 0.05 * 32),
    ],
)
def test_geometry_is_where_the_gradient_comes_from(build, layer, size, cell, tolerance):
    model = build().eval()
    found = map_geometry(model, layer, (size, size))
    expected = found.offset[0] + found.stride[0] * cell  # far enough from every edge
    measured = measured_centre(model, layer, size, cell, seeds=4)
    assert measured == pytest.approx(expected, abs=tolerance)


def test_layers_by_name_and_by_module():
    resnet = ResNet18()
    assert map_geometry(resnet, resnet.layer2[0], (32, 32)) == map_geometry(
        resnet, "layer2.0", (32, 32)
    )


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(tiny, training):
    tiny.train(training)
    before = {name: tensor.clone() for name, tensor in tiny.state_dict().items()}
    map_geometry(tiny, "3", (32, 32))
    assert tiny.training is training
    assert all(torch.equal(before[n], tensor) for n, tensor in tiny.state_dict().items())
    assert not any(module._forward_hooks for module in tiny.modules())
