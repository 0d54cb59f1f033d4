"""Labelled images in memory, and parts of them: a smaller set, a held-out one."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pytorch_vision.runtime.checks import whole_number
from pytorch_vision.runtime.text import printable


@dataclass(frozen=True, eq=False)
class ImageData:
    """A training and a test set of labelled images, checked when it is made.

    Attributes:
        train_images, test_images: uint8 (N, H, W, 3), RGB, 0..255; both of the same H and W. There
            may be none to train on, where a network is only tested.
        train_labels, test_labels: int64 (N,), each in 0..C-1; other whole numbers are converted,
            and of two classes truth values too.
        class_names: the C names, by label; a list becomes a tuple.
        name: what these images are, for print-outs and plot titles.
        train_files, test_files: the file that each image came from, as a path inside its folder;
            None where they came from no files of their own.
        resize: how the pictures of a folder were brought to the size; else empty.
        train_digests: of pictures of a folder, a short hash of each training image's file, by
            which it is known again; else empty.
        scales: for each type of values of more than 8 bits in a folder's pictures, such as
            "uint16", those that became black and white; else empty.

    Raises:
        ValueError: an array has another shape, type or label; the message says which and what
            was expected.
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
        for part in ("train", "test"):
            images = _as_array(getattr(self, f"{part}_images"), f"{part}_images")
            labels = _as_array(getattr(self, f"{part}_labels"), f"{part}_labels")
            if part == "test" or images.shape[:1] != (0,):
                check_images(images, f"{part}_images")
            truth_values = labels.dtype.kind == "b" and len(self.class_names) == 2
            if truth_values or not labels.size:
                labels = labels.astype(np.int64)
            if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"{part}_labels is {labels.dtype} of shape {labels.shape}, "
                    f"expected int64 {images.shape[:1]}, one label for each image"
                )
            wrong = np.flatnonzero((labels < 0) | (labels >= len(self.class_names)))
            if wrong.size:
                raise ValueError(
                    f"{part}_labels[{wrong[0]}] is {labels[wrong[0]]}, expected a class in "
                    f"0..{len(self.class_names) - 1}"
                )
            object.__setattr__(self, f"{part}_images", images)
            object.__setattr__(self, f"{part}_labels", labels.astype(np.int64, copy=False))
            files = getattr(self, f"{part}_files")
            if files is not None and len(files) != len(images):
                raise ValueError(
                    f"{part}_files has {len(files)} names, expected {len(images)}: one for each "
                    "image"
                )
        if self.train_images.shape[1:] != self.test_images.shape[1:]:
            raise ValueError(
                f"test_images are {self.test_images.shape[1:]}, train_images "
                f"{self.train_images.shape[1:]}: both must have one size"
            )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of every image, in pixels."""
        height, width = self.train_images.shape[1:3]
        return int(height), int(width)

    def __str__(self) -> str:
        height, width = self.size
        return (
            f"{self.name}: {len(self.train_images):,} training and {len(self.test_images):,} test "
            f"images of {height}x{width} pixels in {len(self.class_names)} classes"
        )


def _as_array(values: Any, name: str) -> np.ndarray:
    """Return values as an array; one is copied only if it runs backwards, as torch's cannot."""
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name} is no array: {error}; all must have one shape") from None
    return np.ascontiguousarray(array) if min(array.strides, default=0) < 0 else array


def check_class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return class names as a tuple, with control characters written out (``printable``).

    Raises:
        ValueError: there are none, or they are no strings; a single string is not its letters.
    """
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"class_names is {names!r}, expected a sequence of names")
    if not len(names):
        raise ValueError("class_names is empty, expected the name of each class")
    return tuple(printable(name) for name in names)


def fingerprint(data: ImageData) -> str:
    """Return the SHA-256 of all images and labels, as hexadecimal digits."""
    digest = hashlib.sha256()
    for array in (data.train_images, data.train_labels, data.test_images, data.test_labels):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def check_images(images: np.ndarray, name: str = "images") -> None:
    """Raise ValueError unless ``images`` is uint8 of shape (N, H, W, 3) with N > 0."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not images.size:
        raise ValueError(
            f"{name} is {images.dtype} of shape {images.shape}, expected uint8 (N, H, W, 3) "
            "with at least one image"
        )


