import pytest
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer

from pytorch_vision.explain.imputation import NOISE, fill


def holes(count: int, share: float) -> torch.Tensor:
    """Return masks of connected holes, bool (count, 32, 32)."""
    noise = torch.rand(count, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise, 7, 1, 3).flatten(1)
    return (smooth.argsort(1).argsort(1) < share * 1024).view(count, 32, 32)


@pytest.mark.filterwarnings("ignore:__array_wrap__")  # the reference's, under numpy 2
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_it_solves_the_system_of_the_reference(share):
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    missing = holes(3, share)
    before = images.clone()
    ours = fill(images, missing)
    reference = NoisyLinearImputer(noise=0.0)
    for image, hole, filled in zip(images, missing, ours, strict=True):
        assert torch.allclose(filled, reference(image.clone(), (~hole).float()), atol=5e-3)
    assert torch.equal(images, before)


def test_known_pixels_stay_and_noise_is_small():
    images, missing = torch.randn(4, 3, 32, 32), holes(4, 0.4)
    plain = fill(images, missing)
    noisy = fill(images, missing, torch.Generator().manual_seed(0))
    there = ~missing[:, None].expand_as(images)
    assert torch.equal(plain[there], images[there])
    assert torch.equal(noisy[there], images[there])
    difference = (noisy - plain)[~there]
    assert difference.std() == pytest.approx(NOISE, rel=0.05)


def test_a_hole_in_an_image_of_one_colour_is_filled_exactly():
    images = torch.full((1, 3, 32, 32), 0.7)
    assert torch.allclose(fill(images, holes(1, 0.6)), images, atol=1e-3)
    assert torch.equal(fill(images, torch.zeros(1, 32, 32, dtype=torch.bool)), images)
