from dataclasses import replace

import numpy as np
import pytest

from pytorch_vision.data import ImageData, hold_out, k_folds, subset
from pytorch_vision.data.splits import balanced_indices


def test_balanced_indices_take_the_first_of_each_class():
    labels = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    assert balanced_indices(labels, 3).tolist() == [0, 3, 5]
    assert balanced_indices(labels, 4).tolist() == [0, 1, 3, 5]
    assert balanced_indices(labels, 8).tolist() == list(range(8))
    with pytest.raises(ValueError, match="count is 9, expected 1 to 8"):
        balanced_indices(labels, 9)


def test_a_subset_of_everything_is_the_same_data(few):
    assert subset(few, 100) is few
    half = subset(few, 50)
    assert np.bincount(half.train_labels).tolist() == [5] * 10
    assert half.test_images is few.test_images


def test_a_held_out_part_is_stratified_and_repeatable(sample):
    held = hold_out(sample, 205, seed=3)
    assert np.bincount(held.test_labels).tolist() == [21] * 5 + [20] * 5
    assert len(held.train_labels) == 795
    ours = {image.tobytes() for image in held.train_images}
    theirs = {image.tobytes() for image in held.test_images}
    assert ours | theirs == {image.tobytes() for image in sample.train_images}
    again, other = hold_out(sample, 205, seed=3), hold_out(sample, 205, seed=4)
    assert np.array_equal(held.test_images, again.test_images)
    assert not np.array_equal(held.test_images, other.test_images)
    assert held.name == "bundled sample, 1,000 images (205 of them held out)"


def test_images_that_are_mapped_from_a_file_stay_so(few, tmp_path):
    """They may be more than memory holds."""
    mapped = np.memmap(tmp_path / "images", np.uint8, "w+", shape=few.train_images.shape)
    mapped[:] = few.train_images
    data = replace(few, train_images=np.asarray(mapped))
    held, usual = hold_out(data, 20), hold_out(few, 20)
    for name in ("train_images", "test_images"):
        ours = getattr(held, name)
        assert np.array_equal(ours, getattr(usual, name))
        assert isinstance(ours.base, np.memmap)


def labelled(counts: dict[str, int]) -> ImageData:
    """Return images in unequal classes; an image's number is its colour and in its file name."""
    labels = np.repeat(np.arange(len(counts)), list(counts.values()))
    images = np.arange(len(labels), dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    files = tuple(f"{number}.png" for number in range(len(labels)))
    digests = tuple(f"digest {number}" for number in range(len(labels)))
    both = (images, labels, images, labels)
    return ImageData(*both, tuple(counts), "unequal", files, files, train_digests=digests)


def test_each_image_is_in_one_of_the_stratified_folds():
    data = labelled({"common": 50, "rare": 7})
    folds = list(k_folds(data, 5, seed=1))
    held = np.concatenate([one.test_images.ravel()[::3] for one in folds])
    assert sorted(held) == list(range(57))
    for number, one in enumerate(folds, 1):
        assert np.bincount(one.test_labels).tolist() in ([10, 1], [10, 2])
        assert sorted((*one.train_files, *one.test_files)) == sorted(data.train_files)
        assert one.name == f"unequal (fold {number} of 5 held out)"
    again, other = (next(k_folds(data, 5, seed)) for seed in (1, 2))
    assert again.test_files == folds[0].test_files != other.test_files
    for wrong in (1, 58):
        with pytest.raises(ValueError, match=f"folds is {wrong}, expected 2 to 57"):
            next(k_folds(data, wrong))


@pytest.mark.parametrize(
    ("held_out", "expected"),
    [(20, [16, 3, 1, 0]), (5, [4, 1, 0, 0]), (1, [1, 0, 0, 0]), (99, [79, 15, 5, 0])],
)
def test_each_class_gives_its_share_and_keeps_some(held_out, expected):
    """A class of two pictures gives none, and no class gives all."""
    there = {"common": 80, "some": 16, "rare": 6, "two": 2}
    held = hold_out(labelled(there), held_out)
    assert np.bincount(held.test_labels, minlength=4).tolist() == expected
    assert np.bincount(held.train_labels).tolist() == list(np.subtract([*there.values()], expected))


def test_files_and_digests_go_with_their_images():
    data = labelled({"a": 8, "b": 8})
    held, few = hold_out(data, 6), subset(data, 6)
    for images, files in (
        (held.train_images, held.train_files),
        (held.test_images, held.test_files),
        (few.train_images, few.train_files),
        (few.test_images, few.test_files),
    ):
        assert files == tuple(f"{image[0, 0, 0]}.png" for image in images)
    for part in (held, few):
        assert part.train_digests == tuple(f"digest {i[0, 0, 0]}" for i in part.train_images)


def test_images_are_held_out_by_their_digests():
    """So they are the same after others were added."""
    data, more = labelled({"a": 40, "b": 40}), labelled({"a": 40, "b": 44})
    names = [set(hold_out(one, 20).test_files) for one in (data, more)]
    assert len(names[0] & names[1]) >= 18


@pytest.mark.parametrize("held_out", [0, 991, -1])
def test_too_many_held_out_images_are_refused(sample, held_out):
    message = f"held_out is {held_out}, expected 1 to 990: there are 1,000 training images"
    with pytest.raises(ValueError, match=message):
        hold_out(sample, held_out)
