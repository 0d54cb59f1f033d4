"""Images that occur twice are found; images that are merely alike are not."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFilter
from small import csv_rows

from pytorch_vision.data import duplicates, find_duplicates


def brighter(image: np.ndarray) -> np.ndarray:
    return (image * 0.8 + 40).astype(np.uint8)


def edited(edit: Callable[[Image.Image], Image.Image]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the change of an image, as an array, that an edit of a picture makes."""
    return lambda image: np.asarray(edit(Image.fromarray(image)))


def framed(image: np.ndarray, width: int, value: int) -> np.ndarray:
    """Return an image within a frame, all of it brought to the image's size."""
    whole = np.pad(image, ((width, width), (width, width), (0, 0)), constant_values=value)
    return np.asarray(Image.fromarray(whole).resize(image.shape[1::-1]))


def test_without_duplicates_nothing_is_found(few):
    found = find_duplicates(few)
    assert not found.pairs
    assert not found.in_training.any()
    assert found.describe() == "No two images are the same, or nearly so."


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("nearly the same", brighter),
        ("nearly the same", edited(lambda one: one.filter(ImageFilter.GaussianBlur(0.6)))),
        ("nearly the same", edited(lambda one: one.resize((24, 24)).resize((32, 32)))),
        ("nearly the same", edited(lambda one: one.quantize(64).convert("RGB"))),
        ("mirrored", lambda image: image[:, ::-1]),
        ("turned", lambda image: np.rot90(image)),
        ("turned", lambda image: np.rot90(image, 2)),
        ("turned", lambda image: np.rot90(image, 3)),
        ("mirrored", lambda image: image[::-1]),
        ("mirrored and turned", lambda image: image.swapaxes(0, 1)),
        ("mirrored and turned", lambda image: np.rot90(image, 2).swapaxes(0, 1)),
        ("framed or cropped", lambda image: np.pad(image[2:-2, 2:-2], ((2, 2), (2, 2), (0, 0)))),
        ("framed or cropped", lambda image: framed(image, 4, 255)),
        ("framed or cropped", lambda image: framed(image, 6, 0)),
        ("grey", edited(lambda one: one.convert("L").convert("RGB"))),
        ("grey and mirrored", lambda image: image[:, ::-1, 1:2].repeat(3, axis=2)),
    ],
)
def test_a_copy_on_the_other_side_is_found_and_its_kind_named(few, tmp_path, name, change):
    test = few.test_images.copy()
    for place in (3, 7):
        test[place] = change(few.train_images[10 * place])
    found = find_duplicates(replace(few, test_images=test))
    assert np.flatnonzero(found.in_training).tolist() == [3, 7]
    assert sorted(pair[:2] for pair in found.pairs) == [(30, 103), (70, 107)]
    least = 0.9 if name == "nearly the same" else duplicates.SIMILAR
    assert all(least < similarity < 1 for *_, similarity in found.pairs)
    assert found.describe().count(f": {name} (0.") == 2
    found.to_csv(tmp_path / "pairs.csv")
    assert [row[-1] for row in csv_rows(tmp_path / "pairs.csv")] == ["kind", name, name]


