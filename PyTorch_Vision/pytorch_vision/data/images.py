"""Labelled images in memory."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from pytorch_vision.runtime.text import printable

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in Pillow's mode "L" (ITU-R BT.601)


@dataclass(frozen=True, eq=False)
class ImageData:
    """A training and a test set of labelled images, checked on creation.

    Attributes:
        train_images, test_images: uint8 (N, H, W, 3), RGB, 0..255; both with the same H and W.
            One of them may be empty, to only test a network, or to train one without a test.
        train_labels, test_labels: int64 (N,), each in 0..C-1. Other integers are converted, as is
            bool if there are two classes.
        class_names: the C names, by label, each different; a list becomes a tuple.
        name: the data set's name, for messages and plot titles.
        train_files, test_files: the file of each image, as a path relative to the data's folder;
            None if the images have no files.
        resize: how the pictures of a folder were resized; empty for other images.
        train_digests: a short hash of the pixels of each training picture, which recognises it in
            other folders; empty for images without files.
        scales: for each type of values of more than 8 bits in a folder's pictures, such as
            "uint16", the values that became black and white; else empty.

    Raises:
        ValueError: an array has the wrong shape, type or labels, or two classes share a name; the
            message says which and what was expected.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    name: str
    train_files: tuple[str, ...] | None = None
    test_files: tuple[str, ...] | None = None
    resize: str = ""
    train_digests: tuple[str, ...] = ()
    scales: dict[str, tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "class_names", check_class_names(self.class_names))
        for split in ("train", "test"):
            images = _as_array(getattr(self, f"{split}_images"), f"{split}_images")
            labels = _as_array(getattr(self, f"{split}_labels"), f"{split}_labels")
            if images.shape[:1] != (0,) or (split == "test" and not self.train_labels.size):
                check_images(images, f"{split}_images")
            truth_values = labels.dtype.kind == "b" and len(self.class_names) == 2
            if truth_values or not labels.size:
                labels = labels.astype(np.int64)
            if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"{split}_labels is {labels.dtype} of shape {labels.shape}, "
                    f"expected int64 {images.shape[:1]}, one label for each image"
                )
            wrong = np.flatnonzero((labels < 0) | (labels >= len(self.class_names)))
            if wrong.size:
                raise ValueError(
                    f"{split}_labels[{wrong[0]}] is {labels[wrong[0]]}, expected a class in "
                    f"0..{len(self.class_names) - 1}"
                )
            object.__setattr__(self, f"{split}_images", images)
            object.__setattr__(self, f"{split}_labels", labels.astype(np.int64, copy=False))
            files = getattr(self, f"{split}_files")
            if files is not None and len(files) != len(images):
                raise ValueError(
                    f"{split}_files has {len(files)} names, expected {len(images)}: one for each "
                    "image"
                )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise ValueError(
                f"test_images are {self.test_images.shape[1:]}, train_images "
                f"{self.train_images.shape[1:]}: both must have the same size"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image, in pixels."""
        height, width = self.train_images.shape[1:3]
        return int(height), int(width)

    @property
    def class_counts(self) -> tuple[np.ndarray, np.ndarray]:
        """How many training and test images each class has, two int64 (C,), by label."""
        count = partial(np.bincount, minlength=len(self.class_names))
        return count(self.train_labels), count(self.test_labels)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of all images and labels in hexadecimal, computed once."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()

    def __str__(self) -> str:
        height, width = self.size
        return (
            f"{self.name}: {len(self.train_images):,} training and {len(self.test_images):,} test "
            f"images of {height}x{width} pixels in {len(self.class_names)} classes"
        )


def _as_array(values: Any, name: str) -> np.ndarray:
    """Return values as an array, copied if it has negative strides, which torch refuses."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name} is not an array: {error}; all images must have the same shape"
        ) from None
    return np.ascontiguousarray(array) if min(array.strides, default=0) < 0 else array


def check_class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return class names as a tuple, with control characters escaped by ``printable``.

    Raises:
        ValueError: there are none, two are equal, or one is not a string; or all are given as one
            string.
    """
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"class_names is {names!r}, expected a sequence of names")
    if not len(names):
        raise ValueError("class_names is empty, expected the name of each class")
    shown = tuple(printable(name) for name in names)
    for name, count in Counter(shown).items():
        if count > 1:
            labels = ", ".join(str(label) for label, one in enumerate(shown) if one == name)
            raise ValueError(
                f"class_names has {name!r} {count} times, for the labels {labels}: give each "
                f"class a name of its own, such as '{name} 1' and '{name} 2'"
            )
    return shown


def check_images(images: np.ndarray, name: str = "images") -> None:
    """Raise ValueError unless ``images`` is uint8 of shape (N, H, W, 3) with N > 0."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not images.size:
        raise ValueError(
            f"{name} is {images.dtype} of shape {images.shape}, expected uint8 (N, H, W, 3) "
            "with at least one image"
        )
