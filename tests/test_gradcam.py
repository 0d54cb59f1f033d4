import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from pytorch_vision.gradcam import grad_cam, map_geometry
from pytorch_vision.loaders import eval_batches
from pytorch_vision.models import ResNet18, ResNet34


@pytest.fixture(scope="module")
def resnet(few) -> nn.Module:
    """An untrained network whose BatchNorm knows the images, so that every layer is alive."""
    torch.manual_seed(0)
    model = ResNet18()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean of what it sees
    with torch.no_grad():
        model(next(eval_batches(few.train_images, *few.mean_and_std)))
    return model.eval()


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


def measured_centre(model: nn.Module, layer: str, size: int, cell: int) -> float:
    """Return the centre of mass, down, of a cell's squared input gradient."""
    weights = torch.zeros(size)
    for seed in range(6):
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


@pytest.mark.parametrize("geometry", ["seed", "standard"])
def test_geometry_is_where_the_gradient_comes_from(geometry):
    model = ResNet18(geometry=geometry).eval()
    found = map_geometry(model, "layer4", (160, 160))
    cell = 10  # its field lies inside an image of this size
    expected = found.offset[0] + found.stride[0] * cell
    assert measured_centre(model, "layer4", 160, cell) == pytest.approx(expected, abs=0.5)


def test_layers_by_name_and_by_module(resnet):
    assert map_geometry(resnet, resnet.layer2[0], (32, 32)) == map_geometry(
        resnet, "layer2.0", (32, 32)
    )


def test_a_single_bright_cell_is_drawn_where_it_lies():
    """With an identity for a network the map is the image, cell for cell."""

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.cells = nn.Conv2d(3, 1, 1, stride=8, bias=False)
            nn.init.ones_(self.cells.weight)

        def forward(self, x):
            return self.cells(x).mean(dim=(2, 3)).repeat(1, 2)

    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, 8, 24] = 255  # cell (1, 3)
    unit = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    aligned = grad_cam(Pooled(), image, [0], unit, "cells")
    assert np.unravel_index(aligned[0].argmax(), (32, 32)) == (8, 24)
    assert aligned[0, 8, 24] == 1
    assert aligned[0, 8, 20] == pytest.approx(0.5)  # half-way to the next cell
    assert aligned[0, 8, 16] == pytest.approx(0, abs=1e-6)
    stretched = grad_cam(Pooled(), image, [0], unit, "cells", aligned=False)
    assert np.unravel_index(stretched[0].argmax(), (32, 32)) != (8, 24)


def test_maps(resnet, few):
    maps = grad_cam(resnet, few.test_images[:5], few.test_labels[:5], few.mean_and_std)
    assert maps.shape == (5, 32, 32)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert set(maps.max(axis=(1, 2)).tolist()) <= {0.0, 1.0}
    in_parts = grad_cam(
        resnet, few.test_images[:5], few.test_labels[:5], few.mean_and_std, batch_size=2
    )
    np.testing.assert_allclose(maps, in_parts, atol=1e-4)
    one = grad_cam(resnet, few.test_images[3:4], few.test_labels[3:4], few.mean_and_std)
    np.testing.assert_allclose(maps[3:4], one, atol=1e-4)


@pytest.mark.parametrize("method", ["gradcam++", "xgradcam", "eigencam"])
def test_other_methods_give_other_maps(resnet, few, method):
    # behind layer4 there is only a mean, where Grad-CAM and XGrad-CAM are the same
    arguments = (resnet, few.test_images[:3], few.test_labels[:3], few.mean_and_std, "layer3")
    for aligned in (True, False):
        maps = grad_cam(*arguments, method=method, aligned=aligned)
        assert maps.shape == (3, 32, 32)
        assert np.isfinite(maps).all()
        assert maps.min() >= 0
        assert maps.max() == 1
    assert not np.allclose(maps, grad_cam(*arguments, aligned=False))


def test_no_image_gives_no_map(resnet, few):
    assert grad_cam(resnet, few.test_images[:0], [], few.mean_and_std).shape == (0, 32, 32)


def test_the_formula(resnet, few):
    """ReLU of the channels' sum, each weighed by its mean gradient, stretched over the image."""
    kept = []
    handle = resnet.layer4.register_forward_hook(lambda _m, _i, output: kept.append(output))
    pixels = torch.from_numpy(few.test_images[:1]).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in few.mean_and_std)
    logits = resnet(((pixels - mean) / std).float())
    handle.remove()
    gradient = torch.autograd.grad(logits[0, 4], kept[0])[0]
    cells = (gradient.mean(dim=(2, 3), keepdim=True) * kept[0]).sum(dim=1, keepdim=True).relu()
    expected = nn.functional.interpolate(cells, (32, 32), mode="bilinear")[0, 0].detach()
    ours = grad_cam(resnet, few.test_images[:1], [4], few.mean_and_std, aligned=False)[0]
    np.testing.assert_allclose(ours, expected / expected.max(), atol=1e-4)


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_exactly_as_it_was(few, fails):
    model = ResNet18().train()
    model.linear.weight.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random_state = torch.get_rng_state()
    classes = [99, 0] if fails else [1, 0]
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        if fails:
            with pytest.raises(ValueError, match=r"class 99 is out of range, expected 0\.\.9"):
                grad_cam(model, few.test_images[:2], classes, few.mean_and_std)
        else:
            grad_cam(model, few.test_images[:2], classes, few.mean_and_std)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(module.training for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    assert [p.requires_grad for p in model.linear.parameters()] == [False, True]
    assert not any(m._forward_hooks or m._backward_hooks for m in model.modules())


def test_wrong_arguments_are_named(resnet, few):
    images, statistics = few.test_images[:2], few.mean_and_std
    with pytest.raises(ValueError, match=r"no layer 'layer5'; it has conv1, bn1, layer1, .*linear"):
        grad_cam(resnet, images, [0, 1], statistics, "layer5")
    with pytest.raises(ValueError, match=r"layer 'linear' gives \(1, 10\), expected a map"):
        grad_cam(resnet, images, [0, 1], statistics, "linear")
    with pytest.raises(ValueError, match="method is 'lime', expected one of gradcam, "):
        grad_cam(resnet, images, [0, 1], statistics, method="lime")
    with pytest.raises(ValueError, match="classes is int64 of shape"):
        grad_cam(resnet, images, [0], statistics)
    with pytest.raises(ValueError, match="images is float64"):
        grad_cam(resnet, images / 255, [0, 1], statistics)
