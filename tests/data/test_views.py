import albumentations as A
import numpy as np
import pytest
import torch
from scipy import stats

from pytorch_vision.data import Augmentation, Normalization
from pytorch_vision.data.normalization import Normalizer
from pytorch_vision.data.views import (
    Crop,
    CustomSteps,
    CutOut,
    Flip,
    View,
    make_views,
    view_batch,
    view_one_by_one,
)

DRAWS = 4000
SIZE, FILL = (32, 32), (125, 123, 114)
PIXELS = Normalizer(Normalization((0.0,) * 3, (1 / 255,) * 3))  # leaves values as they are
PIXELS.fill = torch.tensor(FILL, dtype=torch.uint8)
FLIP, CROP = Flip("random", 0, DRAWS), Crop(4, SIZE, FILL)
CUTOUT = CutOut(16, 0.5, SIZE, FILL)


def draw(views: list[View], count: int) -> list[np.ndarray]:
    chance = np.random.default_rng(1)
    return [view.draw(chance, np.arange(count), epoch=1) for view in views]


def at_once(views: list[View], images: np.ndarray, drawn: list[np.ndarray]) -> np.ndarray:
    """Return the result of ``view_batch`` as uint8 (N, H, W, 3)."""
    tensors = view_batch(views, torch.from_numpy(images), drawn, PIXELS)
    return tensors.round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def many(view: View, image: np.ndarray) -> np.ndarray:
    """Return ``DRAWS`` views of one image."""
    return at_once([view], image[None].repeat(DRAWS, 0), draw([view], DRAWS))


def is_fill(images: np.ndarray) -> np.ndarray:
    return (images == FILL).all(axis=-1)


@pytest.mark.parametrize(
    "augmentation",
    [
        Augmentation(0, "none", 0),
        Augmentation(0, "none", 16, 0),
        Augmentation(0, "none", 0, 1),
        Augmentation(steps=[]),
    ],
)
def test_no_augmentation_leaves_the_images(few, augmentation):
    views = make_views(augmentation, SIZE, FILL, 0, DRAWS)
    drawn = draw(views, 100)
    assert np.array_equal(view_one_by_one(views, few.train_images, drawn), few.train_images)
    if augmentation.steps is None:
        assert np.array_equal(at_once(views, few.train_images, drawn), few.train_images)


def test_flip_mirrors_half_of_the_images(position):
    images = many(FLIP, position)
    mirrored = (images == position[:, ::-1]).all(axis=(1, 2, 3))
    assert ((images == position).all(axis=(1, 2, 3)) ^ mirrored).all()
    assert stats.binomtest(int(mirrored.sum()), DRAWS, 0.5).pvalue > 1e-3


def test_an_alternating_flip_mirrors_the_other_half_in_the_next_epoch():
    flip, every = Flip("alternating", 0, DRAWS), np.arange(DRAWS)
    first, second, third = (flip.draw(np.random.default_rng(), every, epoch) for epoch in range(3))
    assert np.array_equal(first, third)
    assert np.array_equal(first, ~second)
    assert stats.binomtest(int(first.sum()), DRAWS, 0.5).pvalue > 1e-3
    assert np.array_equal(flip.draw(np.random.default_rng(), every[7:9], 0), first[7:9])


def test_crop_moves_the_image_uniformly_over_nine_by_nine_places(position):
    images = many(CROP, position)
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


def test_the_hole_is_cutouts(position):
    images = many(CUTOUT, position)
    holes = is_fill(images) & ~is_fill(position)
    there = holes.any(axis=(1, 2))
    assert stats.binomtest(int(there.sum()), DRAWS, 0.5).pvalue > 1e-3
    assert (images[~holes] == np.broadcast_to(position, images.shape)[~holes]).all()

    rows, columns = holes[there].any(axis=2), holes[there].any(axis=1)
    for sides in (rows, columns):
        lengths, firsts = sides.sum(axis=1), sides.argmax(axis=1)
        assert lengths.max() == 16
        assert lengths.min() == 8  # half of it lies over the edge
        # the centre is uniform: -8..24 are the 33 places where a hole of 16 can begin
        begins = np.where(firsts > 0, firsts, lengths - 16)
        assert begins.min() == -8
        assert begins.max() == 24
        assert stats.chisquare(np.bincount(begins + 8, minlength=33)).pvalue > 1e-3
    assert (holes[there].sum(axis=(1, 2)) == rows.sum(1) * columns.sum(1)).all()  # one rectangle
    # a hole that stays inside would cover the centre 88 % of the time
    assert 0.2 < holes[there][:, 16, 16].mean() < 0.3


def test_views_draw_independently():
    mirrored, crop, hole = draw([Flip("random", 0, 20_000), CROP, CUTOUT], 20_000)
    there = hole[:, 0] >= -8
    counts = np.zeros((2, 2, 9))
    np.add.at(counts, (mirrored.astype(int), there.astype(int), crop[:, 0]), 1)
    assert stats.chi2_contingency(counts.reshape(4, 9)).pvalue > 1e-3
    assert stats.chi2_contingency(counts.sum(2)).pvalue > 1e-3


# A user's steps

MIRRORS = [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), A.InvertImg(p=1)]


def inverted(image, **_):
    return 255 - image


def scaled(image, **_):
    return image / 255


def as_list(image, **_):
    return image.tolist()


def test_custom_steps_draw_independently_and_depend_on_the_seed_alone(few):
    view, images = CustomSteps(MIRRORS), few.train_images
    (seeds,) = draw([view], 100)
    made = view_one_by_one([view], images, [seeds])
    kinds = []
    for image, seen in zip(images, made, strict=True):
        expected = [image, image[:, ::-1], image[::-1], image[::-1, ::-1]]
        kinds.append([np.array_equal(255 - one, seen) for one in expected].index(True))
    assert min(np.bincount(kinds, minlength=4)) > 12
    again = view_one_by_one([CustomSteps(MIRRORS)], images[40:60], [seeds[40:60]])
    assert np.array_equal(again, made[40:60])


def test_custom_functions_and_a_scale_that_is_undone_are_steps(few):
    steps = [A.ToFloat(), A.FromFloat(), A.ColorJitter(p=0), A.Lambda(image=inverted)]
    checked = Augmentation(steps=steps).steps
    made = CustomSteps(checked).apply(few.train_images[0], np.int64(0))
    assert np.array_equal(made, 255 - few.train_images[0])


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([A.ToFloat(max_value=255)], "return float32, expected uint8"),
        ([A.HorizontalFlip(), A.Lambda(image=scaled)], "return float64"),
        ([A.Lambda(image=as_list)], "class 'list'"),
        ([A.Resize(40, 40)], r"of shape \(40, 40, 3\), expected \(32, 32, 3\): end them with"),
    ],
)
def test_steps_that_change_the_size_or_the_type_are_refused(few, steps, message):
    with pytest.raises(ValueError, match=message):
        CustomSteps(steps).apply(few.train_images[0], np.int64(0))
