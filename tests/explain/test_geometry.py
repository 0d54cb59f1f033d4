import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
import torchvision
from small import without_data
from torch import nn
from torchvision.models import vgg
from torchvision.models.maxvit import RelativePositionalMultiHeadAttention
from torchvision.models.swin_transformer import ShiftedWindowAttention

from pytorch_vision.explain import Explainer
from pytorch_vision.explain.geometry import NoMapError, map_geometry
from pytorch_vision.models import Classifier, ResNet18, ResNet34, create


def at(network: nn.Module, side: int = 32) -> Classifier:
    """Return a classifier for square images of ``side`` pixels."""
    return without_data(network, "one", size=(side, side))


@pytest.mark.parametrize(
    ("build", "layer", "stride", "offset"),
    [
        (ResNet18, "layer4", 8, -9),
        (ResNet18, "layer3", 4, -5),
        (ResNet18, "conv1", 1, -2),
        (partial(ResNet18, conv_padding="standard"), "layer4", 8, 0),
        (ResNet34, "layer4", 8, -9),
        (torchvision.models.resnet18, "layer4", 32, 0),
        (lambda: vgg.make_layers(vgg.cfgs["A"]), "20", 32, 15.5),
    ],
)
def test_geometry(build, layer, stride, offset):
    geometry = map_geometry(at(build(), 64), layer)
    assert geometry.stride == (stride, stride)
    assert geometry.offset == (offset, offset)


@pytest.mark.parametrize(
    ("resize", "stride", "offset"),
    [
        (partial(F.interpolate, size=64, mode="bilinear"), 1.0, 0.0),
        (partial(F.interpolate, scale_factor=2), 1.0, 0.0),
        (partial(F.interpolate, scale_factor=(2, 2)), 1.0, 0.0),
        (partial(F.interpolate, size=63, mode="bilinear", align_corners=True), 1.0, 0.25),
        (partial(F.interpolate, scale_factor=0.3, mode="bilinear"), 2 / 0.3, 1 / 0.3 - 0.5),
        (partial(F.interpolate, size=16, mode="bicubic", antialias=True), 4.0, 1.5),
    ],
)
def test_a_network_that_resizes_its_images_is_followed(resize, stride, offset):
    class Resizing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(resize(x)).mean((2, 3))[:, :1]

    geometry = map_geometry(at(Resizing()), "conv")
    assert geometry.stride == pytest.approx((stride, stride))
    assert geometry.offset == pytest.approx((offset, offset))


# one of every family of networks that torchvision has, and the tolerance in cells
FAMILIES = {
    **{"alexnet": 0.2, "convnext_tiny": 0.1, "densenet121": 0.2, "efficientnet_b0": 0.2},
    **{"googlenet": 0.2, "inception_v3": 0.2, "maxvit_t": 0.2, "mnasnet0_5": 0.2},
    **{"mobilenet_v2": 0.2, "mobilenet_v3_small": 0.2, "regnet_y_400mf": 0.2, "resnet18": 0.05},
    **{"shufflenet_v2_x0_5": 0.2, "squeezenet1_1": 0.2, "swin_t": 0.1, "swin_v2_t": 0.2},
    **{"vgg11": 0.05, "vit_b_16": 0.1},
}
# a cell sees so much of 224 pixels that its centre is drawn to the middle, whatever the geometry
WIDE = {
    *("efficientnet_b0", "inception_v3", "mobilenet_v2", "mobilenet_v3_small", "regnet_y_400mf"),
    *("resnet18", "shufflenet_v2_x0_5"),
}


def silence_attention(model: nn.Module) -> None:
    """Make attention add nothing: it sees the whole image, so it draws centres to the middle."""
    kinds = (nn.MultiheadAttention, RelativePositionalMultiHeadAttention, ShiftedWindowAttention)
    for module in model.modules():
        if isinstance(module, kinds):
            module.register_forward_hook(
                lambda _m, _i, out: (0 * out[0], None) if isinstance(out, tuple) else 0 * out
            )


def measured_centre(network: nn.Module, layer: str, side: int, cell: int) -> float:
    """Return the centre of mass, down, of a cell's squared input gradient."""
    outputs = []
    torch.manual_seed(0)
    network.get_submodule(layer).register_forward_hook(
        lambda _module, _inputs, output: outputs.append(output)
    )
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    images = torch.randn(1, 3, side, side, requires_grad=True)
    network(images)
    (outputs[0][:, :, cell, cell] * torch.randn(outputs[0].shape[1])).sum().backward()
    weights = images.grad.square().sum(dim=(0, 1, 3))
    return float((weights * torch.arange(side)).sum() / weights.sum())


@pytest.mark.parametrize(
    ("build", "side", "tolerance"),
    [
        (ResNet18, 160, 0.06),
        (partial(ResNet18, conv_padding="standard"), 160, 0.06),
        *(
            pytest.param(
                partial(create, f"torchvision:{name}"), 448 if name in WIDE else 224, cells, id=name
            )
            for name, cells in FAMILIES.items()
        ),
    ],
)
def test_geometry_is_where_the_gradient_comes_from(build, side, tolerance):
    """At the layer that is found by default, at a cell before the image's middle."""
    torch.manual_seed(0)
    network = build().eval().requires_grad_(False)
    silence_attention(network)
    explainer = Explainer(at(network, side))
    offset, stride = explainer.geometry.offset[0], explainer.geometry.stride[0]
    middle = ((side - 1) / 2 - offset) / stride  # in cells
    cell = math.ceil(middle - 0.25) - 1  # any offset is right for one in the very middle
    measured = measured_centre(network, explainer.layer, side, cell)
    assert measured == pytest.approx(offset + stride * cell, abs=tolerance * stride)