COLOURS = np.uint8([[0, 0, 128], [0, 0, 255], [255, 0, 0], [1, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize(
    "images",
    [
        np.broadcast_to(COLOURS[:, None, None], (5, 32, 32, 3)),
        np.random.default_rng(0).poisson(3, (40, 32, 32, 3)).astype(np.uint8),
    ],
    ids=["plain", "dark"],
)
def test_images_that_have_little_in_them_are_not_pairs(few, images):
    labels = np.arange(len(images)) % 2
    found = find_duplicates(replace(few, train_images=images, train_labels=labels))
    assert not [pair for pair in found.pairs if max(pair[:2]) < len(images)]


def test_equal_images_are_distinguished_from_similar_ones(few):
    train, test = few.train_images.copy(), few.test_images.copy()
    train[20] = train[4]
    test[0] = train[4]
    test[1] = test[2]
    test[5] = brighter(train[4])
    found = find_duplicates(replace(few, train_images=train, test_images=test))
    assert found.pairs[:3] == [(4, 20, 1.0), (4, 100, 1.0), (101, 102, 1.0)]
    assert [pair[:2] for pair in found.pairs[3:]] == [(4, 105)]
    assert np.flatnonzero(found.in_training).tolist() == [0, 5]
    told = found.describe()
    assert (
        "occur twice: 3 the same, 1 nearly so (pairs within training: 1, within test: 1)." in told
    )
    assert (
        "Of 50 test images, 1 are in training too, and 1 nearly so. Copies say nothing about new "
        "pictures.\nLook at the pairs that are nearly the same: where all pictures look alike"
    ) in told
    copied = find_duplicates(replace(few, train_images=train, test_images=train[:50])).describe()
    assert "Of 50 test images, 50 are in training too, and 0 nearly so. Copies" in copied
    assert "look alike" not in copied


def test_large_images_are_compared_few_at_a_time(few, monkeypatch):
    images = np.concatenate([few.train_images, few.train_images[:3] // 2])
    labels = np.append(few.train_labels, few.train_labels[:3])
    darker = replace(few, train_images=images, train_labels=labels, train_files=None)
    whole = find_duplicates(darker)
    monkeypatch.setattr(duplicates, "COMPARED", 1)
    assert [one[:2] for one in find_duplicates(darker).pairs] == [one[:2] for one in whole.pairs]


def test_pairs_have_names_classes_and_a_table(few, tmp_path):
    """A pair of two classes is reported, as one of them is wrong."""
    files = {
        "train_files": tuple(f"train/{i}.png" for i in range(100)),
        "test_files": tuple(f"test/{i}, a.png" for i in range(50)),
    }
    test = few.test_images.copy()
    place = int(np.flatnonzero(few.test_labels != few.train_labels[4])[0])
    test[place] = few.train_images[4]
    named = replace(few, test_images=test, **files)
    found = find_duplicates(named)
    first, second = (few.class_names[i] for i in (few.train_labels[4], few.test_labels[place]))
    pair = f"  train/4.png ({first}), test/{place}, a.png ({second})"
    assert f"{pair}: the same, in training and test" in found.describe()
    assert "Pairs of two classes: 1. Is one of them wrong?" in found.describe()
    assert "train image 4" in find_duplicates(replace(few, test_images=test)).describe()
    found.to_csv(tmp_path / "duplicates.csv")
    header, row = csv_rows(tmp_path / "duplicates.csv")
    names = "similarity,first,first_class,first_part,second,second_class,second_part,kind"
    assert ",".join(header) == names
    other = f"test/{place}, a.png"
    assert row == ["1.0000", "train/4.png", first, "train", other, second, "test", "the same"]


def test_the_worst_pairs_come_first_and_each_motif_once(few):
    train, test = few.train_images.copy(), few.test_images.copy()
    labels, other = np.zeros(100, np.int64), np.zeros(50, np.int64)
    train[1:30] = train[0]
    test[1] = train[40]
    test[2], other[2] = train[41], 1
    found = replace(few, train_images=train, train_labels=labels)
    told = find_duplicates(replace(found, test_images=test, test_labels=other)).describe()
    named = [line.split(" image ")[1].split()[0] for line in told.splitlines()[3:6]]
    assert named == ["41", "40", "0"]
    assert "and 28 more" in told


def test_each_frame_of_a_film_is_found_in_training(few):
    """Even if more than ten other frames in the test set are nearer."""
    random = np.random.default_rng(0)

    def frames(image: np.ndarray, count: int) -> np.ndarray:
        noise = random.integers(-2, 3, (count, *image.shape))
        return np.clip(image + noise, 0, 255).astype(np.uint8)

    film = few.train_images[5]
    several = replace(
        few,
        train_images=np.concatenate([few.train_images, frames(film, 60)]),
        train_labels=np.concatenate([few.train_labels, np.zeros(60, np.int64)]),
        test_images=frames(film, 50),
    )
    assert find_duplicates(several).in_training.all()


def test_many_of_one_colour_cost_no_more(few):
    """Nor do different ones match: there is nothing in them to compare."""
    plain = np.zeros((2000, 32, 32, 3), np.uint8)
    plain += np.arange(2000, dtype=np.uint8)[:, None, None, None] // 2
    labels = np.zeros(2000, np.int64)
    found = find_duplicates(replace(few, train_images=plain, train_labels=labels))
    assert len(found.pairs) == 2000 - 128
    assert not found.in_training.any()
