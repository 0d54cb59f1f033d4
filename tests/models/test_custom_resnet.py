import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pytorch_vision.data import Normalization, eval_batches
from pytorch_vision.models import create
from pytorch_vision.models.custom_resnet import MirrorBatchNorm2d


def mirror_image(maps: Tensor, pairs: int) -> Tensor:
    """Return the feature maps of mirrored layers for the mirror image of their input."""
    first, between, second = maps.tensor_split((pairs, maps.shape[1] - pairs), 1)
    return torch.cat([second, between, first], 1).flip(3)


def with_random_numbers(model: nn.Module) -> nn.Module:
    """Replace all weights and statistics that training would change."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.5, 0.5)
            nn.init.uniform_(layer.running_mean, -0.5, 0.5)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
        elif isinstance(layer, nn.Conv2d) and layer.weight.requires_grad:
            nn.init.kaiming_normal_(layer.weight)
    return model


@pytest.mark.parametrize("mirrored", [False, True])
def test_its_stem_whitens_photographs(sample, mirrored):
    """The outputs of its fixed filters are nearly uncorrelated; those of random filters are not."""
    shown = sample.train_images[:200]
    images = next(eval_batches(shown, Normalization.of(shown)))

    def mean_correlation(filters: Tensor) -> float:
        seen = F.conv2d(images, filters.detach()).transpose(0, 1).flatten(1)
        return float(torch.corrcoef(seen).abs().fill_diagonal_(0).sum()) / (27 * 26)

    stem = create("CustomResNet", mirrored=mirrored).stem[0]
    filters = stem.weight
    if mirrored:  # nine in pairs with their mirror images, which are their negatives
        assert torch.allclose(filters[:9], -filters[50:59], atol=1e-6)
        filters = torch.cat([filters[:9], filters[14:32], -filters[:9], filters[32:50]])
    assert torch.equal(filters[:27], -filters[27:54])
    assert mean_correlation(filters[:27]) < 0.05
    torch.manual_seed(0)
    assert mean_correlation(nn.Conv2d(3, 27, 3).weight) > 0.3
    assert not stem.weight.requires_grad


def test_its_logits_are_scaled():
    model, images = create("CustomResNet").eval(), torch.randn(2, 3, 32, 32)
    logits = model(images)
    model.logit_scale = 1.0
    assert torch.allclose(8 * logits, model(images))
    with pytest.raises(ValueError, match="logit_scale is 0, expected more than 0"):
        create("CustomResNet", logit_scale=0)


def test_mirrored_batchnorm_is_batchnorm_with_shared_statistics():
    layer, usual = MirrorBatchNorm2d(6, pairs=2), nn.BatchNorm2d(6)
    maps = torch.randn(4, 6, 5, 7) * torch.arange(1, 7)[:, None, None]
    assert torch.allclose(layer.train()(maps), usual.train()(maps), atol=1e-5)
    for own, values in (
        (layer.running_mean, usual.running_mean),
        (layer.running_var, usual.running_var),
    ):
        shared = torch.cat([(values[:2] + values[4:]) / 2, values[2:4]])
        assert torch.allclose(own, shared, atol=1e-6)
    with_random_numbers(layer).eval()
    assert torch.allclose(layer(mirror_image(maps, 2)), mirror_image(layer(maps), 2), atol=1e-5)


@pytest.mark.parametrize(("mirrored", "parameters"), [(True, 3_287_460), (False, 6_573_120)])
def test_a_mirrored_network_gives_mirror_images_the_same_logits(mirrored, parameters):
    model = with_random_numbers(create("CustomResNet", mirrored=mirrored)).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        logits = model(images)
        difference = (model(images.flip(3)) - logits).abs().max() / logits.abs().max()
    assert bool(difference < 1e-4) is mirrored
    assert mirrored or difference > 0.01


@pytest.mark.parametrize("mirrored", [False, True])
def test_convolutions_begin_as_the_identity(mirrored):
    layer = create("CustomResNet", mirrored=mirrored).layer1[0][0]
    images = torch.randn(1, 64, 8, 8)
    maps = layer(images)
    passed_on = torch.cat([maps[:, :50], maps[:, 64:78]], 1) if mirrored else maps[:, :64]
    assert torch.allclose(passed_on, images, atol=1e-6)


def test_a_mirrored_network_learns_from_an_image_what_its_mirror_image_teaches():
    """In float64, as rounding around zero in float32 can switch a gradient on or off."""
    model = with_random_numbers(create("CustomResNet", mirrored=True)).double().train()
    twin, images = copy.deepcopy(model), torch.randn(2, 3, 16, 16, dtype=torch.float64)
    labels = torch.arange(2)
    for network, shown in ((model, images), (twin, images.flip(3))):
        F.cross_entropy(network(shown), labels).backward()
    for own, other in zip(model.parameters(), twin.parameters(), strict=True):
        if own.grad is not None:
            assert torch.allclose(own.grad, other.grad, rtol=1e-6, atol=1e-8 * own.grad.abs().max())