def balanced_indices(labels: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` indices into ``labels``, in order, the first ones of every class alike.

    Where ``count`` is no multiple of the number of classes, the lower labels have one more.

    Raises:
        ValueError: ``count`` is not in 1..len(labels).
    """
    count = whole_number(count, "count")
    if not 1 <= count <= len(labels):
        raise ValueError(f"count is {count}, expected 1 to {len(labels)} images")
    nth_of_its_class = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        nth_of_its_class[members] = np.arange(len(members))
    return np.sort(np.lexsort((labels, nth_of_its_class))[:count])


def subset(data: ImageData, count: int) -> ImageData:
    """Return the same data with only ``count`` training images, taken evenly from the classes.

    Raises:
        ValueError: ``count`` is not in 1..the number of training images.
    """
    indices = balanced_indices(data.train_labels, count)
    if len(indices) == len(data.train_labels):
        return data
    return replace(
        data,
        train_images=data.train_images[indices],
        train_labels=data.train_labels[indices],
        train_files=_chosen(data.train_files, indices),
        train_digests=_chosen(data.train_digests or None, indices) or (),
        name=f"{len(indices):,} of {data.name}",
    )


def hold_out(data: ImageData, count: int, seed: int = 0) -> ImageData:
    """Return the same data with a validation part of its training images for a test set.

    A result that something was chosen by is better than what new images would give. So choose a
    recipe, a network or the number of epochs on images like these, and test once.

    Args:
        data: its own test images are left out.
        count: how many training images to hold out: of each class its share of them, but never all,
            and none of a class of one or two images.
        seed: of the drawing; the same one gives the same parts.

    Raises:
        ValueError: ``count`` is not in 1..what can be held out.
    """
    count = whole_number(count, "count")
    counts = counts_of_total(data.train_labels, len(data.class_names), count)
    held = held_out(data.train_labels, counts, seed, data.train_digests)
    return replace(
        data,
        train_images=data.train_images[~held],
        train_labels=data.train_labels[~held],
        train_files=_chosen(data.train_files, np.flatnonzero(~held)),
        train_digests=_chosen(data.train_digests or None, np.flatnonzero(~held)) or (),
        test_images=data.train_images[held],
        test_labels=data.train_labels[held],
        test_files=_chosen(data.train_files, np.flatnonzero(held)),
        name=f"{data.name} ({count:,} of them held out)",
    )


def _chosen(files: tuple[str, ...] | None, indices: np.ndarray) -> tuple[str, ...] | None:
    return None if files is None else tuple(files[i] for i in indices)


def counts_of_share(labels: np.ndarray, classes: int, share: float) -> np.ndarray:
    """Return how many images of each class are a share of it, int64 (classes,).

    At least one is, and at least one is left; but of a class of one or two images none is.
    """
    there = np.bincount(labels, minlength=classes)
    counts = np.floor(share * there + 0.5).astype(np.int64)
    return np.where(there > 2, counts.clip(1, np.maximum(there - 1, 1)), 0)


def counts_of_total(labels: np.ndarray, classes: int, total: int) -> np.ndarray:
    """Return how many images of each class make a total, each class having its share of it.

    Shares are rounded by the largest remainder. At least one image of a class is left, and of a
    class of one or two images none is taken.

    Returns:
        int64 (classes,), which sum to ``total``.

    Raises:
        ValueError: there are not so many, or none are asked for.
    """
    there = np.bincount(labels, minlength=classes)
    most = np.where(there > 2, there - 1, 0)
    if not 1 <= total <= most.sum():
        raise ValueError(f"count is {total}, expected 1 to {most.sum()} images to hold out")
    shares = total * there / there.sum()
    counts = np.minimum(np.floor(shares).astype(np.int64), most)
    while (missing := total - counts.sum()) > 0:
        free = np.flatnonzero(counts < most)
        nearest = free[np.argsort(-(shares - counts)[free], kind="stable")]
        counts[nearest[:missing]] += 1
    return counts


def held_out(
    labels: np.ndarray, counts: np.ndarray, seed: int, digests: Sequence[str] = ()
) -> np.ndarray:
    """Return which of N labelled images are held out: bool (N,), so many of each class.

    They are drawn by their digests, if there are any, so that a few more or fewer images change
    next to nothing; else by their places.
    """
    seed = whole_number(seed, "seed")
    order = np.random.default_rng(seed).permutation(len(labels))
    if len(digests):
        drawn = [hashlib.sha256(f"{seed} {digest}".encode()).digest() for digest in digests]
        order = np.array(sorted(range(len(drawn)), key=drawn.__getitem__), np.int64)
    held = np.zeros(len(labels), dtype=bool)
    for label, count in enumerate(counts):
        held[order[labels[order] == label][:count]] = True
    return held
