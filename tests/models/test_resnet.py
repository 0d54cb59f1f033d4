import pytest
import torch

from pytorch_vision.models import ResNet18, ResNet34


def map_sides(model: torch.nn.Module, side: int) -> list[int]:
    """Return the side of the feature map after each of the four stages."""
    sides = []
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        stage.register_forward_hook(lambda _m, _i, output: sides.append(output.shape[-1]))
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, side, side))
    return sides


@pytest.mark.parametrize(
    ("conv_padding", "side", "sides"),
    [
        ("original", 32, [36, 19, 11, 7]),
        ("standard", 32, [32, 16, 8, 4]),
        ("standard", 64, [64, 32, 16, 8]),
    ],
)
def test_maps_by_convolution_padding(conv_padding, side, sides):
    assert map_sides(ResNet18(conv_padding=conv_padding), side) == sides


@pytest.mark.parametrize("conv_padding", ["original", "standard"])
@pytest.mark.parametrize(("build", "count"), [(ResNet18, 11_173_962), (ResNet34, 21_282_122)])
def test_parameters(build, count, conv_padding):
    with torch.device("meta"):  # shapes without numbers
        model = build(conv_padding=conv_padding)
    assert sum(parameter.numel() for parameter in model.parameters()) == count


@pytest.mark.parametrize("shape", [(16, 16), (33, 50)])
def test_any_number_of_classes_and_any_size_from_16(shape):
    with torch.device("meta"):
        logits = ResNet18(num_classes=3).eval()(torch.zeros(2, 3, *shape))
    assert logits.shape == (2, 3)


def test_the_whole_last_map_counts():
    """The original notebook's pooling ignored the last row and column of the 7x7 map."""
    model = ResNet18().eval()
    model.layer4.register_forward_hook(lambda _m, _i, output: kept.append(output))
    kept = []
    logits = model(torch.randn(1, 3, 32, 32))
    gradient = torch.autograd.grad(logits[0, 0], kept[0])[0]
    assert (gradient[0].abs().amax(dim=0) > 0).all()


def test_another_padding_is_refused():
    refusal = "conv_padding is 'imagenet', expected 'original' or 'standard'"
    with pytest.raises(ValueError, match=refusal):
        ResNet18(conv_padding="imagenet")
