import hashlib
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from pytorch_vision.data import Augmentation, ImageData, Normalization, TrainLoader, eval_batches


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": np.zeros((100, 32, 32, 3))}, "train_images is float64"),
        ({"train_images": np.zeros((100, 3, 32, 32), np.uint8)}, "expected uint8 .N, H, W, 3"),
        ({"test_images": np.zeros((50, 32, 32), np.uint8)}, "test_images is uint8 of shape"),
        ({"test_images": np.zeros((50, 28, 28, 3), np.uint8)}, r"test_images are \(28, 28, 3\)"),
        ({"train_labels": np.zeros(99, np.int64)}, r"train_labels .* expected int64 \(100,\)"),
        ({"test_labels": np.zeros(50)}, "test_labels is float64"),
        ({"test_labels": np.full(50, 10)}, r"test_labels\[0\] is 10, expected a class in 0\.\.9"),
        ({"class_names": ()}, "class_names is empty"),
        (
            {"class_names": "abcdefghij"},
            "class_names is 'abcdefghij', expected a sequence of names",
        ),
        ({"class_names": list(range(10))}, "class_names is .*, expected a sequence of names"),
        (
            {"train_images": [np.zeros((2, 2, 3)), np.zeros((3, 3, 3))]},
            "train_images is not an array",
        ),
        ({"train_labels": np.zeros(100, bool)}, "train_labels is bool"),
        ({"train_files": ("a", "b", "c")}, "train_files has 3 names, expected 100: one for each"),
        (
            {"class_names": ("crane", *"bcd", "crane", *"fghij")},
            "class_names has 'crane' 2 times, for the labels 0, 4: give each class a name of its",
        ),
        ({"class_names": ("\x1b", "\\x1b", *"cdefghij")}, r"class_names has .* the labels 0, 1"),
    ],
)
def test_wrong_images_and_labels_are_named(few, change, message):
    with pytest.raises(ValueError, match=message):
        replace(few, **change)


def test_lists_and_other_integers_are_converted_and_arrays_are_not_copied(few):
    own = ImageData(
        list(few.train_images),
        few.train_labels.astype(np.int32),
        few.test_images,
        few.test_labels.tolist(),
        list(few.class_names),
        "lists",
    )
    assert own.class_names == few.class_names
    assert own.train_labels.dtype == own.test_labels.dtype == np.int64
    assert np.array_equal(own.train_images, few.train_images)
    assert replace(few).train_images is few.train_images  # nothing is copied
    wide = np.zeros((100, 32, 32, 4), np.uint8)
    assert np.shares_memory(replace(few, train_images=wide[..., :3]).train_images, wide)


def test_a_fingerprint_is_computed_once_from_all_arrays(few, monkeypatch):
    data = replace(few)
    assert data.fingerprint == few.fingerprint
    monkeypatch.setattr(hashlib, "sha256", None)
    assert data.fingerprint == few.fingerprint
    monkeypatch.undo()
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        changed = getattr(few, name).copy()
        changed[1] = changed[0]
        changed[3] = 5
        assert replace(few, **{name: changed}).fingerprint != few.fingerprint


def test_reversed_and_read_only_arrays_are_used(few):
    """Such as BGR turned into RGB, or mapped from a file; torch accepts none of them."""
    normalization = Normalization.of(few.train_images)
    frozen = few.train_images.copy()
    frozen.flags.writeable = False
    for images, labels in (
        (few.train_images[..., ::-1], few.train_labels),
        (few.train_images[::-1], few.train_labels[::-1]),
        (few.train_images[:, ::-1, ::-1], few.train_labels),
        (np.asfortranarray(few.train_images), few.train_labels),
        (frozen, few.train_labels),
    ):
        data = replace(few, train_images=images, train_labels=labels, test_images=images[:50])
        assert np.array_equal(data.train_images, images)
        cpu = torch.device("cpu")
        settings = (data, normalization, Augmentation(), 50, 0)
        for loader in (TrainLoader(*settings), TrainLoader(*settings, device=cpu)):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                assert len(list(loader.epoch(0))) == 2
        assert len(next(eval_batches(images, normalization, batch_size=4))) == 4


def test_bool_labels_are_for_two_classes(few):
    truth = few.train_labels == 3
    data = replace(few, class_names=("other", "cat"), train_labels=truth, test_labels=truth[:50])
    assert data.train_labels.tolist() == truth.astype(int).tolist()


def test_data_that_is_only_tested_on_has_no_training_images(few):
    images = {"train_images": few.train_images[:0, :24], "test_images": few.test_images[:, :24]}
    data = replace(few, **images, train_labels=[])
    assert str(data) == "a few images: 0 training and 50 test images of 24x32 pixels in 10 classes"
    with pytest.raises(ValueError, match="a few images has no training images, only test images"):
        TrainLoader(data, Normalization.of(few.train_images), Augmentation(), 8, 0)