class Shuffle(nn.Module):
    """Applies ``work`` to a map of 16 channels, 16 rows and 16 columns."""

    def __init__(self, work) -> None:
        super().__init__()
        self.first, self.work = nn.Conv2d(3, 16, 3, 2, 1), work
        self.last = nn.Identity()
        self.linear = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.work(self, self.first(x)))


def windows(self, x: torch.Tensor) -> torch.Tensor:
    """Split a map into windows of 4x4 cells, apply a linear layer to their channels, and rejoin."""
    x = x.permute(0, 2, 3, 1).reshape(1, 4, 4, 4, 4, 16).permute(0, 1, 3, 2, 4, 5)
    x = self.linear(x.reshape(16, 16, 16))
    x = x.reshape(1, 4, 4, 4, 4, 16).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(1, 16, 16, 16).permute(0, 3, 1, 2)


def behind_a_token(x: torch.Tensor) -> torch.Tensor:
    """Return the cells as a sequence after a class token, as in a vision transformer."""
    return torch.cat([x.new_zeros(1, 1, 16), x.flatten(2).transpose(1, 2)], 1)


@pytest.mark.parametrize(
    ("work", "stride", "offset"),
    [
        (lambda self, x: x.reshape(1, 4, 4, 16, 16).transpose(1, 2).flatten(1, 2), 2, 0),
        (lambda self, x: self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), 2, 0),
        (lambda self, x: x.flatten(2).transpose(1, 2).transpose(1, 2).reshape(x.shape), 2, 0),
        (windows, 2, 0),
        # every second row and column, and their neighbours, joined: between the two
        (lambda self, x: torch.cat([x[..., ::2, ::2], x[..., 1::2, 1::2]], 1), 4, 1),
        (lambda self, x: x[:, :, 3:, 3:], 2, 6),
        (lambda self, x: F.pad(x, (3, 0, 3, 0), mode="reflect"), 2, -6),
        (lambda self, x: torch.chunk(x, 2, 1)[1], 2, 0),
        (lambda self, x: F.adaptive_avg_pool2d(x, 4), 8, 3),
        (lambda self, x: x.roll(3, 2).relu().roll(-3, 2), 2, 0),
        (lambda self, x: x.flip((2, 3)), -2, 30),
        (lambda self, x: behind_a_token(x)[:, 1:].transpose(1, 2).reshape(x.shape), 2, 0),
        (lambda self, x: F.pad(x, (0, 0, 0, 0, 8, 8)), 2, 0),  # more channels
        (lambda self, x: F.pad(x.movedim(1, -1), (0, 0, 1, 2, 1, 0)).movedim(-1, 1), 2, -2),
        (lambda self, x: x.repeat(2, 1, 1, 1), 2, 0),
        (lambda self, x: x * x.mean((2, 3), keepdim=True).sigmoid(), 2, 0),
    ],
)
def test_operations_that_reorder_are_followed(work, stride, offset):
    geometry = map_geometry(at(Shuffle(work)), "last")
    assert geometry.stride == (stride, stride)
    assert geometry.offset == (offset, offset)


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda self, x: x.roll(3, 2), "are not the rows and columns of a map"),
        (
            lambda self, x: x.movedim(1, -1),
            r"gives \(1, 16, 16, 16\), whose last two dimensions are",
        ),
        (lambda self, x: x.cumsum(2).reshape(1, 16, 8, 32), "are not the rows and columns"),
        (lambda self, x: F.interpolate(x, size=5), "not known: aten.upsample_nearest"),
        (lambda self, x: F.adaptive_avg_pool2d(x, 5), "not known: .*adaptive_avg_pool"),
        (
            lambda self, x: F.conv_transpose2d(x, x.new_ones(16, 2, 2, 2)),
            "not known: aten.convolution.default cannot be followed",
        ),
    ],
)
def test_a_refusal_names_the_operation(work, message):
    classifier = at(Shuffle(work))
    with pytest.raises(NoMapError, match=f"layer 'last' .*{message}"):
        map_geometry(classifier, "last")
    assert Explainer(classifier).layer == "first"


@pytest.mark.parametrize(("name", "layer"), [("ResNet18", "layer4"), ("CustomResNet", "layer3")])
def test_the_last_map_is_the_last_stage(name, layer):
    classifier = at(create(name))
    assert Explainer(classifier).layer == layer
    by_module = classifier.network.get_submodule(layer)
    assert map_geometry(classifier) == map_geometry(classifier, by_module)


@pytest.mark.parametrize("layer", ["layer1", "layer2", "layer3"])
def test_mirrored_filters_leave_the_cells_where_they_are(layer):
    usual, mirrored = (create("CustomResNet", mirrored=mirrored) for mirrored in (False, True))
    assert map_geometry(at(mirrored), layer) == map_geometry(at(usual), layer)


def test_a_network_without_a_map_is_named():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    with pytest.raises(NoMapError, match="no layer of this network gives a map"):
        map_geometry(at(network))
