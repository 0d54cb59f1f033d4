import numpy as np
import pytest
import torch
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from small import EXACT, without_data
from torch import nn

from pytorch_vision.explain.removal import (
    NOISE,
    Removal,
    baseline_maps,
    describe_removal,
    fill,
    interval,
    removal,
)
from pytorch_vision.models import Classifier


class SeesASquare(nn.Module):
    """Judges by the brightness of 8x8 pixels alone: class 1 if they are bright."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(8.0))

    def forward(self, x):
        brightness = x[:, :, 4:12, 20:28].mean(dim=(1, 2, 3))
        return torch.stack([0 * brightness, self.scale * (brightness - 0.5)], dim=1)


@pytest.fixture(scope="module")
def sees_a_square() -> Classifier:
    return without_data(SeesASquare(), "dark", "bright")


@pytest.fixture(scope="module")
def squares() -> tuple[np.ndarray, np.ndarray]:
    """Dark noise with a bright square where the network looks, and the map that marks it."""
    images = np.random.default_rng(0).integers(0, 60, (40, 32, 32, 3), np.uint8)
    images[:, 4:12, 20:28] = 250
    marked = np.zeros((40, 32, 32), np.float32)
    marked[:, 4:12, 20:28] = 1
    return images, marked


@pytest.fixture(scope="module")
def removals(sees_a_square, squares) -> dict[str, Removal]:
    images, marked = squares
    maps = {"square": marked, "inverse": 1 - marked, **baseline_maps(images)}
    fractions = np.array([0.1, 0.3, 0.6])
    return removal(sees_a_square, images, np.ones(40, np.uint8), maps, fractions, EXACT)


def test_the_map_that_marks_the_evidence_is_best_and_its_inverse_worst(removals):
    scores = {name: one.score.mean() for name, one in removals.items()}
    assert max(scores, key=scores.get) == "square"
    assert min(scores, key=scores.get) == "inverse"
    assert scores["square"] > 0.5
    assert scores["inverse"] < -0.5
    assert abs(scores["random"]) < 0.1


def test_curves_begin_at_the_whole_image_and_go_the_right_way(removals):
    square = removals["square"]
    assert square.fractions == pytest.approx([0, 0.1, 0.3, 0.6])
    assert square.morf.shape == square.lerf.shape == (40, 4)
    assert np.array_equal(square.morf[:, 0], square.lerf[:, 0])
    assert (square.morf[:, 0] > 0.95).all()
    assert (square.morf[:, 1] < 0.2).all()  # 64 of 1,024 pixels are in the first 10 %
    assert (square.lerf > 0.95).all()  # the square is in the last 40 %


def test_a_score_by_hand():
    one = Removal(np.array([0, 0.5, 1]), np.array([[1, 0.5, 0]]), np.array([[1, 1, 0]], np.float32))
    assert one.score == pytest.approx([0.75 - 0.5])


def test_a_flat_map_is_as_good_as_chance(sees_a_square, squares):
    """Pixels of equal importance must not go row by row."""
    images, marked = squares
    flat = {"flat": np.zeros_like(marked)}
    removals = removal(sees_a_square, images, np.ones(40, int), flat, machine=EXACT)
    low, high = interval(removals["flat"].score)
    assert low < 0 < high


def test_baseline_maps_know_only_the_image(few):
    images = few.test_images.copy()
    images[0] = 7
    images[0, :, 16:] = 200
    maps = baseline_maps(images)
    assert {one.shape for one in maps.values()} == {images.shape[:3]}
    assert np.unravel_index(maps["edges"][0].argmax(), (32, 32))[1] in (15, 16)
    assert maps["centre"][3].argmax() in (15 * 32 + 15, 15 * 32 + 16, 16 * 32 + 15, 16 * 32 + 16)
    assert maps["centre"][3].argmin() in (0, 31, 31 * 32, 31 * 32 + 31)
    assert not np.array_equal(maps["random"][0], maps["random"][1])
    assert np.array_equal(maps["random"], baseline_maps(images)["random"])


def test_an_interval_is_two_standard_errors_wide_on_each_side():
    reach = 1.96 * 0.025  # the standard error of their mean
    found = interval(np.repeat([0.0, 1.0], 200))
    assert found == pytest.approx((0.5 - reach, 0.5 + reach), abs=0.006)


def test_no_image_gives_no_score_and_one_gives_no_interval(tiny, few):
    empty = few.test_images[:0]
    removals = removal(tiny, empty, few.test_labels[:0], baseline_maps(empty))
    assert {one.score.shape for one in removals.values()} == {(0,)}
    assert np.isnan(interval(np.array([0.3]))).all()


def test_the_removal_is_described_in_a_sentence(removals):
    text = describe_removal(removals["square"], removals["random"])
    fallen = removals["square"].morf[:, 2].mean()
    before = removals["square"].morf[:, 0].mean()
    assert f"from {100 * before:.1f} % to {100 * fallen:.1f} %" in text
    assert "When the 30 % of the pixels" in text
    assert text.endswith(f"to {100 * removals['random'].morf[:, 2].mean():.1f} %.")
    chance = describe_removal(removals["random"], removals["random"])
    assert chance.endswith("So these maps are no better than chance.")


def test_wrong_arguments_are_named(tiny, few):
    arguments = (tiny, few.test_images, few.test_labels)
    with pytest.raises(ValueError, match=r"map 'short' is \(3, 32, 32\), expected \(50, 32, 32\)"):
        removal(*arguments, {"short": np.zeros((3, 32, 32))})
    for fractions in ((), (0.5, 0.2), (0.0, 0.5), (0.5, 1.0)):
        with pytest.raises(ValueError, match="expected rising numbers between 0 and 1"):
            removal(*arguments, {}, fractions)


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
    missing[0] = False
    plain = fill(images, missing)
    noisy = fill(images, missing, torch.Generator().manual_seed(0))
    there = ~missing[:, None].expand_as(images)
    assert torch.equal(plain[there], images[there])
    assert torch.equal(noisy[there], images[there])
    difference = (noisy - plain)[~there]
    assert difference.std() == pytest.approx(NOISE, rel=0.05)
