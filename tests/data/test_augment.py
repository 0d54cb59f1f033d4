import numpy as np
import pytest
import torch
from scipy import stats

from pytorch_vision.data.augment import (
    Augmentation,
    BatchNormalizer,
    Normalization,
    denormalize,
    eval_transform,
    train_transform,
)
from pytorch_vision.data.draws import Replay, augment_batch, draw

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
NORMALIZATION = Normalization(MEAN, STD)
NORMALIZE = BatchNormalizer(NORMALIZATION, "cpu")
DRAWS = 4000
FILL = np.array([125, 123, 114])  # the colour nearest to the mean


def by_itself(augmentation: Augmentation, images: np.ndarray) -> torch.Tensor:
    pipeline = train_transform(augmentation, (32, 32), NORMALIZATION)
    pipeline.set_random_seed(1)
    return torch.stack([pipeline(image=image)["image"] for image in images])


def replayed(augmentation: Augmentation, images: np.ndarray) -> torch.Tensor:
    draws = draw(augmentation, len(images), (32, 32), np.random.SeedSequence(1))
    return Replay(augmentation, (32, 32), NORMALIZATION)(images, draws)


def at_once(augmentation: Augmentation, images: np.ndarray) -> torch.Tensor:
    draws = draw(augmentation, len(images), (32, 32), np.random.SeedSequence(1))
    return augment_batch(torch.from_numpy(images), augmentation, draws, NORMALIZE)


every_way = pytest.mark.parametrize("way", [by_itself, replayed, at_once])


def drawn(way, augmentation: Augmentation, image: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """Return what a way of augmenting makes of an image, as uint8 (draws, 32, 32, 3)."""
    tensors = way(augmentation, image[None].repeat(draws, 0))
    pixels = 255 * denormalize(tensors, NORMALIZATION)
    return pixels.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def is_fill(images: np.ndarray) -> np.ndarray:
    return (images == FILL).all(axis=-1)


@every_way
def test_crop_moves_the_image_uniformly_over_nine_by_nine_places(position, way):
    images = drawn(way, Augmentation(flip="none", cutout=0), position)
    middle = images[:, 16, 16].astype(int)  # never padding: it is 12 pixels from the border
    offsets = middle[:, :2] // 8 - 16 + 4
    assert offsets.min() == 0
    assert offsets.max() == 8
    counts = np.bincount(9 * offsets[:, 0] + offsets[:, 1], minlength=81)
    assert stats.chisquare(counts).pvalue > 1e-3
    # the border that comes into view has the mean colour, and nothing else changes
    for image, (down, across) in zip(images[:200], offsets, strict=False):
        padded = np.full((40, 40, 3), FILL)
        padded[4:36, 4:36] = position
        assert np.array_equal(image, padded[down : down + 32, across : across + 32])


@every_way
def test_flip_mirrors_half_of_the_images(position, way):
    images = drawn(way, Augmentation(padding=0, flip="random", cutout=0), position)
    mirrored = (images == position[:, ::-1]).all(axis=(1, 2, 3))
    assert ((images == position).all(axis=(1, 2, 3)) ^ mirrored).all()
    assert stats.binomtest(int(mirrored.sum()), DRAWS, 0.5).pvalue > 1e-3


@every_way
@pytest.mark.parametrize("flip", ["none", "alternating"])
def test_nothing_flips_where_it_is_not_its_business(position, flip, way):
    images = drawn(way, Augmentation(padding=0, flip=flip, cutout=0), position, 50)
    assert (images == position).all()


@every_way
def test_hole_is_cutouts(position, way):
    images = drawn(way, Augmentation(padding=0, flip="none"), position)
    holes = is_fill(images) & ~is_fill(position)
    there = holes.any(axis=(1, 2))
    assert stats.binomtest(int(there.sum()), DRAWS, 0.5).pvalue > 1e-3
    assert (images[~holes] == np.broadcast_to(position, images.shape)[~holes]).all()

    rows, columns = holes[there].any(axis=2), holes[there].any(axis=1)
    for sides in (rows, columns):
        lengths, firsts = sides.sum(axis=1), sides.argmax(axis=1)
        assert lengths.max() == 16
        assert lengths.min() == 8  # half over the edge
        # the centre is uniform: -8..24 are the 33 places where a hole of 16 can begin
        begins = np.where(firsts > 0, firsts, lengths - 16)
        assert begins.min() == -8
        assert begins.max() == 24
        assert stats.chisquare(np.bincount(begins + 8, minlength=33)).pvalue > 1e-3
    assert (holes[there].sum(axis=(1, 2)) == rows.sum(1) * columns.sum(1)).all()  # one rectangle
    # a hole that stays inside would cover the centre 88 % of the time
    assert 0.2 < holes[there][:, 16, 16].mean() < 0.3


def test_normalisation_and_its_undoing(position):
    tensor = eval_transform(NORMALIZATION)(image=position)["image"]
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, 32, 32)
    expected = (position / 255 - MEAN) / STD
    np.testing.assert_allclose(tensor.permute(1, 2, 0), expected, atol=1e-5)

    before = tensor.clone()
    back = denormalize(tensor, NORMALIZATION)
    assert torch.equal(tensor, before)
    np.testing.assert_allclose(back.permute(1, 2, 0), position / 255, atol=1e-6)
    assert denormalize(torch.full((2, 3, 4, 4), 99.0), NORMALIZATION).max() == 1


def test_mean_and_deviation_are_numpys(few):
    pixels = few.train_images.reshape(-1, 3) / 255
    found = Normalization.of(few.train_images)
    np.testing.assert_allclose(found.mean, pixels.mean(0), rtol=1e-9)
    np.testing.assert_allclose(found.std, pixels.std(0), rtol=1e-9)


def test_a_channel_that_never_changes_can_be_normalised(few):
    images = few.train_images.copy()
    images[..., 1] = 77
    found = Normalization.of(images)
    assert found.std[1] == 1
    assert found.mean[1] == pytest.approx(77 / 255)
    assert np.isfinite([found.mean, found.std]).all()


def test_a_normalisation_is_plain_numbers():
    """Whatever they came in: it is compared, and written into weights files."""
    given = Normalization(np.float32([0, 0.5, 1]), [1, 2, 3])
    assert given == Normalization((0.0, 0.5, 1.0), (1.0, 2.0, 3.0))
    assert all(type(value) is float for value in (*given.mean, *given.std))


@pytest.mark.parametrize(
    ("mean", "std"),
    [
        ((0, 0, 0), (1, 0, 1)),
        ((0, 0), (1, 1)),
        ((0, 0, 0), (1, 1)),
        ((0, 0, float("nan")), (1, 1, 1)),
        (None, "abc"),
    ],
)
def test_no_normalisation_of_others_values(mean, std):
    with pytest.raises(ValueError, match=r"mean is .* and std .*, expected three numbers each"):
        Normalization(mean, std)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"padding": -1}, "padding is -1, expected 0 or more"),
        ({"flip": "vertical"}, "flip is 'vertical', expected 'alternating', 'random' or 'none'"),
        ({"cutout": 15}, "cutout is 15, expected a multiple of 2"),
        (
            {"cutout_probability": 1.5},
            "cutout_probability is 1.5, expected 1 or less",
        ),
    ],
)
def test_values_out_of_range_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**change)


def test_a_value_is_named_that_was_given_by_its_place():
    with pytest.raises(ValueError, match=r"^flip is 'vertical', .*; cutout is 7, expected a mult"):
        Augmentation(4, "vertical", 7)


def test_both_ways_of_augmenting_give_the_same_pixels(few):
    augmentation = Augmentation(flip="random")
    batch = at_once(augmentation, few.train_images)
    assert torch.allclose(batch, replayed(augmentation, few.train_images), atol=1e-5)
    assert batch.is_contiguous(memory_format=torch.channels_last)


def test_what_is_drawn_is_uniform_and_independent():
    draws = draw(Augmentation(flip="random"), 20_000, (32, 32), np.random.SeedSequence(1))
    assert stats.chisquare(np.bincount(draws.crop @ [9, 1], minlength=81)).pvalue > 1e-3
    there = draws.hole[:, 0] >= -8
    for share in (draws.mirrored, there):
        assert stats.binomtest(int(share.sum()), 20_000, 0.5).pvalue > 1e-3
    assert stats.chisquare(np.bincount((draws.hole[there] + 8) @ [33, 1])).pvalue > 1e-3
    table = [[(a & b).sum() for a in (there, ~there)] for b in (draws.mirrored, ~draws.mirrored)]
    assert stats.chi2_contingency(table).pvalue > 1e-3
    assert not (draws.hole[~there] > -16).any()  # nothing of it reaches the image


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(0, "none", 0), Augmentation(0, "none", 16, 0), Augmentation(0, "none", 0, 1)],
)
def test_augmenting_by_nothing_is_normalising(few, augmentation):
    images = torch.from_numpy(few.train_images)
    draws = draw(augmentation, 100, (32, 32), np.random.SeedSequence(0))
    assert torch.equal(augment_batch(images, augmentation, draws, NORMALIZE), NORMALIZE(images))
    expected = torch.stack(
        [eval_transform(NORMALIZATION)(image=i)["image"] for i in few.train_images]
    )
    assert torch.allclose(NORMALIZE(images), expected, atol=1e-5)
